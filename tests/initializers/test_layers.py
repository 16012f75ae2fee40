"""Kernels of real Flax layers have the standard deviation of their real fans.

Where a layer flattens or fuses its kernel, the row shows the recipe that is right.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.initializers import (
    blocked,
    from_einsum,
    glorot_normal,
    lecun_normal,
    stacked,
    variance_scaling,
    zeros,
)
from tests.initializers.checks import assert_moments

KEY = jax.random.key(3)
EMBEDDING = variance_scaling(1.0, "fan_in", "normal", out_axis=0)
# `batch_dims` of total size 16 are folded into the inputs that the initializer sees.
BATCHED = variance_scaling(16.0, "fan_in", "truncated_normal")
QUERY = "BTD,DNH->BTNH"
LECUN = {"kernel_init": lecun_normal()}
TRANSPOSED = {"strides": (2, 2), "kernel_init": lecun_normal(stride=2)}
FLIPPED = {
    "strides": (2, 2),
    "transpose_kernel": True,
    "kernel_init": lecun_normal(transpose=True, stride=2),
}


def at(params: Any, path: str) -> jax.Array:
    """The parameter at a path such as "query/kernel"."""
    for name in path.split("/"):
        params = params[name]
    return params


def linen(module: nn.Module, shape: tuple[int, ...], path: str = "kernel") -> Callable:
    """A function that initializes the module and returns one parameter."""

    def build() -> jax.Array:
        dtype = jnp.int32 if isinstance(module, nn.Embed) else jnp.float32
        return at(module.init(KEY, jnp.zeros(shape, dtype))["params"], path)

    return build


def cell(module: nn.RNNCellBase, path: str) -> Callable:
    """As above for a recurrent cell with 48 inputs."""

    def build() -> jax.Array:
        carry = module.initialize_carry(KEY, (1, 48))
        return at(module.init(KEY, carry, jnp.zeros((1, 48)))["params"], path)

    return build


def of_nnx(make: Callable, *args: Any, path: str = "kernel", **kwargs: Any) -> Callable:
    """A function that makes the module and returns one parameter."""

    def build() -> jax.Array:
        module = make(*args, **kwargs, rngs=nnx.Rngs(3))
        for name in path.split("/"):
            module = getattr(module, name)
        return module[...]

    return build


ATTENTION = nn.MultiHeadDotProductAttention(8, **LECUN)
NNX_ATTENTION = {"num_heads": 8, "in_features": 64, "decode": False, **LECUN}

# What is built, the fan-in that it really has, and the shape that it stores.
LINEN = {
    "Dense": (linen(nn.Dense(128, **LECUN), (1, 64)), 64, (64, 128)),
    "Conv": (linen(nn.Conv(64, (3, 3), **LECUN), (1, 4, 4, 16)), 144, (3, 3, 16, 64)),
    "Conv grouped": (
        linen(nn.Conv(64, (3, 3), feature_group_count=4, **LECUN), (1, 4, 4, 16)),
        36,
        (3, 3, 4, 64),
    ),
    "Conv depthwise": (
        linen(nn.Conv(64, (3, 3), feature_group_count=64, **LECUN), (1, 4, 4, 64)),
        9,
        (3, 3, 1, 64),
    ),
    "ConvTranspose": (
        linen(nn.ConvTranspose(32, (4, 4), **TRANSPOSED), (1, 4, 4, 16)),
        64,
        (4, 4, 16, 32),
    ),
    "ConvTranspose transpose_kernel": (
        linen(nn.ConvTranspose(32, (4, 4), **FLIPPED), (1, 4, 4, 16)),
        64,
        (4, 4, 32, 16),
    ),
    "DenseGeneral": (
        linen(nn.DenseGeneral((8, 16), axis=(-2, -1), **LECUN), (1, 4, 16)),
        64,
        (4, 16, 8, 16),
    ),
    "DenseGeneral batch_dims": (
        linen(nn.DenseGeneral(32, batch_dims=(0,), kernel_init=BATCHED), (16, 2, 24)),
        24,
        (16, 24, 32),
    ),
    "MultiHeadDotProductAttention query": (
        linen(ATTENTION, (1, 2, 64), "query/kernel"),
        64,
        (64, 8, 8),
    ),
    "MultiHeadDotProductAttention out": (
        linen(ATTENTION, (1, 2, 64), "out/kernel"),
        64,
        (8, 8, 64),
    ),
    "Embed": (
        linen(nn.Embed(96, 64, embedding_init=EMBEDDING), (1,), "embedding"),
        64,
        (96, 64),
    ),
    "Einsum": (
        linen(
            nn.Einsum(
                (64, 8, 16),
                QUERY,
                use_bias=False,
                kernel_init=from_einsum(QUERY, lecun_normal()),
            ),
            (1, 2, 64),
        ),
        64,
        (64, 8, 16),
    ),
    "LSTMCell": (cell(nn.LSTMCell(64, **LECUN), "ii/kernel"), 48, (48, 64)),
    "OptimizedLSTMCell": (
        cell(nn.OptimizedLSTMCell(64, **LECUN), "ig/kernel"),
        48,
        (48, 64),
    ),
    "GRUCell": (cell(nn.GRUCell(64, **LECUN), "ir/kernel"), 48, (48, 64)),
}
NNX = {
    "Linear": (of_nnx(nnx.Linear, 64, 128, **LECUN), 64, (64, 128)),
    "Conv": (of_nnx(nnx.Conv, 16, 64, (3, 3), **LECUN), 144, (3, 3, 16, 64)),
    "Conv grouped": (
        of_nnx(nnx.Conv, 16, 64, (3, 3), feature_group_count=4, **LECUN),
        36,
        (3, 3, 4, 64),
    ),
    "ConvTranspose": (
        of_nnx(nnx.ConvTranspose, 16, 32, (4, 4), **TRANSPOSED),
        64,
        (4, 4, 16, 32),
    ),
    "ConvTranspose transpose_kernel": (
        of_nnx(nnx.ConvTranspose, 16, 32, (4, 4), **FLIPPED),
        64,
        (4, 4, 32, 16),
    ),
    "LinearGeneral": (
        of_nnx(nnx.LinearGeneral, (4, 16), (8, 16), axis=(-2, -1), **LECUN),
        64,
        (4, 16, 8, 16),
    ),
    "LinearGeneral batch_axis": (
        of_nnx(nnx.LinearGeneral, 24, 32, batch_axis={0: 16}, kernel_init=BATCHED),
        24,
        (16, 24, 32),
    ),
    "MultiHeadAttention query": (
        of_nnx(nnx.MultiHeadAttention, **NNX_ATTENTION, path="query/kernel"),
        64,
        (64, 8, 8),
    ),
    "MultiHeadAttention out": (
        of_nnx(nnx.MultiHeadAttention, **NNX_ATTENTION, path="out/kernel"),
        64,
        (8, 8, 64),
    ),
    "Embed": (
        of_nnx(nnx.Embed, 96, 64, embedding_init=EMBEDDING, path="embedding"),
        64,
        (96, 64),
    ),
    "Einsum": (
        of_nnx(
            nnx.Einsum,
            QUERY,
            (64, 8, 16),
            kernel_init=lecun_normal(in_axis=0, out_axis=(1, 2)),
        ),
        64,
        (64, 8, 16),
    ),
    "LoRA A": (
        of_nnx(nnx.LoRA, 64, 16, 128, a_initializer=lecun_normal(), path="lora_a"),
        64,
        (64, 16),
    ),
    "LSTMCell": (
        of_nnx(nnx.LSTMCell, 48, 64, **LECUN, path="ii/kernel"),
        48,
        (48, 64),
    ),
    "OptimizedLSTMCell": (
        of_nnx(
            nnx.OptimizedLSTMCell,
            48,
            64,
            kernel_init=blocked(glorot_normal(), 4),
            path="dense_i/kernel",
        ),
        (48 + 64) / 2,
        (48, 256),
    ),
    "GRUCell": (
        of_nnx(
            nnx.GRUCell,
            48,
            64,
            kernel_init=blocked(glorot_normal(), 3),
            path="dense_i/kernel",
        ),
        (48 + 64) / 2,
        (48, 192),
    ),
    "layers stacked by hand": (
        lambda: stacked(lecun_normal())(KEY, (6, 64, 32)),
        64,
        (6, 64, 32),
    ),
}


@pytest.mark.parametrize(
    ("build", "fan_in", "shape"),
    [
        pytest.param(*row, id=f"{api}.{name}")
        for api, rows in [("linen", LINEN), ("nnx", NNX)]
        for name, row in rows.items()
    ],
)
def test_the_real_fan(build, fan_in, shape):
    kernel = build()

    assert kernel.shape == shape
    assert_moments(kernel, mean=0.0, std=1 / math.sqrt(fan_in), kurtosis=3.0)


def test_the_second_factor_of_lora_is_zero():
    lora = nnx.LoRA(16, 4, 24, b_initializer=zeros, rngs=nnx.Rngs(0))

    assert (lora.lora_b[...] == 0).all()
