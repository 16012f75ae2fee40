"""Transformers, in linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from tests.zoo.inputs import VOCAB

WIDTH = 16
HEADS = 2
LAYERS = 3


class Block(nn.Module):
    """A pre-LN transformer block with causal attention."""

    @nn.compact
    def __call__(self, x):
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        h = nn.LayerNorm(name="ln_1")(x)
        h = nn.MultiHeadDotProductAttention(HEADS, name="attn")(h, mask=mask)
        x = x + h
        h = nn.LayerNorm(name="ln_2")(x)
        h = nn.gelu(nn.Dense(2 * WIDTH, name="fc")(h))
        return x + nn.Dense(WIDTH, name="proj")(h)


class GPT(nn.Module):
    """Blocks in a Python loop; the embedding is also the head."""

    @nn.compact
    def __call__(self, tokens):
        wte = nn.Embed(VOCAB, WIDTH, name="wte")
        wpe = nn.Embed(8, WIDTH, name="wpe")
        x = wte(tokens) + wpe(jnp.arange(tokens.shape[1]))
        for i in range(LAYERS):
            x = Block(name=f"block_{i}")(x)
        return wte.attend(nn.LayerNorm(name="ln_f")(x))


class ScannedGPT(nn.Module):
    """The same model with its blocks scanned over and rematerialized."""

    @nn.compact
    def __call__(self, tokens):
        wte = nn.Embed(VOCAB, WIDTH, name="wte")
        wpe = nn.Embed(8, WIDTH, name="wpe")
        x = wte(tokens) + wpe(jnp.arange(tokens.shape[1]))
        block = nn.remat(Block, prevent_cse=False)(name="blocks")
        x, _ = nn.scan(
            lambda block, x, _: (block(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=LAYERS,
        )(block, x, None)
        return wte.attend(nn.LayerNorm(name="ln_f")(x))


class DecoderBlock(nn.Module):
    """Causal self-attention, cross attention and an MLP, with dropout."""

    @nn.compact
    def __call__(self, x, memory, train: bool):
        def drop(x):
            return nn.Dropout(0.1, deterministic=not train)(x)

        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        h = nn.LayerNorm(name="ln_1")(x)
        x = x + drop(nn.MultiHeadDotProductAttention(HEADS, name="attn")(h, mask=mask))
        h = nn.LayerNorm(name="ln_2")(x)
        x = x + drop(nn.MultiHeadDotProductAttention(HEADS, name="cross")(h, memory))
        h = nn.relu(nn.Dense(2 * WIDTH, name="fc")(nn.LayerNorm(name="ln_3")(x)))
        return x + drop(nn.Dense(WIDTH, name="proj")(h))


class EncoderBlock(nn.Module):
    """Self-attention and an MLP, with dropout."""

    @nn.compact
    def __call__(self, x, train: bool):
        def drop(x):
            return nn.Dropout(0.1, deterministic=not train)(x)

        h = nn.LayerNorm(name="ln_1")(x)
        x = x + drop(nn.MultiHeadDotProductAttention(HEADS, name="attn")(h))
        h = nn.relu(nn.Dense(2 * WIDTH, name="fc")(nn.LayerNorm(name="ln_2")(x)))
        return x + drop(nn.Dense(WIDTH, name="proj")(h))


class EncoderDecoder(nn.Module):
    """One encoder and one decoder block over one shared embedding."""

    @nn.compact
    def __call__(self, source, target, train: bool = False):
        embed = nn.Embed(VOCAB, WIDTH, name="embed")
        memory = EncoderBlock(name="encoder")(embed(source), train)
        x = DecoderBlock(name="decoder")(embed(target), memory, train)
        return nn.Dense(VOCAB, name="head")(nn.LayerNorm(name="ln_f")(x))


class ViT(nn.Module):
    """Patches, a class token and learned positions."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(WIDTH, (4, 4), strides=(4, 4), name="patches")(x)
        x = x.reshape(x.shape[0], -1, WIDTH)
        token = self.param("token", nn.initializers.zeros, (1, 1, WIDTH))
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], axis=1)
        init = nn.initializers.normal(0.02)
        x = x + self.param("position", init, (1, x.shape[1], WIDTH))
        x = EncoderBlock(name="block")(x, train=False)
        return nn.Dense(8, name="head")(nn.LayerNorm(name="ln_f")(x)[:, 0])


class Experts(nn.Module):
    """A mixture of four experts; each token goes to the two that the router likes."""

    experts: int = 4
    top: int = 2

    @nn.compact
    def __call__(self, x):
        weights = nn.softmax(nn.Dense(self.experts, name="router")(x))
        values, chosen = jax.lax.top_k(weights, self.top)
        # (batch, time, experts): the weight of each expert, zero where not chosen.
        gates = jnp.einsum("btk,btke->bte", values, nn.one_hot(chosen, self.experts))
        init = nn.initializers.lecun_normal(batch_axis=(0,))
        wi = self.param("wi", init, (self.experts, WIDTH, 2 * WIDTH))
        wo = self.param("wo", init, (self.experts, 2 * WIDTH, WIDTH))
        dispatch = (gates > 0).astype(x.dtype)
        inputs = jnp.einsum("bte,btd->ebtd", dispatch, x)
        h = nn.gelu(jnp.einsum("ebtd,edh->ebth", inputs, wi))
        outputs = jnp.einsum("ebth,ehd->ebtd", h, wo)
        return jnp.einsum("bte,ebtd->btd", gates, outputs)


class MixtureOfExperts(nn.Module):
    """A residual block whose MLP is a mixture of experts."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="embed")(x)
        x = x + Experts(name="moe")(nn.LayerNorm(name="ln")(x))
        return nn.Dense(8, name="head")(x)
