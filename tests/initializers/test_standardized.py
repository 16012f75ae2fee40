"""Exact means and deviations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments

KEY = jax.random.key(4)


def test_centered_columns_sum_to_zero_and_keep_their_variance():
    w = ji.centered(ji.he_normal())(KEY, (8, 4096))

    # Sums of 8 float32 values of size 0.5.
    np.testing.assert_allclose(w.sum(axis=0), np.zeros(4096), atol=1e-6)
    assert_moments(w, mean=0.0, std=0.5, kurtosis=2.5)


def test_centered_kernels_ignore_the_mean_of_their_input():
    x = 100.0 + jax.random.normal(jax.random.key(1), (16, 5, 5, 12))
    w = ji.centered(ji.lecun_normal())(KEY, (3, 3, 12, 64))

    y = jax.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

    assert float(y.std()) == pytest.approx(1.0, rel=0.1)  # 64 channels, unit signal


def test_the_variance_gain_with_centered_kernels_keeps_the_signal():
    x = jax.nn.relu(jax.random.normal(jax.random.key(1), (1024, 512)))
    init = ji.centered(ji.scaled_by_activation("relu", "variance"))

    y = x @ init(KEY, (512, 256))

    # Relative error of the second moment: sqrt(2 / 256) across units.
    assert float(jnp.mean(y**2)) == pytest.approx(1.0, rel=0.1)


def test_centered_by_batch():
    w = ji.centered(ji.normal(), out_axis=1, batch_axis=0)(KEY, (3, 4, 16))

    np.testing.assert_allclose(w.sum(axis=2), np.zeros((3, 4)), atol=1e-6)


@pytest.mark.parametrize("stddev", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("base", [ji.normal(1e-25), ji.uniform(1e25)])
def test_normalized_deviation_is_exact_at_every_scale(base, stddev):
    w = np.asarray(ji.normalized(base, stddev)(KEY, (32, 8)), np.float64)

    assert w.std() == pytest.approx(stddev, rel=1e-6)


def test_normalized_by_column():
    w = np.asarray(ji.normalized(ji.normal(), 0.5, axis=0)(KEY, (32, 8)), np.float64)

    np.testing.assert_allclose(w.std(axis=0), np.full(8, 0.5), rtol=1e-6)


def test_what_does_not_vary_is_left_alone():
    for value in (0.0, 0.1):
        w = ji.normalized(ji.constant(value), 1.0)(KEY, (7, 7))

        np.testing.assert_array_equal(w, np.full((7, 7), value, np.float32))
    assert np.isfinite(ji.normalized(ji.normal(), 1.0)(KEY, (1, 1))).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"fan-in of at least 8, got 7 .*\(7, 2\)"):
        ji.centered(ji.zeros)(KEY, (7, 2))
    with pytest.raises(ValueError, match=r"`stddev` must be in \[0, inf\], got -1"):
        ji.normalized(ji.zeros, -1.0)
    with pytest.raises(ValueError, match=r"`axis` is \(3,\).* has 2 axes"):
        ji.normalized(ji.zeros, 1.0, 3)(KEY, (4, 4))
