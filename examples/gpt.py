"""A GPT over bytes with scanned, rematerialized blocks, and a batch of English text."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


class Block(nn.Module):
    """A pre-LN transformer block: causal attention, then an MLP."""

    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        h = nn.LayerNorm(name="ln_1")(x)
        h = nn.MultiHeadDotProductAttention(self.num_heads, name="attn")(h, mask=mask)
        x = x + h
        h = nn.LayerNorm(name="ln_2")(x)
        h = nn.Dense(4 * width, name="fc")(h)
        h = nn.Dense(width, name="proj")(nn.gelu(h))
        return x + h


class GPT(nn.Module):
    """A language model whose embedding is also its output layer."""

    num_layers: int = 12
    num_heads: int = 4
    width: int = 128
    vocab_size: int = 256
    max_length: int = 128

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        init = nn.initializers.normal(0.02)
        wte = nn.Embed(self.vocab_size, self.width, embedding_init=init, name="wte")
        wpe = nn.Embed(self.max_length, self.width, embedding_init=init, name="wpe")
        x = wte(tokens) + wpe(jnp.arange(tokens.shape[-1]))

        # One block whose parameters have a leading axis of layers: it compiles once,
        # and its activations are computed again in the backward pass.
        blocks = nn.remat(Block, prevent_cse=False)(self.num_heads, name="blocks")
        x, _ = nn.scan(
            lambda block, x, _: (block(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.num_layers,
        )(blocks, x, None)

        return wte.attend(nn.LayerNorm(name="ln_f")(x))


model = GPT()


def inputs(batch_size: int = 8, length: int = 128) -> jax.Array:
    """The first bytes of `text.txt` as tokens `(batch, length)`."""
    text = (Path(__file__).parent / "text.txt").read_bytes()
    tokens = np.frombuffer(text, np.uint8)[: batch_size * length]
    return jnp.asarray(tokens.reshape(batch_size, length), jnp.int32)
