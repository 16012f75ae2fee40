"""Small models of any width, the same in linen and nnx, unrolled and scanned."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

VOCAB = 12
TOKENS = jax.ShapeDtypeStruct((2, 6), jnp.int32)
VECTORS = jax.ShapeDtypeStruct((4, 8), jnp.float32)


class MLP(nn.Module):
    """Two hidden layers after the first one, three outputs."""

    width: int

    @nn.compact
    def __call__(self, x):
        for name in ("first", "second", "third"):
            x = nn.relu(nn.Dense(self.width, name=name)(x))
        return nn.Dense(3, name="head")(x)


class Residual(nn.Module):
    """Branches of two layers each, multiplied by a factor."""

    width: int
    depth: int
    factor: float = 1.0

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.width, name="first")(x)
        for _ in range(self.depth):
            h = nn.relu(nn.Dense(self.width)(x))
            x = x + self.factor * nn.Dense(self.width)(h)
        return nn.Dense(3, name="head")(x)


class NnxMLP(nnx.Module):
    """The same in nnx."""

    def __init__(self, width, *, rngs):
        self.first = nnx.Linear(8, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.third = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        for layer in (self.first, self.second, self.third):
            x = nnx.relu(layer(x))
        return self.head(x)


def nnx_mlp(width):
    """A factory of `NnxMLP`."""
    return lambda rngs: NnxMLP(width, rngs=rngs)


class Block(nn.Module):
    """A pre-LN block; the number of heads grows with the width, or their size."""

    width: int
    heads: int

    @nn.compact
    def __call__(self, x):
        h = nn.LayerNorm(name="ln_1")(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads, name="attn")(h)
        h = nn.LayerNorm(name="ln_2")(x)
        h = nn.gelu(nn.Dense(4 * self.width, name="fc")(h))
        return x + nn.Dense(self.width, name="proj")(h)


class GPT(nn.Module):
    """Two blocks, in a loop or scanned over, with a head or a tied one."""

    width: int
    heads: int = 2
    tied: bool = False
    scanned: bool = False
    vocabulary: int = VOCAB

    @nn.compact
    def __call__(self, tokens):
        wte = nn.Embed(self.vocabulary, self.width, name="wte")
        position = self.param(
            "position", nn.initializers.normal(0.02), (tokens.shape[1], self.width)
        )
        x = wte(tokens) + position
        if self.scanned:
            block = Block(self.width, self.heads, name="blocks")
            x, _ = nn.scan(
                lambda block, x, _: (block(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=2,
            )(block, x, None)
        else:
            for i in range(2):
                x = Block(self.width, self.heads, name=f"block_{i}")(x)
        x = nn.LayerNorm(name="ln_f")(x)
        return wte.attend(x) if self.tied else nn.Dense(VOCAB, name="head")(x)
