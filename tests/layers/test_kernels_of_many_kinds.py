"""Weights that reach data in other ways than by one plain product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from tests.roles.structures import function

X = jax.random.normal(jax.random.key(0), (16, 8))


def explained(shapes, apply, x=X):
    rows = jaxinit.explain(function(shapes, apply), jaxinit.he_normal(), x).rows
    return {row.name: row for row in rows}


@jax.custom_vjp
def dense(x, w, b):
    return x @ w + b


dense.defvjp(
    lambda x, w, b: (x @ w + b, (x, w)),
    lambda kept, t: (t @ kept[1].T, kept[0].T @ t, 2 * t.sum(0)),
)


@pytest.mark.internals
def test_a_layer_with_a_derivative_of_its_own():
    shapes = {"w": (8, 4), "b": (4,), "v": (4, 3)}

    def apply(p, x):
        return jax.nn.relu(dense(x, p["w"], p["b"])) @ p["v"]

    rows = explained(shapes, apply)
    model = function(shapes, apply)
    report = jaxinit.analyze(model, X, seeds=1, progress=False, loss=lambda y: y.sum())
    plain = jax.grad(lambda p: apply(p, X).sum())(model.init(report.key(0), X))

    assert rows["w"].fan_in == 8
    assert set(rows["w"].roles) == {"weight", "input"}
    assert "bias" in rows["b"].roles
    assert report.layers == ("w", "v")
    # Its own derivative is kept: the bias gets twice the true gradient.
    np.testing.assert_allclose(
        report.weights["wgrad_norm"][0, report.params.index("b")],
        np.linalg.norm(plain["b"]),
        rtol=1e-5,
    )


@pytest.mark.internals
@pytest.mark.parametrize("join", [lambda r, i: r + 1j * i, jax.lax.complex])
def test_a_complex_kernel_of_two_real_parts(join):
    rows = explained(
        {"r": (8, 4), "i": (8, 4)}, lambda p, x: jnp.abs(x @ join(p["r"], p["i"]))
    )

    for part in ("r", "i"):
        assert rows[part].rule == "every weight"
        assert (rows[part].fan_in, rows[part].fan_out) == (8, 4)


@pytest.mark.internals
def test_a_kernel_in_the_frequency_domain():
    def apply(p, x):
        return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(p["k"]), n=8)

    row = explained({"k": (8,)}, apply)["k"]

    assert row.rule == "every weight"
    assert row.fan_in == 8  # each output sums eight products


POINTS = 6
FOURIER = jnp.exp(-2j * jnp.pi * jnp.outer(jnp.arange(6), jnp.arange(6)) / POINTS)


def by_frequency(p, x):
    """A convolution over the cyclic group: frequencies are multiplied."""
    x, k = (v.astype(complex) @ FOURIER for v in (x, p["k"]))
    product = jnp.einsum("bin,oin->bon", x, k)
    return (product @ FOURIER.conj() / POINTS).real


def by_blocks(p, x):
    """As over a group whose representations are matrices: two numbers, one of 2x2."""
    x, k = (v.astype(complex) @ FOURIER for v in (x, p["k"]))
    numbers = jnp.einsum("bin,oin->bon", x[..., :2], k[..., :2])
    x, k = (v[..., 2:].reshape(*v.shape[:2], 2, 2) for v in (x, k))
    matrices = jnp.einsum("bilm,oimp->bolp", x, k).reshape(*numbers.shape[:2], 4)
    return jnp.concatenate([numbers, matrices], -1).real


def by_outputs(p, x):
    """Only the outputs are mixed."""
    mixed = p["k"].astype(complex) @ FOURIER
    return jnp.einsum("bin,oip->bop", x.astype(complex), mixed).real


@pytest.mark.internals
@pytest.mark.parametrize(
    ("apply", "fans"),
    [(by_frequency, (18, 30)), (by_blocks, (18, 30)), (by_outputs, (3, 30))],
)
def test_a_kernel_over_a_group_that_a_constant_transforms(apply, fans):
    x = jax.random.normal(jax.random.key(0), (200, 3, POINTS))
    row = explained({"k": (5, 3, POINTS)}, apply, x)["k"]

    assert (row.fan_in, row.fan_out) == fans
    if apply is by_frequency:  # each output sums over all points of three channels
        k = jax.random.normal(jax.random.key(1), (50, 3, POINTS)) / np.sqrt(row.fan_in)
        assert apply({"k": k}, x).var() == pytest.approx(1, rel=0.1)


def test_a_kernel_rounded_to_integers():
    def apply(p, x):
        def whole(v):
            return jnp.round(10 * v).astype(jnp.int8)

        return (whole(x) @ whole(p["w"])).astype(jnp.float32)

    row = explained({"w": (8, 4)}, apply)["w"]
    report = jaxinit.analyze(function({"w": (8, 4)}, apply), X, seeds=1, progress=False)

    assert (row.rule, row.fan_in) == ("every weight", 8)
    assert report.rows[0].dtype == "float32"
    y = apply(function({"w": (8, 4)}, apply).init(report.key(0), X), X)
    wanted = float(jnp.mean(y**2))
    assert wanted > 0
    assert report.forward["second_moment"][0, 0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.internals
def heads(q, k, r):
    positions = jnp.einsum("bhk,shk->bhs", q, r)
    return positions.sum(-1) + jnp.einsum("bhk,chk->bhc", q, k).sum(-1)


STACKS = {
    "of two layers": (
        {"w": (8, 3, 5), "v": (3, 5, 6), "gate": (8, 3)},
        lambda p, x: jnp.einsum(
            "beg,be->bg",
            jnp.einsum(
                "beh,ehg->beg",
                jax.nn.relu(jnp.einsum("bd,deh->beh", x, p["w"])),
                p["v"],
            ),
            x @ p["gate"],
        ),
        {"w": (8, 5), "v": (5, 6)},
    ),
    "of one layer, experts first": (
        {"w": (3, 8, 5), "gate": (8, 3)},
        lambda p, x: jnp.einsum(
            "ebh,be->bh",
            jax.nn.relu(jnp.einsum("bd,edh->ebh", x, p["w"])),
            x @ p["gate"],
        ),
        {"w": (8, 5), "gate": (8, 3)},
    ),
    # Positions as in Transformer-XL: each head meets its own before those of the keys.
    "of heads": (
        {"w": (8, 2, 5), "k": (8, 2, 5), "r": (7, 2, 5)},
        lambda p, x: heads(
            jnp.einsum("bd,dhk->bhk", x, p["w"]),
            jnp.einsum("bd,dhk->bhk", x, p["k"]),
            p["r"],
        ),
        {"w": (8, 10), "k": (8, 10)},
    ),
}


@pytest.mark.parametrize("what", STACKS)
def test_experts_side_by_side_have_fans_of_their_own(what):
    shapes, apply, fans = STACKS[what]
    rows = explained(shapes, apply)

    for name, expected in fans.items():
        assert (rows[name].fan_in, rows[name].fan_out) == expected, name


def test_a_layer_that_nothing_needs_gets_no_row():
    def apply(p, x):
        def step(h, _):
            h = jnp.tanh(h @ p["w"])
            return h, h @ p["dead"]

        h, _ = jax.lax.scan(step, x, None, length=3)
        return h @ p["out"]

    shapes = {"w": (8, 8), "dead": (8, 5), "out": (8, 3)}
    report = jaxinit.analyze(function(shapes, apply), X, seeds=1, progress=False)

    assert report.layers == ("w", "out")
    assert report.unreached == ("dead",)


@pytest.mark.internals
def test_a_state_that_is_learned_and_summed_away():
    def apply(p, x):
        def step(h, _):
            return h + 0.1 * jnp.tanh(h * x).sum(), None

        h, _ = jax.lax.scan(step, p["start"], None, length=3)
        return h * x @ p["w"]

    shapes = {"start": (16, 8), "w": (8, 4)}
    report = jaxinit.analyze(function(shapes, apply), X, seeds=1, progress=False)

    assert report.layers[-1] == "w"


def hidden(p, x):
    """Factors of a kernel, multiplied by hand."""
    return x @ p["w"] + x @ jnp.sum(p["a"][:, :, None] * p["b"], 1)


def test_what_no_rule_takes_is_named():
    shapes = {"w": (8, 4), "a": (8, 2), "b": (2, 4)}
    model = function(shapes, hidden)
    rows = jaxinit.explain(model, jaxinit.he_normal(), X)

    with pytest.warns(jaxinit.UntouchedWarning, match=r"leaves a \(8, 2\), b \(2, 4\)"):
        jaxinit.initialize(model, jaxinit.he_normal(), 0, X)
    with pytest.warns(jaxinit.UntouchedWarning, match=r"override\(scheme, \[\('a', "):
        jaxinit.analyze(model, X, seeds=1, progress=False, scheme=jaxinit.he_normal())
    assert rows.untouched == ("a", "b")


def test_a_scheme_for_some_parameters_names_none():
    shapes = {"w": (8, 4), "a": (8, 2), "b": (2, 4)}
    model = function(shapes, hidden)

    # A warning would be an error.
    drawn = jaxinit.initialize(model, jaxinit.rules([("a", jaxinit.zeros)]), 0, X)

    assert {name: bool(w.any()) for name, w in drawn.items()} == {
        "w": True,
        "a": False,
        "b": True,
    }
