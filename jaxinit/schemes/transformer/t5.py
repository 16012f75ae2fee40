"""T5's initialization."""

from dataclasses import dataclass

from jaxinit._typing import Initializer
from jaxinit.initializers import normal
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import real_fans
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    TransformerScheme,
    drawn_by_part,
    gaussian,
    need_attention,
    need_one_part,
)


def t5() -> Scheme:
    r"""T5's initialization, for attention without a factor on its logits.

    With :math:`d` channels in the stream, :math:`h` heads of :math:`d_\text{kv}`
    channels and :math:`d_\text{ff}` units in the MLP, normal samples have the standard
    deviations

    ========================  ============================
    queries                   :math:`(d\,d_\text{kv})^{-1/2}`
    keys, values              :math:`d^{-1/2}`
    output of an attention    :math:`(h\,d_\text{kv})^{-1/2}`
    MLP                       :math:`d^{-1/2}`, then :math:`d_\text{ff}^{-1/2}`
    embeddings                1
    relative position biases  :math:`d^{-1/2}`
    ========================  ============================

    that is :math:`1 / \sqrt{\text{fan}_\text{in}}` except that queries carry the
    :math:`d_\text{kv}^{-1/2}` that T5's attention does not divide by: in a model that
    does (flax's attention), logits become smaller by that once more. All other
    weights, an untied readout included, have
    :math:`1 / \sqrt{\text{fan}_\text{in}}`. Biases are 0, gains of norms 1. Positions
    that are added to the stream, which T5 does not have, are drawn like embeddings.

    Returns:
      A scheme for transformers, scanned ones included.

    Raises:
      ValueError: when used, if the model has no attention inside a residual branch, or
        a projection makes queries together with keys or values, and the program does
        not tell which of its outputs are which.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.t5()

    References:
      Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
      Text-to-Text Transformer", 2020, section 2.1, and the released code.
    """
    return _T5()


@dataclass(frozen=True)
class _T5(TransformerScheme):
    @property
    def call(self) -> str:
        return "t5()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        fan_in = real_fans(layer.parameter).fan_in
        if "query" not in layer.parts:
            return gaussian(layer.parameter, fan_in**-0.5, "inside a branch")

        def law(part: str, kernel: Parameter) -> Initializer:
            return normal(_std(part, fan_in, layer))

        if layer.head_size:
            by_part = drawn_by_part(layer, law)
            if by_part is not None:
                return by_part
        need_one_part(layer, self.call, _example)
        if not layer.head_size:
            raise ValueError(
                f"t5() needs the size of the heads that {layer.parameter.name} makes, "
                "and the program multiplies no queries with keys behind it. Give it a "
                f"rule of its own: override(t5(), [({layer.parameter.name!r}, "
                "normal(stddev))])."
            )
        return gaussian(layer.parameter, _std("query", fan_in, layer), "queries")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        std = real_fans(parameter).fan_in ** -0.5
        return gaussian(parameter, std, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        widths = {stack.width for stack in blocks.stacks.values()}
        if "position" in parameter.roles and parameter.shape[-1] not in widths:
            std = max(widths) ** -0.5
            return gaussian(parameter, std, "relative position biases")
        return gaussian(parameter, 1.0, "embeddings")


def _example(part: str, layer: Layer) -> str:
    fan_in = real_fans(layer.parameter).fan_in
    return f"normal({_std(part, fan_in, layer):.6g})"


def _std(part: str, fan_in: float, layer: Layer) -> float:
    size = layer.head_size if part == "query" and layer.head_size else 1
    return float((fan_in * size) ** -0.5)
