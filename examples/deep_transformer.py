"""An 18-block transformer without LayerNorm on text: Flax's default against T-Fixup.

    python -m examples.deep_transformer [--steps 300]

It learns to predict the next byte with Adam, no LayerNorm and no warm-up. With Flax's
default the residual stream grows from block to block and learning stalls; T-Fixup keeps
it small.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxinit
from examples.training import compare, show


class Block(nn.Module):
    """Causal self-attention and an MLP, each beside a skip; no normalization."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        x = x + nn.MultiHeadDotProductAttention(self.heads, name="attn")(x, mask=mask)
        h = nn.relu(nn.Dense(4 * x.shape[-1], name="up")(x))
        return x + nn.Dense(x.shape[-1], name="down")(h)


class Transformer(nn.Module):
    """Scanned blocks over embedded bytes and learned positions."""

    blocks: int = 18
    width: int = 64
    heads: int = 4

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Embed(128, self.width, name="tokens")(tokens)
        x = x + nn.Embed(tokens.shape[1], self.width, name="positions")(
            jnp.arange(tokens.shape[1])
        )
        scanned = nn.scan(
            lambda block, x, _: (block(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
        )
        x, _ = scanned(Block(self.heads, name="blocks"), x, None)
        return nn.Dense(128, name="head")(x)


def windows(length: int = 32, count: int = 2000) -> tuple[jax.Array, jax.Array]:
    """Windows of text as bytes, `(count, length)`, and the bytes that come next."""
    text = (Path(__file__).parent / "text.txt").read_bytes()
    data = np.frombuffer(text, np.uint8).astype(np.int32) % 128
    starts = np.linspace(0, len(data) - length - 1, count).astype(int)
    x = np.stack([data[s : s + length] for s in starts])
    y = np.stack([data[s + 1 : s + length + 1] for s in starts])
    return jnp.asarray(x), jnp.asarray(y)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=18)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--length", type=int, default=32, help="bytes of a window")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args(arguments)
    schemes = {"flax default": None, "t_fixup": jaxinit.t_fixup()}
    losses = compare(
        Transformer(args.blocks, args.width),
        schemes,
        *windows(args.length),
        steps=args.steps,
        optimizer=optax.adam(3e-3),
        batch=32,
    )
    show(losses)


if __name__ == "__main__":
    main()
