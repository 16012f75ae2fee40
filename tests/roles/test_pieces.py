"""Kernels cut along their inputs: fans are what each output sums over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.schemes.initialize import prepare

A, B = jnp.ones((4, 30)), jnp.ones((4, 10))


def init(key, a, b):
    w, out = jax.random.split(key)
    return {
        "w": jax.random.normal(w, (40, 50)),
        "b": jnp.zeros(50),
        "out": jax.random.normal(out, (100, 2)),
    }


def model(apply):
    return jaxinit.Functional(init, apply, name="Cut")


def side_by_side(p, first, second):
    first = jax.nn.relu(first + p["b"])
    return jnp.concatenate([first, second], -1) @ p["out"]


ADDED = {
    "slices": lambda p, a, b: jax.nn.relu(a @ p["w"][:30] + b @ p["w"][30:] + p["b"]),
    "split": lambda p, a, b: (
        lambda v, w: jax.nn.relu((a @ v + p["b"]) - jnp.einsum("bi,io->bo", b, w))
    )(*jnp.split(p["w"], [30])),
    "three": lambda p, a, b: (
        a[:, :10] @ p["w"][:10] + (b @ p["w"][10:20] + a[:, 10:] @ p["w"][20:])
    ),
    "transposed": lambda p, a, b: a @ p["w"].T[:, :30].T + b @ p["w"].T[:, 30:].T,
}


@pytest.mark.parametrize("form", ADDED)
def test_pieces_that_are_added_have_the_fan_of_a_concatenation(form):
    def apply(p, a, b):
        return ADDED[form](p, a, b) @ p["out"][:50]

    network, _ = prepare(model(apply), (A, B), {}, ())
    weight = next(p for p in network.params if p.name == "w")

    assert (weight.use.fan_in, weight.use.fan_out) == (40, 50)
    assert (weight.use.in_axis, weight.use.out_axis) == ((0,), (1,))
    assert weight.pieces == ()
    assert "weight" in weight.roles


def apart(p, a, b):
    return side_by_side(p, a @ p["w"][:30], b @ p["w"][30:])


def one_behind_the_other(p, a, b):
    hidden = jax.nn.relu(a @ p["w"][:30])
    return side_by_side(p, hidden, hidden[:, :10] @ p["w"][30:])


@pytest.mark.parametrize("apply", [apart, one_behind_the_other])
def test_pieces_that_are_not_added_are_kernels_of_their_own(apply):
    network, _ = prepare(model(apply), (A, B), {}, ())
    weight = next(p for p in network.params if p.name == "w")

    assert weight.pieces == (frozenset(range(30)), frozenset(range(30, 40)))
    assert weight.use.fan_in == 30
    normal = jaxinit.initialize(model(apply), jaxinit.he_normal(), 0, A, B)["w"]
    for rows in (normal[:30], normal[30:]):
        # 500 numbers or more: five standard errors of a mean square are 0.32 of it.
        assert float(jnp.square(rows).mean()) == pytest.approx(2 / len(rows), rel=0.32)
    rows = jaxinit.initialize(model(apply), jaxinit.orthogonal(), 0, A, B)["w"]
    for piece in (rows[:30], rows[30:]):
        np.testing.assert_allclose(piece @ piece.T, np.eye(len(piece)), atol=1e-5)


def test_windows_that_overlap_keep_their_own_fan():
    def apply(p, a, b):
        return side_by_side(p, a @ p["w"][:30], a @ p["w"][10:])

    network, _ = prepare(model(apply), (A, B), {}, ())
    weight = next(p for p in network.params if p.name == "w")

    assert (weight.use.fan_in, weight.pieces) == (30, ())
