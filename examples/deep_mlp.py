"""A 100-layer MLP on handwritten digits: Flax's default against schemes.

    python -m examples.deep_mlp [--activation relu] [--steps 300]

With Flax's default the signal dies on its way through a hundred relu layers, and the
loss stays where it is. Orthogonal kernels with relu's gain, or LSUV, let it train. With
tanh the default has the right gain, and trains too.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxinit
from examples.training import compare, digits, show


class MLP(nn.Module):
    """Dense layers of one width, and a readout for ten digits."""

    depth: int = 100
    width: int = 64
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(self.width, name="stem")(x)
        layers = nn.scan(
            _Layer, variable_axes={"params": 0}, split_rngs={"params": True}
        )
        x, _ = layers(self.activation, name="layers")(x, jnp.arange(self.depth - 2))
        return nn.Dense(10, name="head")(x)


class _Layer(nn.Module):
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, _: jax.Array) -> tuple[jax.Array, None]:
        act = getattr(nn, self.activation)
        return nn.Dense(x.shape[-1])(act(x)), None


def schemes(activation: str) -> dict[str, Any]:
    """What is compared; `None` is the model's own init."""
    # For tanh, the gain that keeps small signals and their gradients at any depth.
    gain = jaxinit.calculate_gain("relu") if activation == "relu" else 1.0
    return {
        "flax default": None,
        "orthogonal": jaxinit.orthogonal(gain),
        "lsuv": jaxinit.lsuv(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activation", default="relu", choices=["relu", "tanh"])
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args(arguments)
    model = MLP(args.depth, activation=args.activation)
    found = schemes(args.activation)
    adam = optax.adam(3e-4)
    show(compare(model, found, *digits(), steps=args.steps, optimizer=adam))


if __name__ == "__main__":
    main()
