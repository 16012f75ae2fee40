"""Biases against their definitions."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law

KEY = jax.random.key(6)


def test_relu_bias():
    np.testing.assert_array_equal(ji.relu_bias()(KEY, (3,)), np.full(3, 0.1, "f4"))
    np.testing.assert_array_equal(ji.relu_bias(-2)(KEY, (3,)), np.full(3, -2.0))


@pytest.mark.parametrize("p", [1e-12, 0.01, 0.5, 0.9])
def test_prior_bias_predicts_the_prior(p):
    b = ji.prior_bias(p)(KEY, (1,))

    assert float(jax.nn.sigmoid(b)[0]) == pytest.approx(p, rel=3e-6)


def test_prior_bias_of_one_percent():
    # log(0.01 / 0.99)
    assert float(ji.prior_bias(0.01)(KEY, (1,))[0]) == np.float32(-4.59511985)


def test_class_prior_predicts_the_frequencies():
    counts = [70, 20, 10]
    b = ji.class_prior_bias(counts)(KEY, (3,))

    np.testing.assert_allclose(jax.nn.softmax(b), [0.7, 0.2, 0.1], rtol=1e-6)
    assert float(jax.nn.logsumexp(b)) == pytest.approx(0.0, abs=1e-6)


def test_fan_in_uniform_is_uniform():
    b = ji.fan_in_uniform_bias(144)(KEY, (4096,))

    assert_law(b, stats.uniform(-1 / 12, 2 / 12).cdf)
    assert 0.99 / 12 < np.abs(b).max() <= 1 / 12


def test_torch_kernels_have_the_bound_of_their_biases():
    w = ji.variance_scaling(1 / 3, "fan_in", "uniform")(KEY, (3, 3, 16, 64))

    assert_law(w, stats.uniform(-1 / 12, 2 / 12).cdf)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`probability` must be in \(0, 1\), got 1"):
        ji.prior_bias(1.0)
    with pytest.raises(TypeError, match=r"`probability` must be a number"):
        ji.prior_bias([0.1, 0.2])
    with pytest.raises(ValueError, match=r"`frequencies` must be one positive.* 0\."):
        ji.class_prior_bias([1, 0])
    with pytest.raises(ValueError, match=r"does not broadcast to the shape \(4,\)"):
        ji.class_prior_bias([1, 2])(KEY, (4,))
    with pytest.raises(ValueError, match=r"`fan_in` must be in \(0, inf\), got 0"):
        ji.fan_in_uniform_bias(0)
    with pytest.raises(ValueError, match=r"`value` must be finite, got inf"):
        ji.relu_bias(math.inf)
