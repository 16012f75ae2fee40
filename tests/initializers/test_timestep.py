"""Log-uniform time steps and the ways to store them."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law

KEY = jax.random.key(17)


def test_logarithms_are_uniform():
    log_dt = ji.log_uniform_timestep()(KEY, (8192,))

    low, high = math.log(1e-3), math.log(1e-1)
    assert_law(log_dt, stats.uniform(low, high - low).cdf)


def test_every_way_to_store_gives_the_same_time_step():
    log_dt = np.asarray(ji.log_uniform_timestep()(KEY, (512,)), np.float64)
    value = ji.log_uniform_timestep(stored="value")(KEY, (512,))
    bias = ji.log_uniform_timestep(stored="inverse_softplus")(KEY, (512,))

    np.testing.assert_allclose(value, np.exp(log_dt), rtol=1e-5)
    softplus = np.logaddexp(np.asarray(bias, np.float64), 0)
    np.testing.assert_allclose(softplus, np.exp(log_dt), rtol=1e-5)


@pytest.mark.parametrize(
    ("dt", "bias"), [(1e-3, -6.90725524), (0.1, -2.25216846), (5.0, 4.99323912)]
)
def test_mamba_biases(dt, bias):
    b = ji.mamba_timestep_bias(dt, dt)(KEY, (1,))

    # 5.0: log(e^5 - 1).
    assert float(b[0]) == pytest.approx(bias, rel=2e-6)


def test_mamba_time_steps_have_a_floor():
    b = ji.mamba_timestep_bias(1e-6, 1e-2)(KEY, (4096,))

    dt = np.logaddexp(np.asarray(b, np.float64), 0)
    assert dt.min() == pytest.approx(1e-4, rel=1e-5)
    assert (dt < 1.001e-4).mean() == pytest.approx(0.5, abs=0.05)


def test_the_projection_has_the_scale_of_its_rank():
    w = ji.mamba_timestep_kernel()(KEY, (16, 512))

    assert_law(w, stats.uniform(-0.25, 0.5).cdf)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`low` must be in \(0, inf\), got 0"):
        ji.log_uniform_timestep(0.0)
    with pytest.raises(ValueError, match=r"`low` must not exceed `high`, got 1 and 0"):
        ji.log_uniform_timestep(1.0, 0.1)
    with pytest.raises(ValueError, match=r"`stored` .*got 'exp'"):
        ji.log_uniform_timestep(stored="exp")
    with pytest.raises(ValueError, match=r"`floor` must be in \[0, inf\], got -1"):
        ji.log_uniform_timestep(floor=-1.0)
