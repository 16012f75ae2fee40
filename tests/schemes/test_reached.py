"""LSUV says what it reached, whatever kernels and activations do; bad data raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit as ji
from jaxinit.schemes import data_dependent, lsuv

N = jax.random.normal
X = N(jax.random.key(1), (64, 8))


def quantized(w):
    scale = jnp.abs(w).max() / 127
    return jnp.round(w / scale) * scale


NORMALIZED = {
    "columns": lambda w: (w - w.mean(0)) / w.std(0),
    "guarded": lambda w: (w - w.mean(0)) / (w.std(0) + 1e-5),
    "spectral": lambda w: w / jnp.linalg.norm(w, 2),
    "frobenius": lambda w: w * jax.lax.rsqrt(jnp.sum(w**2)),
}


def two_layers(kernel, gain=False):
    def init(key, x):
        found = {"w": N(key, (8, 16)), "v": N(key, (16, 3))}
        return {**found, "g": jnp.ones(16)} if gain else found

    def apply(p, x):
        h = x @ kernel(p["w"])
        return (h * p["g"] if gain else h) @ p["v"]

    return ji.Functional(init, apply)


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_normalized_kernel_is_named_and_the_head_behind_it_is_right(name):
    model = two_layers(NORMALIZED[name])
    with pytest.warns(UserWarning, match="the layer with w is off") as caught:
        params = ji.initialize(model, lsuv(), 0, X)
    assert len(caught) == 1
    assert abs(float(model.apply(params, X).var()) - 1) < 1e-3
    # A scale without effect is left alone: orthogonal columns of an 8 x 16 kernel.
    np.testing.assert_allclose(params["w"] @ params["w"].T, np.eye(8), atol=1e-5)


def test_a_gain_behind_a_normalized_kernel_is_the_handle():
    model = two_layers(NORMALIZED["columns"], gain=True)
    params = ji.initialize(model, lsuv(), 0, X)
    hidden = X @ NORMALIZED["columns"](params["w"]) * params["g"]
    assert abs(float(hidden.var()) - 1) < 1e-3
    assert abs(float(model.apply(params, X).var()) - 1) < 1e-3


def test_a_kernel_rounded_to_a_grid_of_its_own_scales_as_it_is():
    model = two_layers(quantized)
    params = ji.initialize(model, lsuv(), 0, X)
    assert abs(float((X @ quantized(params["w"])).var()) - 1) < 1e-3


def test_a_kernel_beside_a_frozen_one_is_scaled_until_it_is_right():
    def init(key, x):
        return {"w": N(key, (8, 16)), "v": N(key, (16, 3)), "a": jnp.ones((8, 2))}

    def apply(p, x):
        return x @ (p["w"] + p["a"] @ (0.05 * jnp.ones((2, 16)))) @ p["v"]

    model = ji.Functional(init, apply)
    scheme = ji.override(lsuv(), [("a", ji.as_stored(ji.ones))])
    params = ji.initialize(model, scheme, 0, X)
    assert abs(float((X @ (params["w"] + 0.1)).var()) - 1) < 0.1
    assert abs(float(model.apply(params, X).var()) - 1) < 0.1


ACTIVATIONS = {
    "where": lambda h: jnp.where(h > 0, h, 0.1 * h),
    "square": lambda h: jnp.maximum(h, 0) ** 2,
    "swish": lambda h: h * jax.nn.sigmoid(h),
    "prelu": None,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_elementwise_activation_is_a_target(name):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.Dense(32)(x)
            act = ACTIVATIONS[name] or nn.PReLU()
            h = act(h)
            return nn.Dense(3)(h), h

    variables = ji.initialize(Net(), lsuv(target="activation"), 0, X)
    head, hidden = Net().apply(variables, X)
    assert abs(float(hidden.var()) - 1) < 0.1
    assert abs(float(head.var()) - 1) < 0.1


def test_a_slope_stored_beside_the_kernel_is_no_handle():
    def apply(p, x):
        h = x @ p["w"]
        return jnp.where(h > 0, h, p["a"] * h) @ p["v"]

    def init(key, x):
        return {"w": N(key, (8, 16)), "a": jnp.full(16, 0.2), "v": N(key, (16, 3))}

    params = ji.initialize(ji.Functional(init, apply), lsuv(target="activation"), 0, X)
    np.testing.assert_array_equal(params["a"], jnp.full(16, 0.2))
    h = X @ params["w"]
    assert abs(float(jnp.where(h > 0, h, 0.2 * h).var()) - 1) < 0.1


@pytest.mark.parametrize("scheme", [lsuv(), data_dependent()], ids=["lsuv", "channel"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (X.at[0, 0].set(jnp.nan), "1 NaN"),
        (X.at[0, 0].set(jnp.inf), "1 infinite"),
        (X[:0], r"an empty array of shape \(0, 8\)"),
        (X * 1e30, "e\\+30"),
    ],
)
def test_bad_data_are_an_error_that_names_the_argument(scheme, bad, said):
    with pytest.raises(ValueError, match=rf"`args\[0\]` must hold finite.*{said}"):
        ji.initialize(nn.Dense(3), scheme, 0, bad)


def test_a_mask_of_minus_infinity_is_no_bad_batch():
    class Masked(nn.Module):
        @nn.compact
        def __call__(self, x, mask):
            return nn.Dense(3)(jax.nn.softmax(x + mask))

    mask = jnp.where(jnp.arange(8) < 4, 0.0, -jnp.inf)
    variables = ji.initialize(Masked(), lsuv(), 0, X, mask)  # warnings are errors
    assert abs(float(Masked().apply(variables, X, mask).var()) - 1) < 1e-3
