"""Very small, very large and coarse numbers are reported as what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit

pytestmark = pytest.mark.internals


class MLP(nn.Module):
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(32, dtype=self.dtype)(x))
        return nn.Dense(8, dtype=self.dtype)(x)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(0), (16, 8))


@pytest.mark.parametrize("exponent", [-25, -30, 25])
def test_gradients_of_any_size(x, exponent):
    scale = 10.0**exponent
    report = jaxinit.analyze(
        MLP(),
        x,
        seeds=2,
        loss=lambda out: jnp.float32(scale) * out.sum(),
        progress=False,
    )
    unit = jaxinit.analyze(
        MLP(), x, seeds=2, loss=lambda out: out.sum(), progress=False
    )

    for metric in ("grad_rms", "grad_rel", "chi"):
        got, expected = report.backward[metric], unit.backward[metric]
        factor = scale if metric == "grad_rms" else 1.0
        np.testing.assert_allclose(got, expected * factor, rtol=1e-5)
    np.testing.assert_allclose(
        report.weights["wgrad_norm"], unit.weights["wgrad_norm"] * scale, rtol=1e-5
    )
    assert report.backward["grad_rms"][0, -1] == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize("exponent", [-25, 25])
def test_activations_of_any_size(x, exponent):
    scale = 10.0**exponent
    report = jaxinit.analyze(MLP(), x * jnp.float32(scale), seeds=1, progress=False)
    unit = jaxinit.analyze(MLP(), x, seeds=1, progress=False)

    for metric, power in {"second_moment": 2, "var": 2, "rms": 1, "cos": 0}.items():
        got, expected = report.forward[metric], unit.forward[metric]
        np.testing.assert_allclose(got, expected * scale**power, rtol=1e-4)


def test_bfloat16_is_measured_in_bfloat16(x):
    """Float32 statistics of bfloat16 values: those of the values themselves."""
    model = MLP(jnp.bfloat16)
    report = jaxinit.analyze(model, x, seeds=[4], progress=False)
    params = model.init(report.key(4), x)
    hidden = nn.Dense(32, dtype=jnp.bfloat16).apply(
        {"params": params["params"]["Dense_0"]}, x
    )

    assert [row.dtype for row in report.rows] == ["bfloat16", "bfloat16"]
    values = np.asarray(hidden, np.float64)
    got = report.forward["second_moment"][0, 0]
    # Compiled, XLA may keep a product in float32 where op by op it is rounded: a
    # relative 2^-9 of single elements, not of their mean.
    assert got == pytest.approx((values**2).mean(), rel=2e-3)
    full = jaxinit.analyze(MLP(), x, seeds=[4], progress=False)
    assert got != full.forward["second_moment"][0, 0]
