"""The laws of nGPT and nanochat."""

import math
from dataclasses import dataclass

from jaxinit.initializers import symmetric_uniform, zeros
from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Scheme, drawn
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    TransformerScheme,
    gaussian,
    need_attention,
)


def ngpt() -> Scheme:
    r"""nGPT's initialization: all weights of the size of a unit vector's entries.

    With the width :math:`d` of the stream every weight and every table is
    :math:`N(0, 1/d)`, and weights that end a branch :math:`N(0, 1/(2 L d))` for
    :math:`L` blocks. Scales (:math:`\alpha`, :math:`s_{qk}`, ...) keep what the model
    draws. nGPT normalizes its matrices along the width, once before training and then
    after each step; do so after this, whereupon the deviations do not matter.

    Returns:
      A scheme for transformers.

    Raises:
      ValueError: when used, if the model has no attention inside a residual branch.

    Examples:
      >>> scheme = ngpt()

    References:
      Loshchilov et al., "nGPT: Normalized Transformer with Representation Learning on
      the Hypersphere", 2024; the laws are those of its code.
    """
    return _NGpt()


def nanochat(embedding: float = 1.0, mlp: float = 1.0) -> Scheme:
    r"""nanochat's initialization: uniform inside, nothing out of a branch yet.

    ======================================  ==========================================
    tables of embeddings                    :math:`N(0, \text{embedding}^2)`
    queries, keys, values                   :math:`U(\pm\sqrt{3/d})`, std 1/sqrt(d)
    first layers of MLPs                    the same, times ``mlp``
    ends of branches                        0
    readout                                 :math:`N(0, 0.001^2)`
    ======================================  ==========================================

    :math:`d` is the width of the stream. The network begins as its embeddings and an
    almost uniform prediction. Biases are 0, gains of norms 1.

    Args:
      embedding: the deviation of embeddings; 1.0 at first, 0.8 in later versions.
      mlp: the factor of first layers of MLPs; 1.0 at first, 0.4 in later versions.

    Returns:
      A scheme for transformers.

    Raises:
      TypeError: if an argument is no number.
      ValueError: if one is not positive; when used, if the model has no attention
        inside a residual branch, or its readout is a table of embeddings.

    Examples:
      >>> scheme = nanochat(embedding=0.8, mlp=0.4)

    References:
      Karpathy, "nanochat", 2025, ``GPT.init_weights``.
    """
    advice = "nanochat has 1.0 or 0.8, and 1.0 or 0.4."
    return _NanoChat(
        check_number("embedding", embedding, advice, low=0),
        check_number("mlp", mlp, advice, low=0),
    )


@dataclass(frozen=True)
class _NGpt(TransformerScheme):
    @property
    def call(self) -> str:
        return "ngpt()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        stack = blocks.stack(layer)
        std = 1 / math.sqrt(stack.width)
        if not (layer.is_end and stack.num_blocks):
            return gaussian(layer.parameter, std, "inside a branch")
        std /= math.sqrt(2 * stack.num_blocks)
        return gaussian(layer.parameter, std, "end of a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        std = 1 / math.sqrt(blocks.width)
        return gaussian(parameter, std, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return gaussian(parameter, 1 / math.sqrt(blocks.width), "embeddings")


@dataclass(frozen=True)
class _NanoChat(TransformerScheme):
    embedding: float
    mlp: float

    @property
    def call(self) -> str:
        return "nanochat()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        tied = [p.name for p in network.having("readout") if "embedding" in p.roles]
        if tied:
            raise ValueError(
                f"nanochat() draws embeddings and readout by laws of their own, and "
                f"{tied[0]} is both. Untie them."
            )
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        if layer.is_end:
            return drawn(layer.parameter, zeros, "end of a branch")
        factor = self.mlp if "inner" in layer.parts else 1.0
        bound = factor * math.sqrt(3 / blocks.stack(layer).width)
        return drawn(layer.parameter, symmetric_uniform(bound), "inside a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        if "readout" in parameter.roles:
            return gaussian(parameter, 0.001, "the readout")
        bound = math.sqrt(3 / blocks.width)
        return drawn(parameter, symmetric_uniform(bound), "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return gaussian(parameter, self.embedding, "embeddings")
