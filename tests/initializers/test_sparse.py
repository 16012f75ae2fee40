"""Counts, places and values of sparse kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law, assert_moments

KEY = jax.random.key(8)


def counts(w, axis=-1):
    """Non-zero weights of each output."""
    others = tuple(a for a in range(w.ndim) if a != axis % w.ndim)
    return np.asarray(jnp.count_nonzero(w, axis=others))


def test_every_output_has_exactly_fifteen_weights():
    w = ji.sparse()(KEY, (200, 300))

    np.testing.assert_array_equal(counts(w), np.full(300, 15))
    # Inputs have a binomial number of outgoing ones: B(300, 15/200), variance 20.8.
    outgoing = counts(w, axis=0)
    assert outgoing.mean() == 22.5
    assert 12 < outgoing.var() < 32  # 5 standard errors of a variance over 200


def test_values_are_normal_and_places_uniform():
    w = np.asarray(ji.sparse(stddev=0.5)(KEY, (200, 300)))

    assert_law(jnp.asarray(w[w != 0]), stats.norm(scale=0.5).cdf)
    assert stats.chisquare((w != 0).sum(axis=1)).pvalue > 1e-6


def test_pre_activations_have_the_variance_of_fifteen_inputs():
    x = jax.random.normal(jax.random.key(1), (256, 400))
    w = ji.sparse(stddev=0.5)(KEY, (400, 2000))

    # Sums over 15 chi-squared weights: relative variance of a unit's is 2/15.
    assert float(jnp.mean((x @ w) ** 2)) == pytest.approx(15 * 0.25, rel=0.06)


def test_convolutions_count_over_taps_and_inputs():
    w = ji.sparse(5)(KEY, (3, 3, 4, 8))
    v = ji.sparse(5, out_axis=0)(KEY, (8, 3, 3, 4))

    np.testing.assert_array_equal(counts(w), np.full(8, 5))
    np.testing.assert_array_equal(counts(v, axis=0), np.full(8, 5))


def test_few_inputs_are_all_used():
    w = ji.sparse(15)(KEY, (7, 3))

    np.testing.assert_array_equal(counts(w), np.full(3, 7))


@pytest.mark.parametrize(
    ("fraction", "kept"), [(0.0, 10), (0.25, 7), (0.9, 1), (0.91, 0), (1.0, 0)]
)
def test_fraction_is_of_zeros_rounded_up(fraction, kept):
    w = ji.sparse(fraction=fraction)(KEY, (10, 6))

    np.testing.assert_array_equal(counts(w), np.full(6, kept))


def test_the_moments_of_complex_values():
    w = np.asarray(ji.sparse(stddev=0.7)(KEY, (100, 300), jnp.complex64))

    assert_moments(jnp.asarray(w[w != 0]), mean=0.0, std=0.7, kurtosis=2.0)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`num_nonzero` .* at least 1, got 0"):
        ji.sparse(0)
    with pytest.raises(ValueError, match=r"`fraction` must be in \[0, 1\], got 1.5"):
        ji.sparse(fraction=1.5)
    with pytest.raises(ValueError, match=r"`stddev` .*got -1"):
        ji.sparse(stddev=-1.0)
    with pytest.raises(ValueError, match=r"at least two axes.* got \(3,\)"):
        ji.sparse()(KEY, (3,))


def test_a_fraction_is_rounded_up_to_whole_weights_only_where_it_must():
    w = ji.sparse(fraction=0.07)(jax.random.key(0), (100, 3))

    assert (w == 0).sum(axis=0).tolist() == [7, 7, 7]
    with pytest.raises(ValueError, match="`fraction` and `num_nonzero`"):
        ji.sparse(3, fraction=0.5)
