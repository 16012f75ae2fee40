"""The laws of well-known vision models."""

from dataclasses import dataclass

from jaxinit.initializers import (
    constant,
    glorot_uniform,
    lecun_normal,
    normal,
    variance_scaling,
    zeros,
)
from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network
from jaxinit.schemes.presets._of_layers import Layers, norms
from jaxinit.schemes.residual.structure import readouts
from jaxinit.schemes.scheme import Assignment, Scheme, drawn


def vit_jax(head_bias: float = 0.0) -> Scheme:
    r"""The initialization of the vision transformers written in JAX.

    Dense kernels are ``glorot_uniform()``, convolutions (the patches)
    ``lecun_normal()``, positions :math:`N(0, 0.02^2)`. Biases of the MLPs, the
    residual branches without attention, are :math:`N(0, 10^{-12})`; other biases and
    the readout's kernel are 0, and the readout's bias is ``head_bias``. Scales of
    norms are 1, their biases and class tokens 0.

    Args:
      head_bias: the readout's bias. With independent sigmoids for :math:`c` classes,
        :math:`-\log c` makes the first predictions rare events.

    Returns:
      A scheme.

    Raises:
      TypeError: if ``head_bias`` is no number.
      ValueError: if it is not finite; when used, if queries, keys and values are one
        kernel, whose parts are to be drawn apart.

    Examples:
      >>> scheme = vit_jax(head_bias=-6.9)  # 1000 classes

    References:
      Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; the laws are those of
      its code.
    """
    advice = "It is the readout's bias, such as -log(classes)."
    return _VitJax(check_number("head_bias", head_bias, advice))


def efficientnet() -> Scheme:
    r"""The initialization of EfficientNet and its relatives.

    Convolutions are :math:`N(0, 2/n)` with the fan-out :math:`n` of one group, dense
    kernels :math:`U(\pm 1/\sqrt{n})` with their fan-out. Biases are 0, scales of norms
    1 and their biases 0.

    Returns:
      A scheme. Lookup tables and all else keep what the model draws.

    Examples:
      >>> scheme = efficientnet()

    References:
      Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
      Networks", 2019; the laws are those of its code.
    """
    return _EfficientNet()


@dataclass(frozen=True)
class _VitJax(Scheme):
    head_bias: float

    def assign(self, network: Network) -> list[Assignment]:
        layers = Layers(network)
        last = readouts(network)
        found = list(norms(network).values())
        for weight in network.having("weight"):
            if "embedding" in weight.roles:
                continue
            several = len(weight.roles & {"query", "key", "value"})
            if several > 1 and len(weight.parts) < several:
                raise ValueError(
                    "vit_jax() draws queries, keys and values apart, and "
                    f"{weight.name} of shape {weight.shape} holds several, in a layout "
                    "that the program does not tell. Give it a law of its own: "
                    f"override(vit_jax(), [({weight.name!r}, "
                    "jaxinit.glorot_uniform())])."
                )
            if weight.leaf in last:
                found.append(drawn(weight, zeros, "the readout"))
            elif layers.is_convolution(weight):
                found.append(drawn(weight, lecun_normal(), "convolutions"))
            else:
                found.append(drawn(weight, glorot_uniform(), "dense kernels"))
        inside = {
            leaf
            for branch in network.structure.branches
            for number in branch.layers
            for leaf in network.event(number).params
        }
        for bias in layers.biases():
            if last & layers.kernels(bias):
                found.append(
                    drawn(bias, constant(self.head_bias), "the readout's bias")
                )
            elif bias.leaf in inside and not layers.in_attention(bias):
                found.append(drawn(bias, normal(1e-6), "biases of MLPs"))
            else:
                found.append(drawn(bias, zeros, "biases"))
        for p in network.having("position"):
            if not p.roles & {"weight", "embedding", "bias", "token"}:
                found.append(drawn(p, normal(0.02), "positions"))
        for p in network.having("token"):
            if not p.roles & {"weight", "embedding", "bias"}:
                found.append(drawn(p, zeros, "tokens"))
        return found


@dataclass(frozen=True)
class _EfficientNet(Scheme):
    def assign(self, network: Network) -> list[Assignment]:
        layers = Layers(network)
        found = list(norms(network).values())
        convolution = variance_scaling(2.0, "fan_out", "normal")
        dense = variance_scaling(1 / 3, "fan_out", "uniform")
        for weight in network.having("weight"):
            if "embedding" in weight.roles:
                continue
            if layers.is_convolution(weight):
                found.append(drawn(weight, convolution, "convolutions"))
            else:
                found.append(drawn(weight, dense, "dense kernels"))
        found += [drawn(bias, zeros, "biases") for bias in layers.biases()]
        return found
