"""Equinox: a module is a pytree, so ``Functional`` takes it as it is.

python -m examples.recipes.equinox_mlp
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import jaxinit

functional = jaxinit.Functional(
    lambda key, x: eqx.nn.MLP(4, 1, width_size=16, depth=2, key=key),
    lambda model, x: jax.vmap(model)(x),
    name="MLP",
)


def loss_fn(model: eqx.nn.MLP, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error."""
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def main(steps: int = 3) -> tuple[jaxinit.Report, dict[str, float], eqx.nn.MLP]:
    """Measures at initialization, in training, and after it."""
    x = jax.random.normal(jax.random.key(0), (32, 4))
    y = jnp.sin(x[:, :1])
    # A whole-network scheme in place of eqx's own init:
    model = jaxinit.initialize(functional, jaxinit.he_normal(), 1, x)
    optimizer = optax.adam(1e-2)

    @eqx.filter_jit
    def train_step(model: eqx.nn.MLP, moments: optax.OptState) -> tuple:
        # In place of eqx.filter_value_and_grad(loss_fn)(model, x, y):
        _, grads, statistics = jaxinit.observe_grad(loss_fn)(model, x, y)
        updates, moments = optimizer.update(grads, moments)
        return eqx.apply_updates(model, updates), moments, statistics

    moments = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    for _ in range(steps):
        model, moments, statistics = train_step(model, moments)
    report = jaxinit.analyze(functional, x, variables=model, judge=False)
    return report, statistics.scalars(), model


if __name__ == "__main__":
    print(main()[0])
