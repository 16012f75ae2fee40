"""Haiku: a transformed function is a pair of functions.

python -m examples.recipes.haiku_mlp
"""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

import jaxinit

forward = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([16, 16, 1])(x)))
functional = jaxinit.Functional(forward.init, forward.apply, name="MLP")


def loss_fn(params: hk.Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error."""
    return jnp.mean((forward.apply(params, x) - y) ** 2)


def main(steps: int = 3) -> tuple[jaxinit.Report, dict[str, float]]:
    """Measures at initialization and in training."""
    x = jax.random.normal(jax.random.key(0), (32, 4))
    y = jnp.sin(x[:, :1])
    report = jaxinit.analyze(functional, x, seeds=4, judge=False)
    params = forward.init(report.key(0), x)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def train_step(params: hk.Params, moments: optax.OptState) -> tuple:
        _, grads, statistics = jaxinit.observe_grad(loss_fn)(params, x, y)
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), moments, statistics

    moments = optimizer.init(params)
    for _ in range(steps):
        params, moments, statistics = train_step(params, moments)
    return report, statistics.scalars()


if __name__ == "__main__":
    print(main()[0])
