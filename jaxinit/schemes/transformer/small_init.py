"""SmallInit, and Wang's law for branch ends on top of it."""

import math
from dataclasses import dataclass

from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import real_fans
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    TransformerScheme,
    gaussian,
    need_attention,
)


def small_init() -> Scheme:
    r"""SmallInit: every weight as if it led from the stream to the MLP.

    All weights, embeddings and positions are :math:`N(0, 2 / (5 d))` for a stream of
    :math:`d` channels, whatever their own fans. That is Glorot's law for a layer from
    :math:`d` to :math:`4 d` units. Biases are 0, gains of norms 1.

    Returns:
      A scheme for transformers, scanned ones included. Fused query, key and value
      projections need no rule of their own.

    Raises:
      ValueError: when used, if the model has no attention inside a residual branch, or
        several stacks of different width and a weight that belongs to none of them.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.small_init()

    References:
      Nguyen and Salazar, "Transformers without Tears: Improving the Normalization of
      Self-Attention", 2019, section 2.2.
    """
    return _SmallInit(wang=False)


def wang_init() -> Scheme:
    r"""SmallInit with Wang's law for the ends of branches, as in GPT-NeoX.

    As ``small_init``, but the weights that end a residual branch have a standard
    deviation of :math:`2 / (L \sqrt d)` in a stack of :math:`L` blocks and :math:`d`
    channels.

    Returns:
      A scheme for transformers, scanned ones included. Fused query, key and value
      projections need no rule of their own.

    Raises:
      ValueError: as ``small_init``.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.wang_init()

    References:
      Black et al., "GPT-NeoX-20B: An Open-Source Autoregressive Language Model", 2022,
      section 2.1. Wang and Komatsuzaki, "Mesh Transformer JAX", 2021.
    """
    return _SmallInit(wang=True)


@dataclass(frozen=True)
class _SmallInit(TransformerScheme):
    wang: bool

    @property
    def call(self) -> str:
        return "wang_init()" if self.wang else "small_init()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        stack = blocks.stack(layer)
        if self.wang and layer.is_end and stack.num_blocks:
            std = 2 / (stack.num_blocks * math.sqrt(stack.width))
            return gaussian(layer.parameter, std, "end of a branch")
        return gaussian(layer.parameter, _small(stack.width), "inside a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        fans = real_fans(parameter)
        std = _small(self._width(parameter, blocks, fans.fan_in, fans.fan_out))
        return gaussian(parameter, std, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        std = _small(self._width(parameter, blocks, parameter.shape[-1]))
        return gaussian(parameter, std, "embeddings")

    def _width(self, parameter: Parameter, blocks: Blocks, *sizes: float) -> float:
        """The width of the stack that a weight outside of branches leads to or from."""
        widths = {stack.width for stack in blocks.stacks.values() if stack.num_blocks}
        if len(widths) == 1:
            return next(iter(widths))
        near = [size for size in sizes if size in widths]
        if near:
            return near[0]
        raise ValueError(
            f"{self.call} needs the width of the stack that {parameter.name} of shape "
            f"{parameter.shape} belongs to, and the model has stacks of widths "
            f"{', '.join(map(str, sorted(widths)))}. Give it a rule of its own: "
            f"override({self.call}, [({parameter.name!r}, normal(0.02))])."
        )


def _small(width: float) -> float:
    return math.sqrt(2 / (5 * width))
