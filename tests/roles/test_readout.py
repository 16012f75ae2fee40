"""Which weights make a model's main output."""

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from tests.roles.structures import function

X = jnp.ones((4, 8))
SHAPES = {"a": (8, 8), "b": (8, 8), "head": (8, 6), "aux": (8, 3)}


def roles(apply, **hints):
    model = function(SHAPES, apply)
    rows = jaxinit.explain(model, jaxinit.lecun_normal(), X, **hints).rows
    return {
        row.name: role
        for row in rows
        for role in ("readout", "auxiliary_readout")
        if role in row.roles
    }


def trunk(p, x):
    return jnp.tanh(jnp.tanh(x @ p["a"]) @ p["b"])


OUTPUTS = {
    "logits and hidden state": lambda p, h: (h @ p["head"], h),
    "hidden state first": lambda p, h: (h, h @ p["head"]),
    "logits and a loss of the trunk": lambda p, h: (h @ p["head"], (h**2).sum()),
    "a dict": lambda p, h: {"cache": [h, 2 * h], "logits": h @ p["head"]},
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_else_is_returned_has_no_readout(output):
    found = roles(lambda p, x: OUTPUTS[output](p, trunk(p, x)))

    assert found == {"head": "readout"}


def heads(p, x):
    h = trunk(p, x)
    return {"aux": h @ p["aux"], "scores": h @ p["head"]}


def test_of_heads_side_by_side_the_others_are_auxiliary():
    assert roles(heads) == {"head": "readout", "aux": "auxiliary_readout"}


@pytest.mark.parametrize("output", ["aux", 0])
def test_the_user_chooses_the_main_output(output):
    assert roles(heads, output=output) == {
        "head": "auxiliary_readout",
        "aux": "readout",
    }


def test_an_output_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`output` must name.*'logits'.*1: 'scores'"):
        roles(heads, output="logits")


def test_the_user_gives_a_role():
    def rows(**hints):
        model = function(SHAPES, heads)
        found = jaxinit.explain(model, jaxinit.lecun_normal(), X, **hints).rows
        return {row.name: row.roles for row in found}

    assert "router" not in rows()["b"]
    assert "router" in rows(roles={"b": "router"})["b"]
    with pytest.raises(ValueError, match=r"`roles` must name parameters.*'c'"):
        rows(roles={"c": "router"})
    with pytest.raises(ValueError, match=r"`roles` must give 'b' one of.*'gate'"):
        rows(roles={"b": "gate"})


def test_the_same_hints_hold_wherever_structure_is_read():
    """One model under one hint, then under another: no draw is kept."""

    def apply(p, x):
        h = jax.nn.relu(x @ p["stem"])
        h = h + jax.nn.relu(h @ p["a"]) @ p["b"]
        return {"first": h @ p["one"], "second": h @ p["two"]}

    shapes = {"stem": (4, 6), "a": (6, 6), "b": (6, 6), "one": (6, 2), "two": (6, 2)}
    model, x = function(shapes, apply), jnp.ones((3, 4))
    zero = jaxinit.rules([(jaxinit.role("readout"), jaxinit.zeros)])
    for output, head in (("first", "one"), ("second", "two")):
        drawn = jaxinit.initialize(model, zero, 0, x, output=output)
        report = jaxinit.analyze(model, x, seeds=1, scheme=zero, output=output)
        still = report.forward["second_moment"][0, report.layers.index(head)] == 0
        assert not drawn[head].any()
        assert still
    hints = {"roles": {"b": "router"}, "branches": {"b": False}, "output": "first"}
    assert jaxinit.residual_structure(model, x, **hints).num_branches == 0
    rows = jaxinit.explain(model, jaxinit.he_normal(), x, **hints).rows
    assert {row.name for row in rows if "router" in row.roles} == {"b"}


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_stream_that_is_the_output_has_no_readout(blocks):
    """Of several branches none makes the output; of one, as in a denoiser, it does."""
    shapes = {"stem": (4, 6)}
    for block in range(blocks):
        shapes |= {f"a{block}": (6, 8), f"b{block}": (8, 6), f"bias{block}": (6,)}

    def apply(p, x):
        x = x @ p["stem"]
        for i in range(blocks):
            x = x + jax.nn.relu(x @ p[f"a{i}"]) @ p[f"b{i}"] + p[f"bias{i}"]
        return x

    rows = jaxinit.explain(
        function(shapes, apply), jaxinit.he_normal(), jnp.ones((2, 4))
    )
    found = {row.name for row in rows.rows if "readout" in row.roles}
    assert "b0" in found if blocks == 1 else not found & {"b0", "b1", "b2"}


def test_heads_whose_sum_is_the_output_are_readouts():
    shapes = {"a": (4, 6), "b": (6, 6), "c": (6, 6)}
    shapes |= {f"head{i}": (6, 2) for i in range(3)}

    def apply(p, x):
        out = 0.0
        for i, name in enumerate("abc"):
            x = jax.nn.relu(x @ p[name])
            out = out + x @ p[f"head{i}"]
        return out

    rows = jaxinit.explain(
        function(shapes, apply), jaxinit.he_normal(), jnp.ones((2, 4))
    )
    found = {row.name for row in rows.rows if "readout" in row.roles}
    assert found == {"head0", "head1", "head2"}
