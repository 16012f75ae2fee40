"""A test in CI: the model is healthy at initialization, or the build is red.

    pytest examples/recipes/healthy_in_ci.py

The fixture comes with the package. On GitHub the findings become annotations; ``allow``
and ``ignore`` pass over a kind of finding or some of the rows.
"""

from typing import Any

import jax
import numpy as np
from flax import linen as nn

import jaxinit

model = nn.Sequential(
    [nn.Dense(32, kernel_init=jaxinit.he_normal()), nn.relu, nn.Dense(4)]
)
x = np.asarray(jax.random.normal(jax.random.key(0), (32, 16)))


def test_the_model_is_healthy(assert_healthy: Any) -> None:
    """Three lines would do: the model, what it is fed, and this."""
    assert_healthy(model, x, seeds=4)
