"""Kernels of real Flax layers have the standard deviation of their real fans.

Where a layer flattens or fuses its kernel, the row shows the recipe that is right.
"""

import math
from collections.abc import Callable

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
    orthogonal,
    stacked,
    variance_scaling,
    zeros,
)
from tests.initializers.checks import assert_moments, assert_orthogonal
from tests.initializers.member import Member
from tests.initializers.table import MEMBERS

KEY = jax.random.key(3)
EMBEDDING = variance_scaling(1.0, "fan_in", "normal", out_axis=0)
# `batch_dims` of total size 16 are folded into the inputs that the initializer sees.
BATCHED = variance_scaling(16.0, "fan_in", "truncated_normal")


def linen(module: nn.Module, shape: tuple[int, ...], *path: str) -> Callable:
    """A function that initializes the module and returns one parameter."""

    def build() -> jax.Array:
        dtype = jnp.int32 if isinstance(module, nn.Embed) else jnp.float32
        leaf = module.init(KEY, jnp.zeros(shape, dtype))["params"]
        for name in path:
            leaf = leaf[name]
        return leaf

    return build


def cell(module: nn.RNNCellBase, shape: tuple[int, ...], *path: str) -> Callable:
    """As above for a recurrent cell."""

    def build() -> jax.Array:
        x = jnp.zeros(shape)
        leaf = module.init(KEY, module.initialize_carry(KEY, shape), x)["params"]
        for name in path:
            leaf = leaf[name]
        return leaf

    return build


def of_nnx(make: Callable, get: Callable) -> Callable:
    """A function that makes the module and returns one parameter."""

    def build() -> jax.Array:
        return get(make(nnx.Rngs(3)))[...]

    return build


ATTENTION = nn.MultiHeadDotProductAttention(8, kernel_init=lecun_normal())
HEADS = {"in_features": (4, 16), "out_features": (8, 16), "axis": (-2, -1)}
QUERY = "BTD,DNH->BTNH"


# What is built, the fan-in that it really has, and the shape that it stores.
@pytest.mark.parametrize(
    ("build", "fan_in", "shape"),
    [
        pytest.param(
            linen(nn.Dense(128, kernel_init=lecun_normal()), (1, 64), "kernel"),
            64,
            (64, 128),
            id="linen.Dense",
        ),
        pytest.param(
            linen(
                nn.Conv(64, (3, 3), kernel_init=lecun_normal()), (1, 4, 4, 16), "kernel"
            ),
            144,
            (3, 3, 16, 64),
            id="linen.Conv",
        ),
        pytest.param(
            linen(
                nn.Conv(64, (3, 3), feature_group_count=4, kernel_init=lecun_normal()),
                (1, 4, 4, 16),
                "kernel",
            ),
            36,
            (3, 3, 4, 64),
            id="linen.Conv grouped",
        ),
        pytest.param(
            linen(
                nn.ConvTranspose(
                    32, (4, 4), strides=(2, 2), kernel_init=lecun_normal(stride=2)
                ),
                (1, 4, 4, 16),
                "kernel",
            ),
            64,
            (4, 4, 16, 32),
            id="linen.ConvTranspose",
        ),
        pytest.param(
            linen(
                nn.ConvTranspose(
                    32,
                    (4, 4),
                    strides=(2, 2),
                    transpose_kernel=True,
                    kernel_init=lecun_normal(transpose=True, stride=2),
                ),
                (1, 4, 4, 16),
                "kernel",
            ),
            64,
            (4, 4, 32, 16),
            id="linen.ConvTranspose transpose_kernel",
        ),
        pytest.param(
            linen(
                nn.DenseGeneral((8, 16), axis=(-2, -1), kernel_init=lecun_normal()),
                (1, 4, 16),
                "kernel",
            ),
            64,
            (4, 16, 8, 16),
            id="linen.DenseGeneral",
        ),
        pytest.param(
            linen(
                nn.DenseGeneral(32, axis=-1, batch_dims=(0,), kernel_init=BATCHED),
                (16, 2, 24),
                "kernel",
            ),
            24,
            (16, 24, 32),
            id="linen.DenseGeneral batch_dims",
        ),
        pytest.param(
            linen(ATTENTION, (1, 2, 64), "query", "kernel"),
            64,
            (64, 8, 8),
            id="linen.MultiHeadDotProductAttention query",
        ),
        pytest.param(
            linen(ATTENTION, (1, 2, 64), "out", "kernel"),
            64,
            (8, 8, 64),
            id="linen.MultiHeadDotProductAttention out",
        ),
        pytest.param(
            linen(nn.Embed(96, 64, embedding_init=EMBEDDING), (1,), "embedding"),
            64,
            (96, 64),
            id="linen.Embed",
        ),
        pytest.param(
            linen(
                nn.Einsum(
                    (64, 8, 16),
                    QUERY,
                    use_bias=False,
                    kernel_init=from_einsum(QUERY, lecun_normal()),
                ),
                (1, 2, 64),
                "kernel",
            ),
            64,
            (64, 8, 16),
            id="linen.Einsum",
        ),
        pytest.param(
            cell(nn.LSTMCell(64, kernel_init=lecun_normal()), (1, 48), "ii", "kernel"),
            48,
            (48, 64),
            id="linen.LSTMCell",
        ),
        pytest.param(
            cell(nn.GRUCell(64, kernel_init=lecun_normal()), (1, 48), "ir", "kernel"),
            48,
            (48, 64),
            id="linen.GRUCell",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.Linear(64, 128, kernel_init=lecun_normal(), rngs=rngs),
                lambda m: m.kernel,
            ),
            64,
            (64, 128),
            id="nnx.Linear",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.Conv(
                    16,
                    64,
                    (3, 3),
                    feature_group_count=4,
                    kernel_init=lecun_normal(),
                    rngs=rngs,
                ),
                lambda m: m.kernel,
            ),
            36,
            (3, 3, 4, 64),
            id="nnx.Conv grouped",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.ConvTranspose(
                    16,
                    32,
                    (4, 4),
                    strides=(2, 2),
                    transpose_kernel=True,
                    kernel_init=lecun_normal(transpose=True, stride=2),
                    rngs=rngs,
                ),
                lambda m: m.kernel,
            ),
            64,
            (4, 4, 32, 16),
            id="nnx.ConvTranspose transpose_kernel",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.LinearGeneral(
                    (4, 16),
                    (8, 16),
                    axis=(-2, -1),
                    kernel_init=lecun_normal(),
                    rngs=rngs,
                ),
                lambda m: m.kernel,
            ),
            64,
            (4, 16, 8, 16),
            id="nnx.LinearGeneral",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.LinearGeneral(
                    24, 32, batch_axis={0: 16}, kernel_init=BATCHED, rngs=rngs
                ),
                lambda m: m.kernel,
            ),
            24,
            (16, 24, 32),
            id="nnx.LinearGeneral batch_axis",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.MultiHeadAttention(
                    8, 64, decode=False, kernel_init=lecun_normal(), rngs=rngs
                ),
                lambda m: m.query.kernel,
            ),
            64,
            (64, 8, 8),
            id="nnx.MultiHeadAttention query",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.Embed(96, 64, embedding_init=EMBEDDING, rngs=rngs),
                lambda m: m.embedding,
            ),
            64,
            (96, 64),
            id="nnx.Embed",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.Einsum(
                    QUERY,
                    (64, 8, 16),
                    kernel_init=lecun_normal(in_axis=0, out_axis=(1, 2)),
                    rngs=rngs,
                ),
                lambda m: m.kernel,
            ),
            64,
            (64, 8, 16),
            id="nnx.Einsum",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.LoRA(
                    64, 16, 128, a_initializer=lecun_normal(), rngs=rngs
                ),
                lambda m: m.lora_a,
            ),
            64,
            (64, 16),
            id="nnx.LoRA A",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.LSTMCell(
                    48, 64, kernel_init=lecun_normal(), rngs=rngs
                ),
                lambda m: m.ii.kernel,
            ),
            48,
            (48, 64),
            id="nnx.LSTMCell",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.OptimizedLSTMCell(
                    48, 64, kernel_init=blocked(glorot_normal(), 4), rngs=rngs
                ),
                lambda m: m.dense_i.kernel,
            ),
            (48 + 64) / 2,
            (48, 256),
            id="nnx.OptimizedLSTMCell",
        ),
        pytest.param(
            of_nnx(
                lambda rngs: nnx.GRUCell(
                    48, 64, kernel_init=blocked(glorot_normal(), 3), rngs=rngs
                ),
                lambda m: m.dense_i.kernel,
            ),
            (48 + 64) / 2,
            (48, 192),
            id="nnx.GRUCell",
        ),
        pytest.param(
            lambda: stacked(lecun_normal())(KEY, (6, 64, 32)),
            64,
            (6, 64, 32),
            id="layers stacked by hand",
        ),
    ],
)
def test_the_real_fan(build, fan_in, shape):
    kernel = build()

    assert kernel.shape == shape
    assert_moments(kernel, mean=0.0, std=1 / math.sqrt(fan_in), kurtosis=3.0)


def test_fused_gates_are_orthogonal_one_by_one():
    rngs = nnx.Rngs(3)
    recurrent = {"recurrent_kernel_init": blocked(orthogonal(), 4), "rngs": rngs}
    lstm = nnx.OptimizedLSTMCell(16, 24, **recurrent)

    gates = jnp.split(lstm.dense_h.kernel[...], 4, axis=1)

    assert_orthogonal(jnp.stack(gates))
    # Drawn whole, the blocks are not orthogonal: the check would notice.
    whole = orthogonal()(KEY, (24, 96))
    with pytest.raises(AssertionError, match="allowed"):
        assert_orthogonal(jnp.stack(jnp.split(whole, 4, axis=1)))


def test_linen_gates_are_orthogonal():
    kernel = cell(
        nn.GRUCell(24, recurrent_kernel_init=orthogonal()), (1, 16), "hn", "kernel"
    )()

    assert_orthogonal(kernel)


def test_the_second_factor_of_lora_is_zero():
    lora = nnx.LoRA(16, 4, 24, b_initializer=zeros, rngs=nnx.Rngs(0))

    assert (lora.lora_b[...] == 0).all()


# Abstract evaluation calls the initializer just as the layer does, without compiling.
def shapes_of(init, layers: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the kernels of all layers that the initializer can serve."""
    conv = {"linen.Conv": nn.Conv(24, (3, 3), kernel_init=init)}
    dense = {
        "linen.Dense": nn.Dense(24, kernel_init=init),
        "linen.DenseGeneral": nn.DenseGeneral((4, 6), kernel_init=init),
        "linen.MultiHeadDotProductAttention": nn.MultiHeadDotProductAttention(
            4, kernel_init=init
        ),
        "linen.Dense partitioned": nn.Dense(
            24, kernel_init=nn.with_partitioning(init, ("in", "out"))
        ),
        "linen.Dense in bfloat16": nn.Dense(
            24, kernel_init=init, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16
        ),
    }
    modules = conv if layers == "convolution" else dense
    modules = {**dense, **conv} if layers == "any" else modules
    shapes = {}
    for name, module in modules.items():
        x = jnp.zeros((2, 5, 5, 16))
        out = jax.eval_shape(module.init, KEY, x)
        shapes[name] = jax.tree.map(lambda leaf: leaf.shape, out["params"])
    if layers != "convolution":
        linear = nnx.eval_shape(
            lambda: nnx.Linear(16, 24, kernel_init=init, rngs=nnx.Rngs(0))
        )
        shapes["nnx.Linear"] = linear.kernel.shape
        embed = nnx.eval_shape(
            lambda: nnx.Embed(24, 16, embedding_init=init, rngs=nnx.Rngs(0))
        )
        shapes["nnx.Embed"] = embed.embedding.shape
    return shapes


@pytest.mark.parametrize(
    "member",
    [pytest.param(m, id=m.name) for m in MEMBERS if m.layers != "none"],
)
def test_every_initializer_serves_flax_layers(member: Member):
    shapes = shapes_of(member.init, member.layers)

    if member.layers != "convolution":
        assert shapes["nnx.Linear"] == shapes["linen.Dense"]["kernel"] == (16, 24)
        assert shapes["nnx.Embed"] == (24, 16)
    if member.layers != "matrix":
        assert shapes["linen.Conv"]["kernel"] == (3, 3, 16, 24)
