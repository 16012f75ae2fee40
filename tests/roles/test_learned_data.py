"""Learned queries, and tables that are read by a product with ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from tests.roles.structures import function

X = jax.random.normal(jax.random.key(0), (16, 8))


def roles(shapes, apply, *args):
    args = args or (X,)
    rows = jaxinit.explain(function(shapes, apply), jaxinit.he_normal(), *args).rows
    return {row.name: set(row.roles) for row in rows}


def attend(q, k, v):
    return jax.nn.softmax(q @ k.T) @ v


@pytest.mark.internals
def test_latents_that_ask():
    shapes = {"latents": (4, 8), "q": (8, 8), "v": (8, 8), "head": (8, 3)}

    def apply(p, x):
        return attend(p["latents"] @ p["q"], x, x @ p["v"]) @ p["head"]

    found = roles(shapes, apply)
    report = jaxinit.analyze(function(shapes, apply), X, seeds=1, progress=False)

    assert found["latents"] == {"token"}
    assert {"weight", "query"} <= found["q"]
    assert {"weight", "value"} <= found["v"]
    latents = function(shapes, apply).init(report.key(0), X)
    asked = np.asarray(latents["latents"] @ latents["q"])
    column = report.layers.index("q")
    np.testing.assert_allclose(
        report.forward["second_moment"][0, column], np.mean(asked**2), rtol=1e-5
    )


@pytest.mark.internals
def test_queries_that_start_at_zero():
    shapes = {"position": (4, 8), "q": (8, 8), "bias": (8,), "k": (8, 8)}

    def apply(p, x):
        asked = (jnp.zeros((4, 8)) + p["position"]) @ p["q"] + p["bias"]
        return attend(asked, x @ p["k"], x)

    found = roles(shapes, apply)

    assert found["position"] == {"token"}
    assert "query" in found["q"]
    assert "key" in found["k"]
    assert "bias" in found["bias"]


def test_factors_of_low_rank_are_no_queries():
    shapes = {"w": (8, 4), "a": (8, 2), "b": (2, 4)}
    with_kernel = roles(shapes, lambda p, x: x @ (p["w"] + p["a"] @ p["b"]))
    beside = roles(shapes, lambda p, x: x @ p["w"] + x @ (p["a"] @ p["b"]))

    for found in (with_kernel, beside):
        assert "weight" in found["w"]
        assert "token" not in found["a"] | found["b"]


TOKENS = jnp.arange(16) % 20


@pytest.mark.internals
def test_a_table_that_ones_read():
    shapes = {"table": (20, 8), "head": (8, 20)}
    found = roles(
        shapes, lambda p, t: jax.nn.one_hot(t, 20) @ p["table"] @ p["head"], TOKENS
    )

    assert found["table"] == {"embedding"}
    assert "weight" in found["head"]


ROWS = {
    "of the identity": lambda t, m: jnp.eye(20)[t],
    "masked": lambda t, m: jax.nn.one_hot(t, 20) * m[..., None],
    "chosen": lambda t, m: jnp.where(t[..., None] == jnp.arange(20), 1.0, 0.0),
    "masked by a choice": lambda t, m: jnp.where(
        m[..., None] > 0, jax.nn.one_hot(t, 20), 0.0
    ),
}


@pytest.mark.parametrize("rows", ROWS)
def test_a_table_that_ones_read_in_other_ways(rows):
    def apply(p, t, m):
        return ROWS[rows](t, m) @ p["table"] @ p["head"]

    shapes = {"table": (20, 8), "head": (8, 20)}
    assert roles(shapes, apply, TOKENS, jnp.ones(16))["table"] == {"embedding"}


def test_features_compared_with_a_number_each_are_no_reading():
    shapes = {"w": (5, 8), "head": (8, 2)}
    found = roles(
        shapes,
        lambda p, t: (t == jnp.arange(5)).astype("float32") @ p["w"] @ p["head"],
        jnp.ones((3, 5), int),
    )

    assert found["w"] == {"weight", "input"}


def test_a_table_that_ones_read_is_a_tied_readout():
    def apply(p, t):
        return (jax.nn.one_hot(t, 20) @ p["table"]) @ p["table"].T

    found = roles({"table": (20, 8), "w": (8, 8)}, apply, TOKENS)

    assert {"embedding", "readout"} <= found["table"]


def test_a_mask_is_no_reading():
    shapes = {"w": (16, 8)}
    found = roles(shapes, lambda p, t: (t == 3).astype("float32") @ p["w"], TOKENS)

    assert "weight" in found["w"]
