"""Kernels that lie side by side in one array are drawn as their unfused twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit as ji
from tests.initializers.checks import assert_orthogonal

D = 32
X = jnp.ones((2, 5, D))


def attend(q, k, v):
    return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / D**0.5) @ v


def split(p, x):
    return attend(*jnp.split(x @ p["w"] + p["b"], 3, axis=-1))


def sliced(p, x):
    h = x @ p["w"]
    return attend(h[..., :D], h[..., D : 2 * D], h[..., 2 * D :])


def unpacked(p, x):
    q, k, v = jnp.moveaxis((x @ p["w"]).reshape(2, 5, 3, D), 2, 0)
    return attend(q, k, v)


def gated(p, x):
    h, gate = jnp.split(x @ p["w"], 2, axis=-1)
    return h * jax.nn.silu(gate)


def gated_einsum(p, x):
    h = jnp.einsum("btd,dgf->btgf", x, p["w"])
    return jax.nn.gelu(h[..., 0, :]) * h[..., 1, :]


FUSED = {
    "split": (split, (D, 3 * D), 3),
    "sliced": (sliced, (D, 3 * D), 3),
    "unpacked": (unpacked, (D, 3 * D), 3),
    "gated": (gated, (D, 2 * D), 2),
    "gated in one einsum": (gated_einsum, (D, 2, D), 2),
}


@pytest.mark.parametrize("name", FUSED)
def test_each_part_is_orthogonal_and_has_the_fans_of_its_own(name):
    apply, shape, count = FUSED[name]

    def init(key, *_):
        return {"w": jnp.zeros(shape), "b": jnp.zeros(3 * D)}

    def bare(key, *_):
        return {"w": jnp.zeros(shape)}

    model = ji.Functional(init if name == "split" else bare, apply)
    drawn = np.asarray(ji.initialize(model, ji.orthogonal(), 0, X)["w"])
    for part in np.split(drawn.reshape(D, count * D), count, axis=1):
        assert_orthogonal(part)
    drawn = ji.initialize(model, ji.glorot_uniform(), 0, X)["w"]
    bound = (6 / (D + D)) ** 0.5  # of a kernel D x D; sqrt(2 / (1 + count)) of it fused
    assert 0.98 * bound < float(jnp.abs(drawn).max()) <= bound


def test_a_kernel_whose_output_is_used_whole_is_one():
    def init(key, *_):
        return {"w": jnp.zeros((D, 3 * D))}

    def apply(p, x):
        h = x @ p["w"]
        return h[..., :D] + h.mean()

    drawn = ji.initialize(ji.Functional(init, apply), ji.orthogonal(), 0, X)["w"]
    assert_orthogonal(np.asarray(drawn))
