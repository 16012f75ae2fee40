"""Blocks: what a residual stream passes, counted from its start.

A block mixes positions and then works on each of them: an attention, recurrence or
convolution over time, then an MLP.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.program.flow import CARRY, Node
from jaxinit.program.paths import Path
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.attention import Attention
from jaxinit.roles.branches import Branch


class Numbering(NamedTuple):
    """In which block of its stream each branch is.

    Attributes:
      layers: for each branch, its layers that are in no smaller one. A skip around a
        group of blocks makes a branch with branches in it.
      attentions: for each branch, the attentions that these layers make.
      blocks: for each branch its block, from 0, for each stacked layer.
      counts: by stream, how many blocks it has; 0 for a stream without attention.
    """

    layers: tuple[tuple[int, ...], ...]
    attentions: tuple[tuple[Attention, ...], ...]
    blocks: tuple[np.ndarray, ...]
    counts: dict[int, int]


class _Block:
    """What the current block of a stream has passed.

    Attributes:
      number: its number, -1 before the first.
      mixers: the branches that mix positions.
      attends: whether self-attention is among them.
      closed: whether a branch that mixes none came after them.
    """

    def __init__(self) -> None:
        self.number = -1
        self.mixers = set[int]()
        self.attends = self.closed = False

    def passes(self, branch: int, *, mixes: bool, attends: bool) -> None:
        """Goes on by a branch, to the next block if it begins one.

        A mixing branch does, if a branch that mixes nothing came before it, if the
        block has had the same branch, or a second self-attention.
        """
        begins = mixes and (
            not self.mixers
            or self.closed
            or branch in self.mixers
            or (attends and self.attends)
        )
        if begins:
            self.number += 1
            self.mixers.clear()
            self.attends = self.closed = False
        if mixes:
            self.mixers.add(branch)
            self.attends |= attends
        elif self.mixers:
            self.closed = True


def number_blocks(
    anchors: Anchors, branches: Sequence[Branch], attentions: Sequence[Attention]
) -> Numbering:
    """Numbers the blocks of each stream in the order in which it passes them.

    Branches in front of the first mixing one belong to the first block. What follows a
    self-attention, such as cross-attention or a convolution, is in its block.

    Args:
      anchors: the program's events.
      branches: its residual branches.
      attentions: its attentions.
    """
    layers = _own_layers(branches)
    made: dict[int, list[int]] = {}
    for which, attention in enumerate(attentions):
        for number in attention.query | attention.output:
            made.setdefault(number, []).append(which)
    own = tuple(
        tuple(attentions[i] for i in sorted({i for n in ours for i in made.get(n, ())}))
        for ours in layers
    )
    joins = frozenset(branch.join for branch in branches)
    mixes = [
        bool(attended) or _mixes(anchors, branch, joins)
        for branch, attended in zip(branches, own, strict=True)
    ]
    blocks = tuple(np.zeros_like(branch.numbers) for branch in branches)
    current: dict[int, _Block] = {}
    for number, index in _in_order(branches):
        block = current.setdefault(branches[number].stream, _Block())
        attends = any(not a.cross for a in own[number])
        block.passes(number, mixes=mixes[number], attends=attends)
        blocks[number][index] = max(block.number, 0)
    attending = {b.stream for b, a in zip(branches, own, strict=True) if a}
    counts = {s: b.number + 1 for s, b in current.items() if s in attending}
    return Numbering(layers, own, blocks, counts)


def _own_layers(branches: Sequence[Branch]) -> tuple[tuple[int, ...], ...]:
    home: dict[int, int] = {}
    for index in sorted(range(len(branches)), key=lambda i: len(branches[i].layers)):
        for number in branches[index].layers:
            home.setdefault(number, index)
    return tuple(
        tuple(n for n in branch.layers if home[n] == index)
        for index, branch in enumerate(branches)
    )


def _in_order(
    branches: Sequence[Branch],
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each layer of each branch in the order of execution."""
    runs = [
        (int(position), number, index)
        for number, branch in enumerate(branches)
        for index, position in np.ndenumerate(branch.numbers)
    ]
    for _, number, index in sorted(runs):
        yield number, index


def _mixes(anchors: Anchors, branch: Branch, joins: frozenset[int]) -> bool:
    """Whether a branch carries something from one position to another.

    It does in a loop over time, in a convolution of several taps, and by shifts and
    sums along an axis other than channels. Attentions are known already.
    """
    flow = anchors.flow
    event = anchors.events[branch.join]
    assert event.shortcut is not None
    start = flow.nodes[anchors.nodes[branch.join]].operands[1 - event.shortcut]
    skip = flow.nodes[anchors.nodes[branch.join]].operands[event.shortcut]
    layers = {loop.path for loop in event.loops if loop.kind == "layers"}

    def on(node: Node, position: int) -> bool:
        index = flow.values[node.results[0]].maker
        operand = node.operands[position]
        stream = index is not None and anchors.joins.get(index) in joins
        around = node.primitive == CARRY and node.loops[-1] in layers
        return flow.data[operand] and operand != skip and not stream and not around

    return any(
        anchors.joins.get(index) not in joins and _moves(anchors, index, layers)
        for index in flow.upstream([start], on)
    )


_RUNS = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "fft"})


def _moves(anchors: Anchors, index: int, layers: set[Path]) -> bool:
    """Whether a node moves data along an axis other than the channels."""
    flow = anchors.flow
    node = flow.nodes[index]
    name = node.primitive
    if name == CARRY:
        return node.loops[-1] not in layers
    if name == "conv_general_dilated":
        spec = node.params["dimension_numbers"]
        kernel = flow.values[node.operands[1]].shape
        return any(kernel[axis] > 1 for axis in spec.rhs_spec[2:])
    if name == "dot_general" and index in anchors.weights:
        (left, right), _ = node.params["dimension_numbers"]
        return any(
            flow.data[value] and len(flow.values[value].shape) - 1 not in axes
            for value, axes in zip(node.operands, (left, right), strict=True)
            if len(flow.values[value].shape) > 2
        )
    rank = len(flow.values[node.results[0]].shape)
    if name in _RUNS:
        return node.params.get("axis", rank - 1) != rank - 1 or name == "fft"
    if name in ("pad", "concatenate") and rank > 2:
        if name == "concatenate":
            return bool(node.params["dimension"] != rank - 1)
        config = node.params["padding_config"]
        return any(low > 0 or high > 0 for low, high, _ in config[1:-1])
    return False
