"""T-Fixup: transformers without normalization and warm-up."""

import math
from dataclasses import dataclass

from jaxinit._typing import Initializer
from jaxinit.initializers import glorot_uniform, scale
from jaxinit.initializers._check import check_flag
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import fitted, real_fans
from jaxinit.schemes.residual.structure import warn_of_norms
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    RULES,
    TransformerScheme,
    drawn_by_part,
    gaussian,
    need_attention,
    need_one_part,
    times,
)


def t_fixup(*, reference_qk_gain: bool = False) -> Scheme:
    r"""T-Fixup.

    Every weight has Glorot's uniform law with the fans of its own projection, and
    every table of embeddings is :math:`N(0, 1/d)`. Then values, outputs of attentions
    and both layers of the MLPs are multiplied by

    - :math:`(9 N)^{-1/4}` in a decoder of :math:`N` blocks, in self- and
      cross-attention,
    - :math:`0.67\,N^{-1/4}` in an encoder of :math:`N` blocks,

    and embeddings by the decoder's :math:`(9 N)^{-1/4}`. Queries and keys stay as they
    are; biases are 0, and gains of norms, if the model has any, 1. With it a
    transformer trains without layer normalization and without warm-up: take these out
    of the model.

    A decoder is a residual stream with cross-attention. The paper treats encoder and
    decoder together; a single stack, of an encoder or of a decoder-only language
    model, gets the encoder's factor, and its embeddings :math:`(9 N)^{-1/4}` with its
    own :math:`N`. Tables of positions and class tokens are embeddings too. Of several
    encoders the deepest counts.

    Args:
      reference_qk_gain: whether queries and keys carry the factor
        :math:`1/\sqrt 2` that they have in the authors' code, from the library that
        it builds on.

    Returns:
      A scheme for transformers, scanned ones included.

    Warns:
      UserWarning: when used, if the model normalizes in or between its branches.

    Raises:
      TypeError: if ``reference_qk_gain`` is no bool.
      ValueError: when used, if the model has no attention inside a residual branch, or
        one layer makes several of queries, keys and values, and the program does not
        tell which of its outputs are which.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.t_fixup()

    References:
      Huang, Perez, Ba and Volkovs, "Improving Transformer Optimization Through Better
      Initialization", 2020, section 3.2.
    """
    return _TFixup(check_flag("reference_qk_gain", reference_qk_gain))


def decoder_factor(num_blocks: int) -> float:
    """What scales the decoder and the embeddings."""
    return float((9 * num_blocks) ** -0.25)


def encoder_factor(num_blocks: int) -> float:
    """What scales the encoder."""
    return float(0.67 * num_blocks**-0.25)


@dataclass(frozen=True)
class _TFixup(TransformerScheme):
    reference_qk_gain: bool

    @property
    def call(self) -> str:
        return f"t_fixup({'reference_qk_gain=True' if self.reference_qk_gain else ''})"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        warn_of_norms(network, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        def law(part: str, kernel: Parameter) -> Initializer:
            factor = self._factor(part, layer, blocks)
            return fitted(scale(glorot_uniform(), factor), kernel)

        by_part = drawn_by_part(layer, law)
        if by_part is not None:
            return by_part

        def example(part: str, layer: Layer) -> str:
            fan_in, fan_out = real_fans(layer.parameter)
            std = math.sqrt(2 / (fan_in + fan_out / len(layer.parts)))
            bound = math.sqrt(3) * std * self._factor(part, layer, blocks)
            return f"symmetric_uniform({bound:.6g})"

        part = need_one_part(layer, self.call, example)
        factor = self._factor(part, layer, blocks)
        return times(layer.parameter, glorot_uniform(), factor, RULES[part])

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return times(parameter, glorot_uniform(), 1.0, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        depth = blocks.num_blocks(cross=True) or blocks.num_blocks(cross=False)
        std = decoder_factor(depth) / math.sqrt(parameter.shape[-1])
        return gaussian(parameter, std, "embeddings")

    def _factor(self, part: str, layer: Layer, blocks: Blocks) -> float:
        if part == "lead":
            return 1.0
        if part in ("query", "key"):
            return math.sqrt(0.5) if self.reference_qk_gain else 1.0
        cross = blocks.stack(layer).cross
        depth = blocks.num_blocks(cross=cross)
        if not blocks.stack(layer).num_blocks:
            return 1.0
        return decoder_factor(depth) if cross else encoder_factor(depth)
