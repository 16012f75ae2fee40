"""Models of dense layers, in linen."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
    """Dense layers with an activation in between."""

    widths: Sequence[int] = (16, 16, 8)
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(self.widths):
            if i:
                x = nn.relu(x)
            x = nn.Dense(width, dtype=self.dtype, param_dtype=self.param_dtype)(x)
        return x


class ThreeCalls(nn.Module):
    """One dense layer, called three times."""

    @nn.compact
    def __call__(self, x):
        shared = nn.Dense(16, name="shared")
        for _ in range(3):
            x = nn.tanh(shared(x))
        return nn.Dense(8, name="head")(x)


class Lora(nn.Module):
    """A dense layer with a low-rank correction beside it."""

    features: int
    rank: int = 2

    @nn.compact
    def __call__(self, x):
        down = self.param("down", nn.initializers.he_uniform(), (16, self.rank))
        up = self.param("up", nn.initializers.normal(0.02), (self.rank, self.features))
        return nn.Dense(self.features, name="base")(x) + x @ down @ up


class LoraMLP(nn.Module):
    """Two dense layers, each with a low-rank correction; data meets Lora_1 first."""

    @nn.compact
    def __call__(self, x):
        return Lora(8)(nn.gelu(Lora(16)(x)))


class Heads(nn.Module):
    """Attention written with DenseGeneral and einsum."""

    heads: int = 2

    @nn.compact
    def __call__(self, x):
        size = x.shape[-1] // self.heads
        q = nn.DenseGeneral((self.heads, size), name="q")(x)
        k = nn.DenseGeneral((self.heads, size), name="k")(x)
        v = nn.DenseGeneral((self.heads, size), name="v")(x)
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / size**0.5
        x = jnp.einsum("bhts,bshd->bthd", nn.softmax(scores), v)
        return nn.DenseGeneral(self.heads * size, axis=(-2, -1), name="out")(x)


class Ensemble(nn.Module):
    """Three MLPs with weights of their own, mapped over."""

    @nn.compact
    def __call__(self, x):
        members = nn.vmap(
            MLP,
            in_axes=None,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            axis_size=3,
        )
        return members(name="members")(x).mean(axis=0)


class Outputs(nn.Module):
    """Returns a dict that holds a tuple, integers and a None."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(x))
        logits = nn.Dense(8)(x)
        return {
            "logits": logits,
            "aux": (None, x.mean(axis=-1)),
            "label": jnp.argmax(logits, axis=-1),
        }


class Noise(nn.Module):
    """Adds noise from a random stream that the user named."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16)(x)
        x = x + 0.1 * jax.random.normal(self.make_rng("noise"), x.shape, x.dtype)
        return nn.Dense(8)(nn.relu(x))


class Partitioned(nn.Module):
    """Kernels in boxes that say how they are sharded."""

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.lecun_normal()
        x = nn.Dense(16, kernel_init=nn.with_partitioning(init, (None, "model")))(x)
        x = nn.relu(x)
        return nn.Dense(8, kernel_init=nn.with_partitioning(init, ("model", None)))(x)


class WeightNorm(nn.Module):
    """A kernel that is a function of two parameters."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.WeightNorm(nn.Dense(16))(x))
        return nn.Dense(8)(x)
