"""The laws of OLMo 2, and of Llama as OLMo's code and torchtitan have it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    Factor,
    TransformerScheme,
    gaussian,
    need_attention,
)

# The truncation that all laws of OLMo's code have, in standard deviations.
_CUT = 3.0

Depth = Literal["none", "total", "index"]


def olmo2(stddev: float = 0.02) -> Scheme:
    r"""OLMo 2's initialization: one truncated normal law for all.

    Every weight and every table is :math:`N(0, \sigma^2)`, cut at :math:`3\sigma` and
    not scaled up for it; nothing depends on depth or width. Biases are 0, gains of
    norms 1.

    Args:
      stddev: :math:`\sigma`, before truncation.

    Returns:
      A scheme for transformers.

    Raises:
      TypeError: if ``stddev`` is no number.
      ValueError: if it is not positive; when used, if the model has no attention
        inside a residual branch.

    Examples:
      >>> scheme = olmo2()

    References:
      Team OLMo et al., "2 OLMo 2 Furious", 2024, section 3.2; ``InitMethod.normal`` of
      OLMo-core.
    """
    return _Olmo("olmo2()", _std(stddev), "none")


def llama(stddev: float = 0.02) -> Scheme:
    r"""Llama's initialization as its reproductions have it, by the number of blocks.

    ==========================================  ================================
    tables of embeddings                        :math:`N(0, 1)`
    queries, keys, values, a gated MLP's gate   :math:`\sigma`
    ends of branches, a gated MLP's other half  :math:`\sigma / \sqrt{2L}`
    readout                                     :math:`1 / \sqrt d`
    ==========================================  ================================

    All but the first are normal laws of this deviation, cut at three of them and not
    scaled up for it; :math:`L` is the number of blocks and :math:`d` the width of the
    stream. Without a gate, the first layer of an MLP has :math:`\sigma`. Biases are 0,
    gains of norms 1.

    Args:
      stddev: :math:`\sigma`, before truncation.

    Returns:
      A scheme for transformers.

    Raises:
      TypeError: if ``stddev`` is no number.
      ValueError: if it is not positive; when used, if the model has no attention
        inside a residual branch.

    Examples:
      >>> scheme = llama()

    References:
      ``InitMethod.llama`` of OLMo-core, which has it from torchtitan's Llama 3. Meta
      has not published the initialization of Llama itself.
    """
    return _Olmo("llama()", _std(stddev), "total")


def llama_depth(stddev: float = 0.02) -> Scheme:
    r"""Llama's initialization with the number of blocks so far in place of all.

    As ``llama``, with :math:`\sigma / \sqrt{2(l + 1)}` in block :math:`l = 0, 1,
    \dots` of its stream.

    Args:
      stddev: :math:`\sigma`, before truncation.

    Returns:
      A scheme for transformers.

    Raises:
      TypeError: if ``stddev`` is no number.
      ValueError: as ``llama``.

    Examples:
      >>> scheme = llama_depth()

    References:
      ``InitMethod.llama_depth`` of OLMo-core; torchtitan's Llama 3.
    """
    return _Olmo("llama_depth()", _std(stddev), "index")


@dataclass(frozen=True)
class _Olmo(TransformerScheme):
    written: str
    stddev: float
    depth: Depth

    @property
    def call(self) -> str:
        return self.written

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks if self.depth == "none" else _with_other_halves(network, blocks)

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        stack = blocks.stack(layer)
        if not (layer.is_end or "other half" in layer.parts):
            return self._drawn(layer.parameter, self.stddev, "inside a branch")
        factor: Factor = 1.0
        if self.depth == "total" and stack.num_blocks:
            factor = 1 / math.sqrt(2 * stack.num_blocks)
        elif self.depth == "index":
            factor = 1 / np.sqrt(2.0 * (layer.blocks + 1))
        rule = "end of a branch" if layer.is_end else "other half of a gated MLP"
        return self._drawn(layer.parameter, self.stddev * factor, rule)

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        if self.depth != "none" and "readout" in parameter.roles:
            std = 1 / math.sqrt(blocks.width)
            return self._drawn(parameter, std, "the readout")
        return self._drawn(parameter, self.stddev, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        if self.depth != "none" and "embedding" in parameter.roles:
            return gaussian(parameter, 1.0, "embeddings")
        return self._drawn(parameter, self.stddev, "embeddings")

    def _drawn(self, parameter: Parameter, std: Factor, rule: str) -> Assignment:
        return gaussian(parameter, std, rule, cut=_CUT)


def _with_other_halves(network: Network, blocks: Blocks) -> Blocks:
    """The blocks, in which what a gate multiplies is told apart from the gate."""
    gates, others = set[int](), set[int]()
    for branch in network.structure.branches:
        inner = [
            (network.event(number), use.leaf)
            for number in branch.layers
            for use in network.event(number).uses
            if use.leaf in blocks.layers
            and blocks.layers[use.leaf].parts == frozenset({"inner"})
        ]
        if any(event.activation for event, _ in inner):
            others |= {leaf for event, leaf in inner if not event.activation}
        gates |= {leaf for event, leaf in inner if event.activation}
    layers = dict(blocks.layers)
    for leaf in others - gates:
        layers[leaf] = layers[leaf]._replace(parts=frozenset({"other half"}))
    return blocks._replace(layers=layers)


def _std(stddev: float) -> float:
    return check_number("stddev", stddev, "It is that of the weights; 0.02.", low=0)
