"""Sine networks keep their distribution; Fourier frequencies are normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law

KEY = jax.random.key(10)


@pytest.mark.parametrize("w0", [30.0, 1.0])
@pytest.mark.parametrize("c", [6.0, 1.5])
def test_hidden_bounds(w0, c):
    w = ji.siren(w0, c=c)(KEY, (64, 128))

    bound = np.sqrt(c / 64) / w0
    assert_law(w, stats.uniform(-bound, 2 * bound).cdf)


def test_first_bounds():
    w = ji.siren(is_first=True)(KEY, (3, 4096))

    assert_law(w, stats.uniform(-1 / 3, 2 / 3).cdf)


def test_the_fixed_point():
    q = optimize.brentq(lambda q: q - (1 - np.exp(-2 * q)), 0.1, 2.0)

    # 2 E[sin^2 u] for u ~ N(0, q), by our own quadrature.
    assert q == pytest.approx(0.79681213, abs=5e-9)
    assert 2 * ji.activation_moments("sin", q).second_moment == pytest.approx(q, 1e-10)


def test_a_deep_network_stays_at_it():
    width, w0 = 512, 30.0
    x = jax.random.uniform(jax.random.key(1), (1024, 2), minval=-1.0)
    keys = jax.random.split(KEY, 6)
    h = jnp.sin(w0 * (x @ ji.siren(w0, is_first=True)(keys[0], (2, width))))
    stds = []
    for key in keys[1:]:
        u = w0 * (h @ ji.siren(w0)(key, (width, width)))
        stds.append(float(u.std()))
        h = jnp.sin(u)

    # 1 after the first layer, where activations are nearly arcsine, then to 0.8926.
    assert stds[0] == pytest.approx(1.0, abs=0.05)
    assert stds[-1] == pytest.approx(0.89264334, abs=0.05)


def test_fourier_frequencies():
    b = ji.fourier_features(10.0)(KEY, (2, 4096))
    assert_law(b, stats.norm(scale=10.0).cdf)

    # E[cos 2 pi B d] = exp(-2 (pi s d)^2): the kernel of the features.
    b = ji.fourier_features(0.5)(KEY, (1, 100_000))
    distance = 0.3
    mean = float(jnp.mean(jnp.cos(2 * jnp.pi * b * distance)))
    expected = np.exp(-2 * (np.pi * 0.5 * distance) ** 2)
    assert mean == pytest.approx(expected, abs=5 / np.sqrt(100_000))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`w0` must be in \(0, inf\), got 0"):
        ji.siren(0.0)
    with pytest.raises(ValueError, match=r"`c` must be in \(0, inf\), got -6"):
        ji.siren(c=-6.0)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        ji.siren()(KEY, (3,))
    with pytest.raises(ValueError, match=r"`stddev` must be in \(0, inf\), got 0"):
        ji.fourier_features(0.0)
