"""Every row of the table serves as the initializer of Flax layers."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.initializers import Initializer
from tests.initializers.member import Member
from tests.initializers.table import MEMBERS

KEY = jax.random.key(3)
# What each layer stores: the same in linen and nnx, under the names of either.
MATRICES = {
    "linen.Dense": (16, 24),
    "linen.Dense in bfloat16": (16, 24),
    "linen.Dense partitioned": (16, 24),
    "linen.DenseGeneral": (16, 4, 6),
    "linen.MultiHeadDotProductAttention query": (16, 4, 4),
    "linen.MultiHeadDotProductAttention out": (4, 4, 16),
    "linen.LSTMCell": (16, 24),
    "nnx.Linear": (16, 24),
    "nnx.LinearGeneral": (16, 4, 6),
    "nnx.MultiHeadAttention query": (16, 4, 4),
    "nnx.MultiHeadAttention out": (4, 4, 16),
    "nnx.Einsum": (16, 24),
    "nnx.Embed": (24, 16),
    "nnx.LoRA": (16, 4),
}
CONVOLUTIONS = {"linen.Conv": (3, 3, 16, 24), "nnx.Conv": (3, 3, 16, 24)}


def matrices(init: Initializer) -> dict[str, jax.Array]:
    """The kernels of layers that hand the initializer a matrix."""
    x, rngs = jnp.zeros((2, 5, 16)), nnx.Rngs(0)
    low = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}

    def kernel(module: nn.Module) -> jax.Array:
        return module.init(KEY, x)["params"]["kernel"]

    attention = nn.MultiHeadDotProductAttention(4, kernel_init=init)
    heads = attention.init(KEY, x)["params"]
    cell = nn.LSTMCell(24, kernel_init=init)
    gates = cell.init(KEY, cell.initialize_carry(KEY, (2, 16)), x[:, 0])["params"]
    boxed = nn.with_partitioning(init, ("in", "out"))
    nnx_heads = nnx.MultiHeadAttention(4, 16, kernel_init=init, decode=False, rngs=rngs)
    return {
        "linen.Dense": kernel(nn.Dense(24, kernel_init=init)),
        "linen.Dense in bfloat16": kernel(nn.Dense(24, kernel_init=init, **low)),
        "linen.Dense partitioned": kernel(nn.Dense(24, kernel_init=boxed)).value,
        "linen.DenseGeneral": kernel(nn.DenseGeneral((4, 6), kernel_init=init)),
        "linen.MultiHeadDotProductAttention query": heads["query"]["kernel"],
        "linen.MultiHeadDotProductAttention out": heads["out"]["kernel"],
        "linen.LSTMCell": gates["ii"]["kernel"],
        "nnx.Linear": nnx.Linear(16, 24, kernel_init=init, rngs=rngs).kernel[...],
        "nnx.LinearGeneral": nnx.LinearGeneral(
            16, (4, 6), kernel_init=init, rngs=rngs
        ).kernel[...],
        "nnx.MultiHeadAttention query": nnx_heads.query.kernel[...],
        "nnx.MultiHeadAttention out": nnx_heads.out.kernel[...],
        "nnx.Einsum": nnx.Einsum(
            "BD,DF->BF", (16, 24), kernel_init=init, rngs=rngs
        ).kernel[...],
        "nnx.Embed": nnx.Embed(24, 16, embedding_init=init, rngs=rngs).embedding[...],
        "nnx.LoRA": nnx.LoRA(16, 4, 24, a_initializer=init, rngs=rngs).lora_a[...],
    }


def convolutions(init: Initializer) -> dict[str, jax.Array]:
    """The kernels of layers that hand the initializer a convolution."""
    x, rngs = jnp.zeros((2, 5, 5, 16)), nnx.Rngs(0)
    conv = nn.Conv(24, (3, 3), kernel_init=init)
    return {
        "linen.Conv": conv.init(KEY, x)["params"]["kernel"],
        "nnx.Conv": nnx.Conv(16, 24, (3, 3), kernel_init=init, rngs=rngs).kernel[...],
    }


def members(*layers: str) -> list[object]:
    return [pytest.param(m, id=m.name) for m in MEMBERS if m.layers in layers]


# Abstract evaluation calls the initializer just as the layer does, without compiling.
@pytest.mark.parametrize("member", members("any", "matrix"))
def test_matrices(member: Member):
    kernels = jax.eval_shape(lambda: matrices(member.init))

    assert {name: kernel.shape for name, kernel in kernels.items()} == MATRICES
    assert kernels["linen.Dense in bfloat16"].dtype == jnp.bfloat16


@pytest.mark.parametrize("member", members("any", "convolution"))
def test_convolutions(member: Member):
    kernels = jax.eval_shape(lambda: convolutions(member.init))

    assert {name: kernel.shape for name, kernel in kernels.items()} == CONVOLUTIONS
