"""A 56-layer ResNet without normalization: Flax's default against Fixup.

    python -m examples.deep_resnet [--steps 150]

Without normalization the signal grows from block to block, and gradient descent at the
usual learning rate gets nowhere or diverges. Fixup starts every block as the identity.
The scalars in the blocks are the model's side of Fixup.
"""

import argparse
from collections.abc import Sequence
from functools import partial

import jax
import optax
from flax import linen as nn

import jaxinit
from examples.training import compare, digits, show


class Block(nn.Module):
    """Two convolutions with scalar biases and a scalar multiplier beside a skip."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(nn.Conv, self.features, (3, 3), use_bias=False)

        def shift(name: str) -> jax.Array:
            return self.param(name, nn.initializers.zeros, ())

        y = conv(strides=(self.stride, self.stride), name="conv_1")(x + shift("bias_1"))
        y = nn.relu(y + shift("bias_2"))
        y = conv(name="conv_2")(y + shift("bias_3"))
        y = y * self.param("scale", nn.initializers.ones, ()) + shift("bias_4")
        if x.shape != y.shape:
            strides = (self.stride, self.stride)
            x = nn.Conv(
                self.features, (1, 1), strides, use_bias=False, name="projection"
            )(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Three stages of blocks; the blocks of a stage after its first are scanned."""

    blocks: int = 9
    features: int = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(-1, 8, 8, 1)
        x = nn.relu(nn.Conv(self.features, (3, 3), name="stem")(x))
        for stage in range(3):
            features = self.features * 2**stage
            x = Block(features, 2 if stage else 1, name=f"stage_{stage}_first")(x)
            rest = nn.scan(
                lambda block, x, _: (block(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.blocks - 1,
            )
            x, _ = rest(Block(features, name=f"stage_{stage}_rest"), x, None)
        return nn.Dense(10, name="head")(x.mean((1, 2)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=9, help="blocks a stage")
    parser.add_argument("--features", type=int, default=16, help="of the first stage")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args(arguments)
    schemes = {"flax default": None, "fixup": jaxinit.fixup()}
    losses = compare(
        ResNet(args.blocks, args.features),
        schemes,
        *digits(),
        steps=args.steps,
        optimizer=optax.sgd(0.05, momentum=0.9),
        batch=args.batch,
    )
    show(losses)


if __name__ == "__main__":
    main()
