"""Flax linen's TrainState and optax, with the layers watched as they train.

python -m examples.recipes.linen_train_state
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

import jaxinit


class Net(nn.Module):
    """Two hidden layers."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(16, kernel_init=jaxinit.he_normal())(x))
        return nn.Dense(1)(x)


model = Net()


def loss_fn(params: dict, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error; data comes in as arguments, so that it is seen."""
    return jnp.mean((model.apply({"params": params}, x) - y) ** 2)


@jax.jit
def train_step(
    state: TrainState, x: jax.Array, y: jax.Array
) -> tuple[TrainState, jax.Array, jaxinit.StepStatistics]:
    """One step; statistics are taken in every second one."""
    value_and_grad = jaxinit.observe_grad(loss_fn, every=2)
    loss, grads, statistics = value_and_grad(state.params, x, y, step=state.step)
    return state.apply_gradients(grads=grads), loss, statistics


def main(steps: int = 5) -> list[dict[str, float]]:
    """Trains; what each step logs."""
    x = jax.random.normal(jax.random.key(0), (32, 4))
    y = jnp.sin(x[:, :1])
    params = model.init(jax.random.key(1), x)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-2))
    logged = []
    for _ in range(steps):
        state, loss, statistics = train_step(state, x, y)
        logged.append({"loss": float(loss), **statistics.scalars("train")})
    return logged


if __name__ == "__main__":
    for line in main():
        print(f"loss {line['loss']:.4f}, {len(line) - 1} statistics")
