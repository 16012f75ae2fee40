"""The workloads of the suite, in flax, in full and in quick sizes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from examples import gpt, resnet


class MLP(nn.Module):
    """Dense layers with tanh."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = nn.tanh(nn.Dense(self.width)(x))
        return x


class ConvNet(nn.Module):
    """Convolutions of 3x3 with BatchNorm and ReLU, and a linear readout."""

    depth: int
    features: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = nn.Conv(self.features, (3, 3))(x)
            x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.Dense(10)(x.mean(axis=(1, 2)))


class GPT(nn.Module):
    """The blocks of ``examples.gpt`` in a Python loop, or scanned."""

    depth: int
    width: int
    length: int
    scanned: bool = False

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(256, self.width)
        x = embed(tokens) + nn.Embed(self.length, self.width)(jnp.arange(self.length))
        if self.scanned:
            collections = ("params", "perturbations", "intermediates")
            x, _ = nn.scan(
                lambda block, x, _: (block(x), None),
                variable_axes=dict.fromkeys(collections, 0),
                split_rngs={"params": True},
                length=self.depth,
            )(gpt.Block(4, name="blocks"), x, None)
        else:
            for _ in range(self.depth):
                x = gpt.Block(4)(x)
        return embed.attend(nn.LayerNorm()(x))


class ViTBlock(nn.Module):
    """A pre-LN block with attention in both directions."""

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
        h = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)))
        return x + nn.Dense(width)(h)


class ViT(nn.Module):
    """Patches of 4x4 as tokens, learned places, the mean of all as the readout."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (4, 4), (4, 4))(x)
        x = x.reshape(x.shape[0], -1, self.width)
        x = x + self.param("places", nn.initializers.normal(0.02), x.shape[1:])
        for _ in range(self.depth):
            x = ViTBlock()(x)
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=1))


class LSTM(nn.Module):
    """An LSTM over time, read out at the last step."""

    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.RNN(nn.OptimizedLSTMCell(self.width))(x)[:, -1])


@dataclass(frozen=True)
class Workload:
    """A model to time.

    Attributes:
      title: for tables, with the sizes as fields.
      model: makes it from the sizes.
      inputs: makes its inputs likewise, once the backend is up.
      full: the sizes.
      quick: those that change in a quick run.
      kwargs: keyword arguments of the model.
      most: the most seeds on a CPU, where 512 of the others would take an hour.
    """

    title: str
    model: Callable[..., nn.Module]
    inputs: Callable[..., jax.Array]
    full: dict[str, int]
    quick: dict[str, int]
    kwargs: dict[str, Any] = field(default_factory=dict)
    most: int = 64

    def sizes(self, quick: bool) -> dict[str, int]:
        return self.full | (self.quick if quick else {})

    def made(self, sizes: dict[str, int]) -> tuple[nn.Module, jax.Array]:
        model = {name: size for name, size in sizes.items() if name not in _OF_INPUTS}
        return self.model(**model), jax.block_until_ready(self.inputs(**sizes))


_OF_INPUTS = ("batch", "time")


def _resnet(features: int, blocks: int) -> nn.Module:
    return resnet.ResNet((blocks,) * 4, features)


def _vectors(batch: int, width: int, **_: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (batch, width))


def _images(batch: int, **_: int) -> jax.Array:
    return resnet.inputs(batch)


def _tokens(batch: int, length: int, **_: int) -> jax.Array:
    return jnp.resize(gpt.inputs(), (batch, length))


def _series(batch: int, time: int, **_: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (batch, time, 16))


_TRANSFORMER = {"depth": 12, "width": 128, "length": 128, "batch": 8}
_SMALL = {"depth": 3, "width": 32, "length": 32, "batch": 2}
_GPT = "GPT, {depth} {} x {width}, batch {batch} x {length}"
_looped = partial(Workload, _GPT.replace("{}", "blocks"), GPT, _tokens)

WORKLOADS: dict[str, Workload] = {
    "mlp": Workload(
        "MLP, {depth} x {width} tanh, batch {batch}",
        MLP,
        _vectors,
        {"depth": 50, "width": 256, "batch": 64},
        {"depth": 12, "width": 64, "batch": 16},
        most=512,
    ),
    "convnet": Workload(
        "convnet, {depth} x {features} features, 32x32, batch {batch}",
        ConvNet,
        _images,
        {"depth": 14, "features": 16, "batch": 16},
        {"depth": 4, "features": 8, "batch": 4},
        most=512,
    ),
    "gpt-12": _looped(_TRANSFORMER, _SMALL),
    "gpt-48": _looped(_TRANSFORMER | {"depth": 48}, _SMALL | {"depth": 6}, most=8),
    "gpt-48-scanned": Workload(
        _GPT.replace("{}", "scanned blocks"),
        partial(GPT, scanned=True),
        _tokens,
        _TRANSFORMER | {"depth": 48},
        _SMALL | {"depth": 6},
        most=8,
    ),
    "resnet-18": Workload(
        "ResNet of 4 x {blocks} blocks, 32x32, {features} features, batch {batch}",
        _resnet,
        _images,
        {"features": 64, "blocks": 2, "batch": 8},
        {"features": 8, "blocks": 1, "batch": 2},
        {"train": True},
    ),
    "vit": Workload(
        "ViT, {depth} blocks x {width}, 64 patches, batch {batch}",
        ViT,
        _images,
        {"depth": 12, "width": 192, "batch": 8},
        {"depth": 3, "width": 32, "batch": 2},
    ),
    "lstm": Workload(
        "LSTM, {time} steps x {width}, batch {batch}",
        LSTM,
        _series,
        {"width": 256, "time": 64, "batch": 16},
        {"width": 32, "batch": 4},
        most=512,
    ),
}
