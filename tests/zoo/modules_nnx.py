"""Models in nnx."""

import jax.numpy as jnp
from flax import nnx

from tests.zoo.inputs import VOCAB

WIDTH = 16
LAYERS = 3


class MLP(nnx.Module):
    """Three dense layers, BatchNorm and dropout."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(16, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.second = nnx.Linear(16, 16, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))
        x = self.dropout(nnx.relu(self.second(x)))
        return self.head(x)


class GRU(nnx.Module):
    """A GRU over time, then a dense head."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.rnn = nnx.RNN(nnx.GRUCell(16, 16, rngs=rngs))
        self.head = nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x))


class Block(nnx.Module):
    """A pre-LN transformer block with causal attention."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.ln_1 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(2, WIDTH, decode=False, rngs=rngs)
        self.ln_2 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.fc = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs)
        self.proj = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        mask = nnx.make_causal_mask(jnp.ones(x.shape[:2]))
        x = x + self.attn(self.ln_1(x), mask=mask)
        return x + self.proj(nnx.gelu(self.fc(self.ln_2(x))))


class Transformer(nnx.Module):
    """Blocks in a list."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.embed = nnx.Embed(VOCAB, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs=rngs) for _ in range(2)])
        self.ln_f = nnx.LayerNorm(WIDTH, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.embed.attend(self.ln_f(x))


class ScannedTransformer(nnx.Module):
    """Blocks that are made by `nnx.vmap` and run by `nnx.scan`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.embed = nnx.Embed(VOCAB, WIDTH, rngs=rngs)

        @nnx.split_rngs(splits=LAYERS)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def make(rngs):
            return Block(rngs=rngs)

        self.blocks = make(rngs)
        self.ln_f = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, VOCAB, rngs=rngs)

    def __call__(self, tokens):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def run(x, block):
            return block(x)

        return self.head(self.ln_f(run(self.embed(tokens), self.blocks)))
