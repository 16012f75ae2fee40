"""LoRA: adapters initialized from the kernels that they adapt, then trained.

python -m examples.recipes.low_rank
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxinit
from jaxinit import transfer


class Net(nnx.Module):
    """A pretrained layer with an adapter, and a head."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.body = nnx.LoRALinear(8, 16, lora_rank=2, rngs=rngs)
        self.head = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.body(x)))


def loss_fn(model: Net, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error."""
    return jnp.mean((model(x) - y) ** 2)


def main(steps: int = 3) -> dict[str, object]:
    """Adapts and trains the adapter alone; what moved, and what was measured."""
    model = Net(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (32, 8))
    y = jnp.sin(x[:, :1])
    before = model(x)
    state = transfer.initialize_lora(nnx.state(model), jax.random.key(2), transfer.lora)
    nnx.update(model, state)
    unchanged = bool(jnp.allclose(model(x), before, atol=1e-6))

    kernel = model.body.kernel[...]
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.LoRAParam)
    watched = nnx.jit(jaxinit.observe_grad(loss_fn))
    losses = []
    for _ in range(steps):
        loss, grads, statistics = watched(model, x, y)
        optimizer.update(model, nnx.filter_state(grads, nnx.LoRAParam))
        losses.append(float(loss))
    return {
        "unchanged at first": unchanged,
        "kernel moved": bool((kernel != model.body.kernel[...]).any()),
        "losses": losses,
        "statistics": statistics.scalars(),
    }


if __name__ == "__main__":
    print(main())
