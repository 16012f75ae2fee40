"""Norms and biases of Nguyen-Widrow layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji
from jaxinit.initializers.nguyen_widrow import _with_norm
from tests.initializers.checks import assert_law

KEY = jax.random.key(14)


@pytest.mark.parametrize(("inputs", "units"), [(1, 20), (2, 100), (5, 32)])
def test_every_unit_has_the_norm_beta(inputs, units):
    w = ji.nguyen_widrow()(KEY, (inputs, units))

    beta = 0.7 * units ** (1 / inputs)
    np.testing.assert_allclose(jnp.linalg.norm(w, axis=0), np.full(units, beta), 1e-5)


def test_directions_have_no_preferred_sign():
    w = np.asarray(ji.nguyen_widrow(1.0)(KEY, (2, 4096)))

    positive = (w > 0).sum(axis=1)
    assert stats.binomtest(int(positive[0]), 4096).pvalue > 1e-6
    assert stats.binomtest(int(positive[1]), 4096).pvalue > 1e-6


def test_biases_cover_the_same_range():
    b = ji.nguyen_widrow_bias(2)(KEY, (4096,))

    beta = 0.7 * 64
    assert_law(b, stats.uniform(-beta, 2 * beta).cdf)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"must be \(inputs, units\), got \(3, 3, 2"):
        ji.nguyen_widrow()(KEY, (3, 3, 2, 2))
    with pytest.raises(ValueError, match=r"`factor` must be in \(0, inf\), got 0"):
        ji.nguyen_widrow(0.0)
    with pytest.raises(ValueError, match=r"`num_inputs` .* at least 1, got 0"):
        ji.nguyen_widrow_bias(0)


def test_a_column_of_zeros_gets_a_direction():
    w = _with_norm(jnp.asarray([[0.0, 3.0], [0.0, 4.0]]), 2.0)

    np.testing.assert_allclose(w, [[2**0.5, 1.2], [2**0.5, 1.6]], rtol=1e-6)
