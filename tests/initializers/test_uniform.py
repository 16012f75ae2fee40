"""Uniform samples: their laws."""

import math

import jax
import jax.numpy as jnp
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
