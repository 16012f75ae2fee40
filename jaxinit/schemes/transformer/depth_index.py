"""Branch ends scaled by the depth at which they are: BEiT's initialization."""

from dataclasses import dataclass

import numpy as np

from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_initializer
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    TransformerScheme,
    gaussian,
    need_attention,
    times,
)


def depth_index(base: Initializer | None = None) -> Scheme:
    r"""Branch ends divided by the square root of how many branches came before.

    Every weight is drawn with ``base``. The weights that end a residual branch (the
    output projection of an attention, the last layer of an MLP) are then divided by
    :math:`\sqrt{2 (l + 1)}` in block :math:`l = 0, 1, \dots` of their stream, so that
    each block adds the less the more is there already. Biases are 0, gains of norms 1,
    embeddings, positions and class tokens :math:`N(0, 0.02^2)`.

    A new block begins with each attention, or recurrence or convolution over
    positions, behind an MLP. Where blocks share a weight, the
    first of them counts.

    Args:
      base: what weights are drawn with, with their real fans; by default
        ``normal(0.02)``.

    Returns:
      A scheme for transformers, scanned ones included.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: when used, if the model has no attention inside a residual branch.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.depth_index(jaxinit.glorot_uniform())

    References:
      Bao, Dong, Piao and Wei, "BEiT: BERT Pre-Training of Image Transformers", 2021,
      section 2.5. Zhang, Titov and Sennrich, "Improving Deep Transformer with
      Depth-Scaled Initialization and Merged Attention", 2019, section 4, scale all
      weights of a block so.
    """
    if base is not None:
        check_initializer("base", base)
    return _DepthIndex(base)


@dataclass(frozen=True)
class _DepthIndex(TransformerScheme):
    base: Initializer | None

    @property
    def call(self) -> str:
        return "depth_index()" if self.base is None else "depth_index(base)"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        if not layer.is_end or not blocks.stack(layer).num_blocks:
            return self._drawn(layer.parameter, np.ones(()), "inside a branch")
        factor = 1 / np.sqrt(2.0 * (layer.blocks + 1))
        return self._drawn(layer.parameter, factor, "end of a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return self._drawn(parameter, np.ones(()), "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return gaussian(parameter, 0.02, "embeddings")

    def _drawn(self, parameter: Parameter, factor: np.ndarray, rule: str) -> Assignment:
        if self.base is None:
            return gaussian(parameter, 0.02 * factor, rule)
        return times(parameter, self.base, factor, rule)
