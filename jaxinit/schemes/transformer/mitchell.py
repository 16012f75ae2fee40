"""OLMo's initialization: fan-in laws, branch ends scaled by depth."""

import math
from dataclasses import dataclass

import numpy as np

from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import real_fans
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    Factor,
    TransformerScheme,
    gaussian,
    need_attention,
)


def mitchell() -> Scheme:
    r"""OLMo's initialization, named after Mitchell Wortsman.

    With :math:`d` channels in the stream, :math:`d_\text{ff}` units in the MLP and
    blocks :math:`l = 0, 1, \dots`, the standard deviations before truncation are

    ==============================  ==========================================
    input layers of a block         :math:`1 / \sqrt d`
    output of an attention          :math:`1 / \sqrt{2 d (l + 1)}`
    last layer of an MLP            :math:`1 / \sqrt{2 d_\text{ff} (l + 1)}`
    embeddings, positions, readout  :math:`1 / \sqrt d`
    ==============================  ==========================================

    Samples are normal, cut at three of these. As in the reference the law is not
    scaled up for it, so that samples have 0.98657839 times these standard deviations.
    Biases are 0, gains of norms 1. Layers whose input is not the stream (a patch
    projection, keys and values of an encoder's output) have theirs in place of
    :math:`d`.

    A new block begins with each self-attention. Where blocks share a weight, the
    first of them counts.

    Returns:
      A scheme for transformers, scanned ones included. Fused query, key and value
      projections need no rule of their own.

    Raises:
      ValueError: when used, if the model has no attention inside a residual branch.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.mitchell()

    References:
      Groeneveld et al., "OLMo: Accelerating the Science of Language Models", 2024,
      appendix A, and the released code.
    """
    return _Mitchell()


@dataclass(frozen=True)
class _Mitchell(TransformerScheme):
    @property
    def call(self) -> str:
        return "mitchell()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        stack = blocks.stack(layer)
        inputs = real_fans(layer.parameter).fan_in
        if not layer.is_end or not stack.num_blocks:
            return self._drawn(layer.parameter, inputs, "inside a branch")
        if "attention_output" in layer.parts:
            inputs = stack.width
        size = 2.0 * inputs * (layer.blocks + 1)
        return self._drawn(layer.parameter, size, "end of a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        inputs = real_fans(parameter).fan_in
        return self._drawn(parameter, inputs, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return self._drawn(parameter, parameter.shape[-1], "embeddings")

    def _drawn(self, parameter: Parameter, size: Factor, rule: str) -> Assignment:
        std = 1 / np.sqrt(size) if isinstance(size, np.ndarray) else math.sqrt(1 / size)
        return gaussian(parameter, std, rule, cut=3.0)
