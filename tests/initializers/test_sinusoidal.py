"""Sinusoidal kernels."""

import jax
import numpy as np
import pytest

import jaxinit.initializers as ji

KEY = jax.random.key(13)


def by_formula(n, m):
    """As (out, in), in float64."""
    i, j = np.arange(m)[:, None], np.arange(n)[None, :]
    w = np.sin((i + 1) * (2 * np.pi * j / n + 2 * np.pi / m))
    return w / w.std() * np.sqrt(2 / (n + m))


@pytest.mark.parametrize(("n", "m"), [(24, 16), (5, 7), (100, 300)])
def test_values_follow_the_formula(n, m):
    w = ji.sinusoidal()(KEY, (n, m))

    # Phases are exact to float32's rounding of a turn, 6e-8 * 2 pi.
    np.testing.assert_allclose(w.T, by_formula(n, m), atol=2e-6)


def test_large_layers_keep_their_digits():
    w = np.asarray(ji.sinusoidal()(KEY, (60_000, 2)), np.float64)

    np.testing.assert_allclose(w.T, by_formula(60_000, 2), atol=2e-8)


def test_convolutions_flatten_their_inputs():
    w = ji.sinusoidal()(KEY, (3, 3, 4, 8))

    np.testing.assert_array_equal(w.reshape(36, 8), ji.sinusoidal()(KEY, (36, 8)))


@pytest.mark.parametrize(
    ("n", "m", "plain", "dealiased"), [(16, 16, 9, 14), (17, 16, 16, 16), (9, 4, 4, 4)]
)
def test_ranks(n, m, plain, dealiased):
    def rank(init):
        w = np.asarray(init(KEY, (n, m)), np.float64)
        return np.linalg.matrix_rank(w, tol=1e-4)

    assert rank(ji.sinusoidal(dealiased=True)) == dealiased
    assert rank(ji.sinusoidal()) <= plain


def test_both_have_the_variance_of_glorot():
    for dealiased in (False, True):
        w = np.asarray(ji.sinusoidal(dealiased)(KEY, (24, 16)), np.float64)

        assert w.std() == pytest.approx(np.sqrt(2 / 40), rel=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"a fan-in from 3 to 65535, got 2 in \(2, 4"):
        ji.sinusoidal()(KEY, (2, 4))
    with pytest.raises(ValueError, match=r"got 65536"):
        ji.sinusoidal()(KEY, (65536, 4))
