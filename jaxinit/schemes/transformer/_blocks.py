"""A network read as a transformer: its stacks of blocks and the parts of each."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.roles.blocks import number_blocks
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import Attention, Branch
from jaxinit.schemes.fitted import real_fans
from jaxinit.schemes.transformer._head_size import HeadSizes

PROJECTIONS = ("query", "key", "value")


class Layer(NamedTuple):
    """A weight inside a residual branch.

    Attributes:
      parameter: the weight.
      parts: what it is there: ``"query"``, ``"key"``, ``"value"``,
        ``"attention_output"``, the ``"end"`` of another branch, a layer that
        ``"lead"``s up to projections of low rank, or an ``"inner"`` layer of an MLP.
        Several for a fused projection.
      stream: the residual stream that its branch is added to.
      blocks: which block of the stream it is in, from 0, for each stacked layer. A
        weight that several blocks share is in the first of them.
      head_size: for one that makes queries, over how many channels they are
        multiplied with keys; 0 where no such product is found.
    """

    parameter: Parameter
    parts: frozenset[str]
    stream: int
    blocks: np.ndarray
    head_size: int = 0

    @property
    def is_end(self) -> bool:
        return bool(self.parts & {"end", "attention_output"})


class Stack(NamedTuple):
    """The blocks of one residual stream.

    Attributes:
      num_blocks: how many there are; 0 for a stream without attention.
      num_ends: how many layers end a branch, which is what is added to the stream.
        An attention and an MLP that are added together are two.
      cross: whether it has cross-attention, as decoders have.
      width: the number of channels of the stream.
    """

    num_blocks: int
    num_ends: int
    cross: bool
    width: int


class Blocks(NamedTuple):
    """What a transformer scheme needs to know of a network.

    Attributes:
      layers: the weights inside residual branches, by leaf.
      stacks: by stream.
    """

    layers: Mapping[int, Layer]
    stacks: Mapping[int, Stack]

    @property
    def width(self) -> int:
        """That of the deepest stream."""
        return max(self.stacks.values(), key=lambda stack: stack.num_ends).width

    def stack(self, layer: Layer) -> Stack:
        return self.stacks[layer.stream]

    def num_blocks(self, *, cross: bool) -> int:
        """Blocks of the deepest stack with cross-attention, or without; 0 if none."""
        depths = [s.num_blocks for s in self.stacks.values() if s.cross == cross]
        return max(depths, default=0)


def read_blocks(network: Network) -> Blocks:
    """Reads a network as stacks of blocks, for a scheme that needs them.

    Each residual stream is a stack by itself. A new block begins with what mixes
    positions (an attention, a recurrence, a convolution) after what does not.

    Args:
      network: the network.

    Returns:
      Its stacks; none of them has blocks if the network has no attention.
    """
    structure = network.structure
    found = number_blocks(network.anchors, structure.branches, structure.attentions)
    stacks: dict[int, Stack] = {}
    layers: dict[int, Layer] = {}
    sizes = HeadSizes(network)
    for branch, mine, here, where in zip(structure.branches, *found[:3], strict=True):
        stream = branch.stream
        old = stacks.get(stream, Stack(found.counts.get(stream, 0), 0, False, 0))
        stacks[stream] = old._replace(
            num_ends=old.num_ends + branch.numbers.size * _num_ends(branch, here),
            cross=old.cross or any(a.cross for a in here),
            width=old.width or _width(network, branch),
        )
        _layers_of(network, branch._replace(layers=mine), here, where, layers, sizes)
    return Blocks(layers, stacks)


def _num_ends(branch: Branch, attentions: Sequence[Attention]) -> int:
    """2 for a sum of an attention and something else, else 1."""
    outputs = frozenset[int]().union(*(a.output for a in attentions))
    return len({end in outputs for end in branch.ends}) or 1


def _width(network: Network, branch: Branch) -> int:
    """Channels of the stream: the axes of the sum that a branch's end varies along."""
    shape = network.event(branch.join).shape
    for number in branch.ends:
        end = network.event(number)
        if len(end.shape) == len(shape):
            return math.prod(shape[axis] for axis in end.channels)
        for use in end.uses:
            return int(real_fans(network.params[use.leaf]).fan_out)
    return shape[-1] if shape else 1


def _layers_of(
    network: Network,
    branch: Branch,
    attentions: Sequence[Attention],
    blocks: np.ndarray,
    layers: dict[int, Layer],
    sizes: HeadSizes,
) -> None:
    """Adds the weights of a branch to ``layers``."""
    for number in branch.layers:
        parts = _parts(network, number, branch, attentions)
        for use in network.event(number).uses:
            parameter = network.params[use.leaf]
            old = layers.get(use.leaf)
            if old is None:
                at = _along(parameter, blocks)
                size = sizes.of(number) if "query" in parts else 0
                layers[use.leaf] = Layer(parameter, parts, branch.stream, at, size)
            else:
                layers[use.leaf] = old._replace(parts=old.parts | parts)


def _parts(
    network: Network, number: int, branch: Branch, attentions: Sequence[Attention]
) -> frozenset[str]:
    parts = {
        name
        for attention in attentions
        for name, events in (
            *zip(PROJECTIONS, attention[:3], strict=True),
            ("attention_output", attention.output),
        )
        if number in events
    }
    if parts:
        return frozenset(parts)
    if number in branch.ends:
        return frozenset({"end"})
    projections = frozenset[int]().union(*(e for a in attentions for e in a[:3]))
    reached, todo = set[int](), [number]
    while todo:
        above = todo.pop()
        below = [n for n in branch.layers if above in network.event(n).parents]
        todo += [n for n in below if n not in reached]
        reached.update(below)
    return frozenset({"lead" if projections & reached else "inner"})


def _along(parameter: Parameter, blocks: np.ndarray) -> np.ndarray:
    """The numbers of blocks for the loops that slice a parameter.

    Of the loops around a branch, those that leave the parameter as it is show it to
    all their layers, of which the first counts.
    """
    kept: list[int] = []
    for length in parameter.layers:
        start = kept[-1] + 1 if kept else 0
        axis = next(
            (a for a in range(start, blocks.ndim) if blocks.shape[a] == length), None
        )
        if axis is not None:
            kept.append(axis)
    if len(kept) < len(parameter.layers):  # a scan elsewhere slices it
        kept = []
    rest = tuple(a for a in range(blocks.ndim) if a not in kept)
    first: np.ndarray = blocks.min(axis=rest) if rest else blocks
    return first
