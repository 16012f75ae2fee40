"""Variance scaling: laws, constants and refusals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxinit.initializers import he_normal, he_uniform, lecun_normal, variance_scaling
from tests.initializers.checks import assert_law, assert_moments, widened

KEY = jax.random.key(0)
SHAPE = (256, 512)
TRUNCATED_STD = 0.87962566103423978


@pytest.mark.parametrize(
    ("distribution", "law"),
    [
        ("normal", stats.norm),
        ("uniform", stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))),
        ("truncated_normal", stats.truncnorm(-2, 2, scale=1 / TRUNCATED_STD)),
    ],
)
def test_law(distribution, law):
    x = variance_scaling(2.0, "fan_in", distribution)(KEY, SHAPE)

    assert_law(np.asarray(x) / math.sqrt(2 / 256), law.cdf)


def test_uniform_samples_reach_their_bound():
    """Of 131072 samples the largest is within 1e-4 of it, but for one in 10^6 keys."""
    x = he_uniform()(KEY, SHAPE)

    assert 0.9999 < np.abs(x).max() / math.sqrt(6 / 256) <= 1 + 1e-6


def test_complex_truncated_samples_have_the_stated_variance():
    """With jax's constant E|w|^2 is 1.0187 / fan; the test sees 0.6%."""
    w = variance_scaling(1.0, "fan_in", "truncated_normal")(KEY, SHAPE, jnp.complex64)

    assert_moments(w, mean=0.0, std=1 / 16, kurtosis=1.7)
    # The modulus is below 2 / 0.96196183 standard deviations.
    assert 2.07 < np.abs(w).max() * 16 <= 2 / 0.9619618280082135 + 1e-5


def test_complex_uniform_samples_fill_a_disk():
    w = variance_scaling(1.0, "fan_in", "uniform")(KEY, SHAPE, jnp.complex64)

    assert_law(np.abs(widened(w)) ** 2 * 256 / 2, stats.uniform.cdf)


def test_tiny_variances_survive_low_precision():
    """1 / 2**20 underflows to zero in float8_e4m3fn; its root does not."""
    x = lecun_normal()(KEY, (2**20, 1), jnp.float8_e5m2)

    assert 0.9 < widened(x).std() * 2**10 < 1.1


def test_groups_transpose_and_stride():
    grouped = variance_scaling(1.0, "fan_out", "normal", groups=16)
    transposed = he_normal(transpose=True, stride=2)

    # 9 taps to 4 outputs a group; 16 taps, a quarter of which meet, of 32 inputs.
    assert_moments(grouped(KEY, (3, 3, 32, 64)), mean=0.0, std=1 / 6)
    assert_moments(
        transposed(KEY, (4, 4, 16, 32)), mean=0.0, std=math.sqrt(2 / 128), kurtosis=2.2
    )


def test_the_scale_may_be_traced():
    def draw(scale):
        return variance_scaling(scale, "fan_in", "normal")(KEY, (8, 8))

    np.testing.assert_allclose(jax.jit(draw)(2.0), draw(2.0), rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"`mode` must be one of 'fan_in.*got 'fan'"):
        variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match=r"`distribution` must be .*got 'cauchy'"):
        variance_scaling(1.0, "fan_in", "cauchy")
    with pytest.raises(ValueError, match=r"`scale` must be .*got -1\.0"):
        variance_scaling(-1.0, "fan_in", "normal")
    with pytest.raises(ValueError, match="got int8"):
        he_uniform(dtype=jnp.int8)
    with pytest.raises(ValueError, match=r"shape \(8,\) are not defined"):
        he_uniform()(KEY, (8,))
    with pytest.raises(ValueError, match=r"shape \(0,\) are not defined"):
        he_uniform()(KEY, (0,))
    with pytest.raises(ValueError, match="divide the 10 outputs"):
        he_uniform(groups=4)(KEY, (3, 3, 2, 10))
