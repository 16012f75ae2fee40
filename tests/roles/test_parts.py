"""Which outputs of a fused kernel are queries, keys, values or gates."""

import jax
import jax.numpy as jnp
import pytest

from tests.roles.structures import function, read

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


def attend(q, k, v):
    return jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k)) @ jnp.swapaxes(v, 1, 2)


def packed(p, x):
    q, k, v = jnp.split(x @ p["w"], 3, -1)
    return attend(*(h.reshape(2, 5, 2, 4) for h in (q, k, v)))


def stacked(p, x):
    h = jnp.einsum("btd,dche->btche", x, p["w"])
    return attend(h[:, :, 0], h[:, :, 1], h[:, :, 2])


def grouped(p, x):
    h = x @ p["w"]
    q, k, v = (h[..., a:b].reshape(2, 5, -1, 4) for a, b in ((0, 8), (8, 12), (12, 16)))
    return attend(q, jnp.repeat(k, 2, 2), jnp.repeat(v, 2, 2))


def swiglu(p, x):
    gate, up = jnp.split(x @ p["w"], 2, -1)
    return jax.nn.silu(gate) * up


def geglu(p, x):
    up, gate = jnp.moveaxis(jnp.einsum("btd,dcf->btcf", x, p["w"]), 2, 0)
    return jax.nn.gelu(gate, approximate=False) * up


def rotary(p, x):
    """Positions multiply halves of queries and keys, as data."""
    q, k, v = (h.reshape(2, 5, 2, 4) for h in jnp.split(x @ p["w"], 3, -1))
    angle = jnp.sum(x, -1)[:, :, None, None]

    def turned(h):
        first, second = jnp.split(h, 2, -1)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.concatenate(
            [first * cos - second * sin, first * sin + second * cos], -1
        )

    return attend(turned(q), turned(k), v)


CASES = {
    rotary: ((8, 24), 1, [(0, 8, "query"), (8, 16, "key"), (16, 24, "value")]),
    packed: ((8, 24), 1, [(0, 8, "query"), (8, 16, "key"), (16, 24, "value")]),
    stacked: ((8, 3, 2, 4), 1, [(0, 1, "query"), (1, 2, "key"), (2, 3, "value")]),
    grouped: ((8, 16), 1, [(0, 8, "query"), (8, 12, "key"), (12, 16, "value")]),
    swiglu: ((8, 12), 1, [(0, 6, "gate"), (6, 12, "gated")]),
    geglu: ((8, 2, 6), 1, [(0, 1, "gated"), (1, 2, "gate")]),
}


@pytest.mark.parametrize("apply", CASES)
def test_the_parts_of_a_fused_kernel(apply):
    shape, axis, expected = CASES[apply]
    found = read(function({"w": shape}, apply), X).structure.parts

    assert [tuple(part) for part in found] == [(0, axis, *part) for part in expected]


def test_kernels_of_their_own_have_no_parts():
    def apply(p, x):
        gate = jax.nn.silu(x @ p["a"])
        first, second = jnp.split(gate * (x @ p["b"]), 2, -1)
        return jnp.concatenate([first, -second], -1)

    assert read(function({"a": (8, 8), "b": (8, 8)}, apply), X).structure.parts == ()
