"""muP: a learning rate found on a narrow model, used on a wide one.

python -m examples.recipes.mup_transfer
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxinit
from jaxinit import schemes


class Net(nn.Module):
    """An MLP whose width is to grow."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(1)(x)


def train(
    model: nn.Module, variables: Any, optimizer: optax.GradientTransformation
) -> float:
    """The loss after a few steps."""
    x = jax.random.normal(jax.random.key(0), (64, 8))
    y = jnp.sin(x.sum(axis=1, keepdims=True))

    def loss_fn(params: Any) -> jax.Array:
        return jnp.mean((model.apply({"params": params}, x) - y) ** 2)

    @jax.jit
    def run(params: Any) -> jax.Array:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss_fn)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        start = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(step, start, length=20)
        return loss_fn(params)

    return float(run(variables["params"]))


def main(proxy_width: int = 16, width: int = 64) -> dict[str, Any]:
    """The rate that suits the proxy, and the loss of both models with it."""
    x = jax.ShapeDtypeStruct((64, 8), "float32")
    base, proxy, target = Net(8), Net(proxy_width), Net(width)
    scheme = jaxinit.mup(base)
    rates = [1e-3, 1e-2, 1e-1]
    # 1. Sweep on the proxy, initialized and stepped in muP.
    variables = jaxinit.initialize(proxy, scheme, 0, x)
    multipliers = schemes.mup_multipliers(proxy, base, x, optimizer="adamw")
    losses = {
        rate: train(proxy, variables, schemes.mup_adamw(rate, multipliers))
        for rate in rates
    }
    best = min(losses, key=losses.__getitem__)
    # 2. The target takes the rate as it is.
    variables = jaxinit.initialize(target, scheme, 0, x)
    multipliers = schemes.mup_multipliers(target, base, x, optimizer="adamw")
    optimizer = schemes.mup_adamw(best, multipliers)
    return {
        "sweep": losses,
        "rate": best,
        "target": train(target, variables, optimizer),
    }


if __name__ == "__main__":
    print(main())
