"""What is left of a program once everything its outputs do not need is dropped."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxinit.program import versions

_INLINED = versions.TRANSPARENT_CALLS | versions.REMAT_CALLS | versions.CUSTOM_RULES


@dataclass(frozen=True, eq=False)
class Constant:
    """An operand that no equation computes: a literal or a constant of the program."""

    value: Any


Operand = int | Constant


@dataclass(frozen=True, eq=False)
class Node:
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
    nodes: tuple[Node, ...]
    outputs: tuple[Operand, ...]


def prune(program: versions.Program) -> Block:
    """``program`` without the equations that none of its outputs needs.

    Calls (``jit``, ``checkpoint``, functions with derivative rules of their own) are
    opened, and loops and branches are pruned inside: a carry, a scanned output or an
    operand that nothing reads is dropped as well. The block computes the values of
    the program, not its side effects, and is not meant to be differentiated.

    Args:
      program: the program.

    Returns:
      A block with the inputs and outputs of ``program``.
    """
    return _prune(program, [True] * len(program.jaxpr.outvars), itertools.count())[0]


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


def body_marks(node: Node, marks: Sequence[bool]) -> list[list[bool]]:
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


def _reached_results(node: Node, marks: list[bool]) -> list[bool]:
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


def _prune(
    program: versions.Program, live_outputs: Sequence[bool], fresh: Iterator[int]
) -> tuple[Block, list[bool]]:
    """The live part of a program, and which of its inputs are live.

    The block has all the inputs, and those of the outputs that are marked.
    """
    inputs = tuple(next(fresh) for _ in program.jaxpr.invars)
    flat: list[tuple[versions.Equation, list[Operand], list[int]]] = []
    results = _inline(program, inputs, flat, fresh)
    outputs = tuple(itertools.compress(results, live_outputs))
    live = {value for value in outputs if isinstance(value, int)}
    nodes = []
    for equation, operands, values in reversed(flat):
        wanted = [value in live for value in values]
        if any(wanted):
            node = _live_node(equation, operands, values, wanted, fresh)
            live.update(value for value in node.operands if isinstance(value, int))
            nodes.append(node)
    block = Block(inputs, tuple(reversed(nodes)), outputs)
    return block, [value in live for value in inputs]


def _inline(
    program: versions.Program,
    operands: Sequence[Operand],
    flat: list[tuple[versions.Equation, list[Operand], list[int]]],
    fresh: Iterator[int],
) -> list[Operand]:
    """Appends the equations of ``program`` and of what it calls to ``flat``."""
    jaxpr = program.jaxpr
    constants = map(Constant, program.consts)
    env: dict[Any, Operand] = dict(zip(jaxpr.constvars, constants, strict=True))
    env.update(zip(jaxpr.invars, operands, strict=True))

    def read(atom: Any) -> Operand:
        return Constant(atom.val) if isinstance(atom, versions.Literal) else env[atom]

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        called = None
        if equation.primitive.name in _INLINED:
            called = versions.called_program(equation)
        results: list[Any]
        if called is not None:
            results = _inline(called, values, flat, fresh)
        else:
            results = [next(fresh) for _ in equation.outvars]
            flat.append((equation, values, results))
        env.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _live_node(
    equation: versions.Equation,
    operands: list[Operand],
    results: list[int],
    wanted: list[bool],
    fresh: Iterator[int],
) -> Node:
    name = equation.primitive.name
    if name == "scan":
        return _live_scan(equation, operands, results, wanted, fresh)
    if name == "while":
        return _live_while(equation, operands, results, wanted, fresh)
    # A branch chosen by platform cannot be written again with public functions.
    by_platform = equation.params.get("branches_platforms") is not None
    if name == "cond" and not by_platform:
        return _live_cond(equation, operands, results, wanted, fresh)
    return Node(equation, tuple(operands), tuple(results), _avals(equation))


def _live_scan(
    equation: versions.Equation,
    operands: list[Operand],
    results: list[int],
    wanted: list[bool],
    fresh: Iterator[int],
) -> Node:
    scan = versions.scan_parts(equation)
    start, stop = scan.num_consts, scan.num_consts + scan.num_carry
    live = list(wanted)
    while True:
        block, used = _prune(scan.body, live, fresh)
        carry = live[: scan.num_carry]
        kept = [a or b for a, b in zip(carry, used[start:stop], strict=True)]
        if kept == carry:
            break
        live[: scan.num_carry] = kept
    keep = [*used[:start], *kept, *used[stop:]]
    return Node(
        equation,
        tuple(itertools.compress(operands, keep)),
        tuple(itertools.compress(results, live)),
        tuple(itertools.compress(_avals(equation), live)),
        (_keep(block, keep),),
        (sum(keep[:start]), sum(kept)),
    )


def _live_while(
    equation: versions.Equation,
    operands: list[Operand],
    results: list[int],
    wanted: list[bool],
    fresh: Iterator[int],
) -> Node:
    loop = versions.while_parts(equation)
    first, second = loop.num_condition_consts, loop.num_body_consts
    condition, asked = _prune(loop.condition, [True], fresh)
    live = [a or b for a, b in zip(wanted, asked[first:], strict=True)]
    while True:
        body, used = _prune(loop.body, live, fresh)
        kept = [a or b for a, b in zip(live, used[second:], strict=True)]
        if kept == live:
            break
        live = kept
    keep = [*asked[:first], *used[:second], *live]
    return Node(
        equation,
        tuple(itertools.compress(operands, keep)),
        tuple(itertools.compress(results, live)),
        tuple(itertools.compress(_avals(equation), live)),
        (
            _keep(condition, [*asked[:first], *live]),
            _keep(body, [*used[:second], *live]),
        ),
        (sum(asked[:first]), sum(used[:second])),
    )


def _live_cond(
    equation: versions.Equation,
    operands: list[Operand],
    results: list[int],
    wanted: list[bool],
    fresh: Iterator[int],
) -> Node:
    pruned = [
        _prune(branch, wanted, fresh) for branch in versions.branch_programs(equation)
    ]
    keep = [any(column) for column in zip(*(used for _, used in pruned), strict=True)]
    return Node(
        equation,
        (operands[0], *itertools.compress(operands[1:], keep)),
        tuple(itertools.compress(results, wanted)),
        tuple(itertools.compress(_avals(equation), wanted)),
        tuple(_keep(block, keep) for block, _ in pruned),
    )


def _avals(equation: versions.Equation) -> tuple[Any, ...]:
    return tuple(var.aval for var in equation.outvars)


def _keep(block: Block, keep: Sequence[bool]) -> Block:
    return replace(block, inputs=tuple(itertools.compress(block.inputs, keep)))
