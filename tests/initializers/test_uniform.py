"""Uniform samples: their laws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxinit.initializers import symmetric_uniform, uniform, uniform_between
from tests.initializers.checks import assert_law

KEY = jax.random.key(0)
SHAPE = (256, 512)


@pytest.mark.parametrize(
    ("init", "low", "high"),
    [
        (uniform(0.3), 0.0, 0.3),
        (uniform_between(-1.0, 3.0), -1.0, 3.0),
        (symmetric_uniform(0.3), -0.3, 0.3),
    ],
    ids=["uniform", "uniform_between", "symmetric_uniform"],
)
def test_law(init, low, high):
    x = init(KEY, SHAPE)

    assert_law(x, stats.uniform(low, high - low).cdf)
    assert x.min() >= low
    assert x.max() <= high


def test_errors():
    with pytest.raises(ValueError, match=r"`scale` must be .*, got -0\.1"):
        uniform(-0.1)
    with pytest.raises(ValueError, match=r"`bound` must be .*, got inf"):
        symmetric_uniform(math.inf)
    with pytest.raises(ValueError, match=r"got low=1\.0, high=1\.0"):
        uniform_between(1.0, 1.0)
    with pytest.raises(ValueError, match="real float dtype, got complex64"):
        uniform(dtype=jnp.complex64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e5m2"])
def test_open_bounds_stay_open_in_every_dtype(dtype):
    key, size = jax.random.key(3), (65536,)
    for init, low, high in [
        (uniform(1.0), 0.0, 1.0),
        (uniform(0.6), 0.0, 0.6),
        (uniform_between(-2.0, -1.0), -2.0, -1.0),
        (uniform_between(-1.0, 0.0), -1.0, 0.0),
        (uniform_between(1000.0, 1001.0), 1000.0, 1001.0),
        (symmetric_uniform(0.5), -0.5, 0.5),
    ]:
        x = np.asarray(init(key, size, dtype)).astype(np.float64)
        if low == 1000.0 and dtype != "float32":
            continue  # too few values between them
        assert x.min() >= low, init
        assert x.max() < high, init


def test_a_scale_of_zero_gives_zeros():
    assert (uniform(0.0)(jax.random.key(0), (8,), "bfloat16") == 0).all()
    with pytest.raises(ValueError, match=r"distance at most 3\.4e"):
        uniform_between(-3e38, 3e38)
