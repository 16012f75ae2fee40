"""Analyzes a model that factors batches of matrices; `test_seeds` runs it."""

import sys

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxinit


class Stacked(nn.Module):
    """Dense layers whose kernels are drawn at once, and a step that factors many."""

    kernel_init: jax.nn.initializers.Initializer = nn.initializers.lecun_normal()
    factors: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.vmap(
            nn.Dense,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            axis_size=16,
        )(64, kernel_init=self.kernel_init)(x)
        if self.factors:
            x = jnp.linalg.inv(x + 9 * jnp.eye(64))
        return nn.Dense(4)(x)


CASES = {
    "init": (Stacked(jax.nn.initializers.orthogonal()), None),
    "ours": (Stacked(jaxinit.orthogonal()), None),
    "scheme": (Stacked(), jaxinit.orthogonal()),
    "forward": (Stacked(factors=True), None),
}

if __name__ == "__main__":
    model, scheme = CASES[sys.argv[1]]
    inputs = jax.random.normal(jax.random.key(0), (64, 64))
    jaxinit.analyze(model, inputs, scheme=scheme, seeds=64, judge=False, progress=False)
