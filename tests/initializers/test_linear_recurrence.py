"""Eigenvalues of the LRU and decays of the RG-LRU."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law

KEY = jax.random.key(18)


def radius(nu_log):
    return np.exp(-np.exp(np.asarray(nu_log, np.float64)))


@pytest.mark.parametrize(("r_min", "r_max"), [(0.0, 1.0), (0.4, 0.9), (0.9, 0.999)])
def test_eigenvalues_are_uniform_by_area(r_min, r_max):
    nu = ji.lru_ring(r_min, r_max)(KEY, (8192,))

    squares = radius(nu) ** 2
    low, width = r_min**2, r_max**2 - r_min**2
    assert_law(jnp.asarray(squares), stats.uniform(low, width).cdf)
    stderr = width / math.sqrt(12 * 8192)
    assert abs(squares.mean() - (r_min**2 + r_max**2) / 2) < 5 * stderr
    assert np.isfinite(nu).all()


def test_phases_are_uniform():
    theta = ji.lru_ring(max_phase=0.314, part="theta_log")(KEY, (8192,))

    assert_law(jnp.exp(theta), stats.uniform(0, 0.314).cdf)


def test_every_uniform_gives_a_finite_parameter():
    # 2^23 float32 uniforms hit 0 or the largest one with probability 0.86.
    for part in ("nu_log", "theta_log"):
        x = ji.lru_ring(part=part)(KEY, (1 << 22,))

        assert bool(jnp.isfinite(x).all())
    assert bool(jnp.isfinite(ji.rg_lru(0.0, 1.0)(KEY, (1 << 22,))).all())


def test_gamma_makes_up_for_the_memory():
    nu = ji.lru_ring(0.5, 0.99)(KEY, (64,))

    gamma = np.exp(np.asarray(ji.lru_gamma_log(nu), np.float64))

    np.testing.assert_allclose(gamma**2 + radius(nu) ** 2, np.ones(64), rtol=1e-5)
    low = nu.astype(jnp.bfloat16)
    assert ji.lru_gamma_log(low).dtype == jnp.bfloat16


def test_states_have_the_variance_of_their_inputs():
    nu = ji.lru_ring(0.5, 0.9)(KEY, (16,))
    decay = jnp.exp(-jnp.exp(nu))
    gamma = jnp.exp(ji.lru_gamma_log(nu))
    inputs = jax.random.normal(jax.random.key(1), (100, 512, 16))

    def step(state, x):
        return decay[None, :] * state + gamma[None, :] * x, None

    state, _ = jax.lax.scan(step, jnp.zeros((512, 16)), inputs)

    # 512 samples of 16 states: relative error sqrt(2 / 8192) = 1.6%.
    assert float(jnp.mean(state**2)) == pytest.approx(1.0, abs=0.08)


def test_rg_lru_decays():
    parameter = np.asarray(ji.rg_lru()(KEY, (8192,)), np.float64)

    decay = np.exp(-np.logaddexp(parameter, 0))  # exp(-softplus)
    low, high = 0.9**2, 0.999**2
    assert_law(jnp.asarray(decay**2), stats.uniform(low, high - low).cdf)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`r_min` must be below `r_max`, got 0.9 and"):
        ji.lru_ring(0.9, 0.9)
    with pytest.raises(ValueError, match=r"`r_max` must be in \[0, 1\], got 1.5"):
        ji.rg_lru(0.9, 1.5)
    with pytest.raises(ValueError, match=r"`max_phase` must be in \[0, 6.28319\]"):
        ji.lru_ring(max_phase=7.0)
    with pytest.raises(ValueError, match=r"`max_phase` must be above 0, got 0"):
        ji.lru_ring(max_phase=0.0)
    with pytest.raises(ValueError, match=r"`part` .*got 'gamma_log'"):
        ji.lru_ring(part="gamma_log")
