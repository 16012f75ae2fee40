"""What is left of a program once everything its outputs do not need is dropped."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxinit.program import versions
from jaxinit.program.program import CALLS, Node, Operand, Region


@dataclass(frozen=True, eq=False)
class Live:
    """An equation of a `Block`.

    Attributes:
      equation: the equation. Of a loop or a branch, ``operands`` and ``results`` are
        the live ones alone, and ``blocks`` replaces the bodies.
      operands: what it reads.
      results: the numbers of the values that it makes.
      blocks: its bodies: of ``scan`` one; of ``while`` condition and body; of ``cond``
        the branches.
      avals: what the results look like: shape and dtype.
      counts: how many of the operands are constants and how many are carried
        (``scan``), or constants of the condition and of the body (``while``).
    """

    equation: versions.Equation
    operands: tuple[Operand, ...]
    results: tuple[int, ...]
    avals: tuple[Any, ...]
    blocks: tuple["Block", ...] = ()
    counts: tuple[int, int] = (0, 0)

    @property
    def primitive(self) -> str:
        return str(self.equation.primitive.name)


@dataclass(frozen=True, eq=False)
class Block:
    """A program as a list of nodes: calls are inlined, dead equations are gone."""

    inputs: tuple[int, ...]
    nodes: tuple[Live, ...]
    outputs: tuple[Operand, ...]


def prune(program: Region) -> Block:
    """``program`` with its calls inlined, and without what no output needs.

    Loops and branches are pruned inside: a carry, a scanned output or an operand that
    nothing reads is dropped as well. The block computes the values of the program, not
    its side effects, and is not meant to be differentiated.

    Returns:
      A block with the inputs and outputs of ``program``.
    """
    return _prune(program, [True] * len(program.outputs))[0]


def reached(block: Block, seeds: Sequence[bool]) -> tuple[set[int], list[bool]]:
    """The values of ``block`` that depend on any of the inputs marked in ``seeds``.

    Args:
      block: the block.
      seeds: one mark for each input.

    Returns:
      The numbers of the values of the block itself, and one mark for each output.
    """
    found = {value for value, mark in zip(block.inputs, seeds, strict=True) if mark}
    for node in block.nodes:
        marks = [operand in found for operand in node.operands]
        found.update(itertools.compress(node.results, _reached_results(node, marks)))
    return found, [operand in found for operand in block.outputs]


def body_marks(node: Live, marks: Sequence[bool]) -> list[list[bool]]:
    """Which inputs of each body of ``node`` depend on its marked operands, ever."""
    first, second = node.counts
    if node.primitive == "scan":
        held = list(marks)
        while True:
            _, out = reached(node.blocks[0], held)
            carry = [a or b for a, b in zip(held[first:], out[:second], strict=False)]
            if carry == held[first : first + second]:
                return [held]
            held[first : first + second] = carry
    if node.primitive == "while":
        condition, body = marks[:first], marks[first : first + second]
        carry = list(marks[first + second :])
        while True:
            _, out = reached(node.blocks[1], [*body, *carry])
            grown = [a or b for a, b in zip(carry, out, strict=True)]
            if grown == carry:
                return [[*condition, *carry], [*body, *carry]]
            carry = grown
    return [list(marks[1:]) for _ in node.blocks]


def _reached_results(node: Live, marks: list[bool]) -> list[bool]:
    if not node.blocks:
        return [any(marks)] * len(node.results)
    outs = [
        reached(block, body)[1]
        for block, body in zip(node.blocks, body_marks(node, marks), strict=True)
    ]
    if node.primitive == "scan":
        return outs[0]
    if node.primitive == "while":  # a loop's length is part of what it computes
        return [any(outs[0]) or mark for mark in outs[1]]
    return [marks[0] or any(column) for column in zip(*outs, strict=True)]


def _prune(region: Region, wanted: Sequence[bool]) -> tuple[Block, list[bool]]:
    """The live part of a region, and which of its inputs are live.

    The block has all the inputs, and those of the outputs that are marked.
    """
    same: dict[int, Operand] = {}
    flat = list(_inlined(region, same))
    outputs = tuple(
        _made_as(same, value)
        for value in itertools.compress(region.outputs, wanted)
        if value is not None
    )
    live = {value for value in outputs if isinstance(value, int)}
    nodes = []
    for node in reversed(flat):
        marks = [value in live for value in node.results]
        if any(marks):
            kept = _live(node, [_made_as(same, v) for v in node.operands], marks)
            live.update(value for value in kept.operands if isinstance(value, int))
            nodes.append(kept)
    block = Block(region.inputs, tuple(reversed(nodes)), outputs)
    return block, [value in live for value in region.inputs]


def _inlined(region: Region, same: dict[int, Operand]) -> Iterator[Node]:
    """The nodes of a region and of what it calls; ``same`` says what is one value."""
    for node in region.nodes:
        if node.kind not in CALLS:
            yield node
            continue
        (body,) = node.bodies
        same.update(zip(body.inputs, node.operands, strict=True))
        yield from _inlined(body, same)
        for result, value in zip(node.results, body.outputs, strict=True):
            if value is not None:
                same[result] = value


def _made_as(same: dict[int, Operand], value: Operand) -> Operand:
    """The value that another stands for, through all calls."""
    while isinstance(value, int) and value in same:
        value = same[value]
    return value


def _live(node: Node, operands: list[Operand], wanted: list[bool]) -> Live:
    # A branch chosen by platform cannot be written again with public functions.
    by_platform = node.equation.params.get("branches_platforms") is not None
    match node.kind:
        case "scan":
            return _live_scan(node, operands, wanted)
        case "while":
            return _live_while(node, operands, wanted)
        case "cond" if not by_platform:
            return _live_cond(node, operands, wanted)
    avals = _avals(node)
    return Live(node.equation, tuple(operands), node.results, avals)


def _live_scan(node: Node, operands: list[Operand], wanted: list[bool]) -> Live:
    scan = versions.scan_parts(node.equation)
    start, stop = scan.num_consts, scan.num_consts + scan.num_carry
    live = list(wanted)
    while True:
        block, used = _prune(node.bodies[0], live)
        carry = live[: scan.num_carry]
        kept = [a or b for a, b in zip(carry, used[start:stop], strict=True)]
        if kept == carry:
            break
        live[: scan.num_carry] = kept
    keep = [*used[:start], *kept, *used[stop:]]
    return Live(
        node.equation,
        tuple(itertools.compress(operands, keep)),
        tuple(itertools.compress(node.results, live)),
        tuple(itertools.compress(_avals(node), live)),
        (_keep(block, keep),),
        (sum(keep[:start]), sum(kept)),
    )


def _live_while(node: Node, operands: list[Operand], wanted: list[bool]) -> Live:
    loop = versions.while_parts(node.equation)
    first, second = loop.num_condition_consts, loop.num_body_consts
    condition, asked = _prune(node.bodies[1], [True])
    live = [a or b for a, b in zip(wanted, asked[first:], strict=True)]
    while True:
        body, used = _prune(node.bodies[0], live)
        kept = [a or b for a, b in zip(live, used[second:], strict=True)]
        if kept == live:
            break
        live = kept
    keep = [*asked[:first], *used[:second], *live]
    return Live(
        node.equation,
        tuple(itertools.compress(operands, keep)),
        tuple(itertools.compress(node.results, live)),
        tuple(itertools.compress(_avals(node), live)),
        (
            _keep(condition, [*asked[:first], *live]),
            _keep(body, [*used[:second], *live]),
        ),
        (sum(asked[:first]), sum(used[:second])),
    )


def _live_cond(node: Node, operands: list[Operand], wanted: list[bool]) -> Live:
    pruned = [_prune(branch, wanted) for branch in node.bodies]
    keep = [any(column) for column in zip(*(used for _, used in pruned), strict=True)]
    return Live(
        node.equation,
        (operands[0], *itertools.compress(operands[1:], keep)),
        tuple(itertools.compress(node.results, wanted)),
        tuple(itertools.compress(_avals(node), wanted)),
        tuple(_keep(block, keep) for block, _ in pruned),
    )


def _avals(node: Node) -> tuple[Any, ...]:
    return tuple(var.aval for var in node.equation.outvars)


def _keep(block: Block, keep: Sequence[bool]) -> Block:
    return replace(block, inputs=tuple(itertools.compress(block.inputs, keep)))
