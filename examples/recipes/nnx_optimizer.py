"""Flax nnx and its Optimizer, with the layers watched as they train.

python -m examples.recipes.nnx_optimizer
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxinit


class Net(nnx.Module):
    """A hidden layer with BatchNorm and Dropout, whose state the step changes."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 16, kernel_init=jaxinit.he_normal(), rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


def loss_fn(model: Net, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error."""
    return jnp.mean((model(x) - y) ** 2)


@nnx.jit
def train_step(
    model: Net, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jaxinit.StepStatistics]:
    """One step, in place of ``nnx.value_and_grad(loss_fn)(model, x, y)``."""
    loss, grads, statistics = jaxinit.observe_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss, statistics


def main(steps: int = 5) -> tuple[list[float], dict[str, float]]:
    """Trains; the losses, and the statistics of the last step."""
    x = jax.random.normal(jax.random.key(0), (32, 4))
    y = jnp.sin(x[:, :1])
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    losses = []
    for _ in range(steps):
        loss, statistics = train_step(model, optimizer, x, y)
        losses.append(float(loss))
    return losses, statistics.scalars("train")


if __name__ == "__main__":
    losses, scalars = main()
    print("losses", losses)
    for name, value in scalars.items():
        print(f"{name:36} {value:.4g}")
