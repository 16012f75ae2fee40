"""Analyzes models that factor batches of matrices; `test_seeds` runs it."""

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


ORTHOGONAL = jax.nn.initializers.orthogonal()


def two_batches(key, x):
    """Each is drawn by a sampler of its own."""
    keys = jax.random.split(key, 32)
    return [jax.vmap(lambda k, n=n: ORTHOGONAL(k, (n, 96)))(keys) for n in (96, 112)]


DRAWN = jaxinit.Functional(two_batches, lambda w, x: x @ w[0][0, :64] @ w[1][0].T)

CASES = {
    "init": (Stacked(ORTHOGONAL), None, 64),
    "two inits": (DRAWN, None, 2),
    "ours": (Stacked(jaxinit.orthogonal()), None, 64),
    "scheme": (Stacked(), jaxinit.orthogonal(), 64),
    "forward": (Stacked(factors=True), None, 64),
}

if __name__ == "__main__":
    inputs = jax.random.normal(jax.random.key(0), (64, 64))
    for name, (model, scheme, seeds) in CASES.items():
        print(name, flush=True)
        jaxinit.analyze(
            model, inputs, scheme=scheme, seeds=seeds, judge=False, progress=False
        )
