"""Small models of many kinds, written as their authors would write them."""

import jax.numpy as jnp

from tests.zoo import (
    control,
    convolution,
    feedforward,
    functions,
    inputs,
    modules_nnx,
    recurrent,
    transformer,
)
from tests.zoo._entry import Entry as Entry
from tests.zoo._entry import forward as forward
from tests.zoo._entry import variables as variables


def _block(name: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"{name}/{part}" for part in parts)


_ATTENTION = ("query", "key", "value", "out")
_ATTN = tuple(f"attn/{part}" for part in _ATTENTION)
_CROSS = tuple(f"cross/{part}" for part in _ATTENTION)
_BLOCK = ("ln_1", *_ATTN, "ln_2", "fc", "proj")
_DECODER_BLOCK = ("ln_1", *_ATTN, "ln_2", *_CROSS, "ln_3", "fc", "proj")
_DENSE = ("Dense_0", "Dense_1")
_STAGE = ("Conv_0", "GroupNorm_0", "Dense_0")
_RESIDUAL = ("Conv_0", "BatchNorm_0", "Conv_1", "BatchNorm_1")

_ENTRIES = (
    # Dense layers.
    Entry("mlp", feedforward.MLP, "linen", inputs.vectors, {}, (*_DENSE, "Dense_2")),
    Entry(
        "mlp_bf16_compute",
        lambda: feedforward.MLP(dtype=jnp.bfloat16),
        "linen",
        inputs.vectors,
        {},
        (*_DENSE, "Dense_2"),
    ),
    Entry(
        "mlp_bf16_params",
        lambda: feedforward.MLP(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16),
        "linen",
        inputs.vectors,
        {},
        (*_DENSE, "Dense_2"),
    ),
    Entry(
        "three_calls",
        feedforward.ThreeCalls,
        "linen",
        inputs.vectors,
        {},
        ("shared", "head"),
    ),
    Entry("lora", feedforward.LoraMLP, "linen", inputs.vectors),
    Entry(
        "heads",
        feedforward.Heads,
        "linen",
        inputs.sequences,
        {},
        ("q", "k", "v", "out"),
    ),
    Entry(
        "ensemble",
        feedforward.Ensemble,
        "linen",
        inputs.vectors,
        {},
        _block("members", *_DENSE, "Dense_2"),
    ),
    Entry("outputs", feedforward.Outputs, "linen", inputs.vectors, {}, _DENSE),
    Entry("noise", feedforward.Noise, "linen", inputs.vectors, {}, _DENSE, ("noise",)),
    Entry("partitioned", feedforward.Partitioned, "linen", inputs.vectors, {}, _DENSE),
    Entry("weight_norm", feedforward.WeightNorm, "linen", inputs.vectors),
    # Convolutions.
    Entry(
        "convnet",
        convolution.ConvNet,
        "linen",
        inputs.images,
        {"train": True},
        ("Conv_0", "BatchNorm_0", "Conv_1", "BatchNorm_1", "Dense_0"),
    ),
    Entry(
        "resnet",
        convolution.ResNet,
        "linen",
        inputs.images,
        {"train": True},
        (
            "stem",
            "stem_norm",
            *_block("ResidualBlock_0", *_RESIDUAL),
            *_block("ResidualBlock_1", *_RESIDUAL, "proj"),
            *_block("ResidualBlock_2", *_RESIDUAL),
            "head",
        ),
    ),
    Entry(
        "separable",
        convolution.Separable,
        "linen",
        inputs.images,
        {},
        ("grouped", "depthwise", "pointwise"),
    ),
    Entry(
        "unet",
        convolution.UNet,
        "linen",
        inputs.image_and_time,
        {},
        (
            "time",
            *_block("down", *_STAGE),
            *_block("middle", *_STAGE),
            "rise",
            *_block("up", *_STAGE),
            "out",
        ),
    ),
    Entry("two_towers", convolution.TwoTowers, "linen", inputs.image_and_vector),
    Entry(
        "vae",
        convolution.VAE,
        "linen",
        inputs.vectors,
        {},
        ("encoder", "mean", "log_variance", "decoder", "out"),
        ("sample",),
    ),
    # Transformers.
    Entry(
        "gpt",
        transformer.GPT,
        "linen",
        inputs.tokens,
        {},
        (
            "wte",
            "wpe",
            *_block("block_0", *_BLOCK),
            *_block("block_1", *_BLOCK),
            *_block("block_2", *_BLOCK),
            "ln_f",
        ),
    ),
    Entry(
        "gpt_scanned",
        transformer.ScannedGPT,
        "linen",
        inputs.tokens,
        {},
        ("wte", "wpe", *_block("blocks", *_BLOCK), "ln_f"),
    ),
    Entry(
        "encoder_decoder",
        transformer.EncoderDecoder,
        "linen",
        inputs.token_pairs,
        {"train": True},
        (
            "embed",
            *_block("encoder", *_BLOCK),
            *_block("decoder", *_DECODER_BLOCK),
            "ln_f",
            "head",
        ),
        ("dropout",),
    ),
    Entry("vit", transformer.ViT, "linen", inputs.images),
    Entry(
        "mixture_of_experts", transformer.MixtureOfExperts, "linen", inputs.sequences
    ),
    # Time and graphs.
    Entry("lstm", recurrent.LSTM, "linen", inputs.sequences),
    Entry("state_space", recurrent.StateSpaceModel, "linen", inputs.sequences),
    Entry(
        "graph_network",
        recurrent.GraphNetwork,
        "linen",
        inputs.graph,
        {},
        ("edge_0", "node_0", "edge_1", "node_1", "readout"),
    ),
    # Control flow and custom rules.
    Entry("cond", control.Branches, "linen", inputs.vectors),
    Entry("fori_loop", control.Repeated, "linen", inputs.vectors),
    Entry(
        "while_loop",
        control.FixedPoint,
        "linen",
        inputs.vectors,
        differentiable=False,
    ),
    Entry("custom_jvp", control.CustomJVP, "linen", inputs.vectors),
    Entry("custom_vjp", control.CustomVJP, "linen", inputs.vectors),
    Entry("shard_map", control.Sharded, "linen", inputs.vectors),
    # nnx.
    Entry(
        "nnx_mlp",
        lambda: lambda rngs: modules_nnx.MLP(rngs=rngs),
        "nnx",
        inputs.vectors,
        {},
        ("first", "norm", "second", "head"),
    ),
    Entry(
        "nnx_gru",
        lambda: lambda rngs: modules_nnx.GRU(rngs=rngs),
        "nnx",
        inputs.sequences,
        {},
        ("rnn/cell/dense_i", "rnn/cell/dense_h", "head"),
    ),
    Entry(
        "nnx_transformer",
        lambda: lambda rngs: modules_nnx.Transformer(rngs=rngs),
        "nnx",
        inputs.tokens,
        {},
        ("embed", *_block("blocks/0", *_BLOCK), *_block("blocks/1", *_BLOCK), "ln_f"),
    ),
    Entry(
        "nnx_scanned",
        lambda: lambda rngs: modules_nnx.ScannedTransformer(rngs=rngs),
        "nnx",
        inputs.tokens,
        {},
        ("embed", *_block("blocks", *_BLOCK), "ln_f", "head"),
    ),
    # Neither linen nor nnx.
    Entry("plain_function", functions.plain, "functional", inputs.vectors),
    Entry("equinox", functions.equinox, "functional", inputs.vectors),
)

ZOO: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
