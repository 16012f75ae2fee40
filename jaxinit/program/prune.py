"""What is left of a program once everything its outputs do not need is dropped."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from jaxinit.program import versions
from jaxinit.program.program import CALLS, Constant, Node, Operand, Region

UNREAD = Constant(None, None)
"""In place of an operand that no body of a loop or a branch reads."""

Marks = list[bool]


def prune(program: Region) -> Region:
    """``program`` with its calls inlined, and without what no output needs.

    Loops and branches are pruned inside, and all others have no bodies left. Nothing
    is numbered anew: a carry, a scanned output or an operand that nothing reads keeps
    its place, is not ``wanted`` and comes from ``UNREAD``. What is left computes the
    values of the program, not its side effects, and is not meant to be differentiated.
    """
    return _prune(program, [True] * len(program.outputs))[0]


def reached(region: Region, seeds: Sequence[bool]) -> tuple[set[int], Marks]:
    """The values of a pruned region that depend on any of the marked inputs.

    Args:
      region: the region.
      seeds: one mark for each input.

    Returns:
      The numbers of the values of the region itself, and one mark for each output.
    """
    found = {value for value, mark in zip(region.inputs, seeds, strict=True) if mark}
    for node in region.nodes:
        marks = [operand in found for operand in node.operands]
        found.update(itertools.compress(node.results, _reached_results(node, marks)))
    return found, [output in found for output in region.outputs]


def body_marks(node: Node, marks: Sequence[bool]) -> list[Marks]:
    """Which inputs of each body of ``node`` depend on its marked operands, ever."""
    match node.kind:
        case "scan":
            scan = versions.scan_parts(node.equation)
            split = scan.num_consts + scan.num_carry
            return [_ever(node.bodies[0], list(marks), scan.num_consts, split)]
        case "while":
            loop = versions.while_parts(node.equation)
            first, second = loop.num_condition_consts, loop.num_body_consts
            body = _ever(node.bodies[0], list(marks[first:]), second, None)
            return [body, [*marks[:first], *body[second:]]]
    return [list(marks[1:]) for _ in node.bodies]


def _ever(body: Region, held: Marks, start: int, stop: int | None) -> Marks:
    """The marks of a loop's body once its carry, between two inputs, has settled."""
    while True:
        carry = held[start:stop]
        grown = [a or b for a, b in zip(carry, reached(body, held)[1], strict=False)]
        if grown == carry:
            return held
        held[start:stop] = grown


def _reached_results(node: Node, marks: Marks) -> Marks:
    if not node.bodies:
        return [any(marks)] * len(node.results)
    outs = [
        reached(body, inside)[1]
        for body, inside in zip(node.bodies, body_marks(node, marks), strict=True)
    ]
    if node.kind == "scan":
        return outs[0]
    if node.kind == "while":  # a loop's length is part of what it computes
        return [any(outs[1]) or mark for mark in outs[0]]
    return [marks[0] or any(column) for column in zip(*outs, strict=True)]


def _prune(region: Region, wanted: Sequence[bool]) -> tuple[Region, Marks]:
    """The live part of a region, and which of its inputs are live."""
    same: dict[int, Operand] = {}
    flat = list(_inlined(region, same))
    outputs = tuple(
        _made_as(same, value) if want and value is not None else None
        for value, want in zip(region.outputs, wanted, strict=True)
    )
    live = {value for value in outputs if isinstance(value, int)}
    nodes = []
    for node in reversed(flat):
        needed = [value in live for value in node.results]
        if any(needed):
            reads, needed, bodies = _pruned_bodies(node, needed)
            operands = tuple(
                _made_as(same, value) if read else UNREAD
                for value, read in zip(node.operands, reads, strict=True)
            )
            live.update(value for value in operands if isinstance(value, int))
            made = tuple(needed)
            nodes.append(replace(node, operands=operands, wanted=made, bodies=bodies))
    left = replace(region, nodes=tuple(reversed(nodes)), outputs=outputs)
    return left, [value in live for value in region.inputs]


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


def _pruned_bodies(
    node: Node, wanted: Marks
) -> tuple[Marks, Marks, tuple[Region, ...]]:
    """Which operands a node reads, which results it makes, and its pruned bodies."""
    # A branch chosen by platform cannot be written again with public functions.
    by_platform = node.equation.params.get("branches_platforms") is not None
    match node.kind:
        case "scan":
            scan = versions.scan_parts(node.equation)
            start, stop = scan.num_consts, scan.num_consts + scan.num_carry
            body, used, live = _settled(node.bodies[0], wanted, start, stop)
            return [*used[:start], *live[: stop - start], *used[stop:]], live, (body,)
        case "while":
            loop = versions.while_parts(node.equation)
            first, second = loop.num_condition_consts, loop.num_body_consts
            condition, asked = _prune(node.bodies[1], [True])
            live = [a or b for a, b in zip(wanted, asked[first:], strict=True)]
            body, used, live = _settled(node.bodies[0], live, second, None)
            return [*asked[:first], *used[:second], *live], live, (body, condition)
        case "cond" if not by_platform:
            pruned = [_prune(branch, wanted) for branch in node.bodies]
            columns = zip(*(used for _, used in pruned), strict=True)
            bodies = tuple(branch for branch, _ in pruned)
            return [True, *map(any, columns)], wanted, bodies
    return [True] * len(node.operands), list(node.wanted), ()


def _settled(
    body: Region, wanted: Marks, start: int, stop: int | None
) -> tuple[Region, Marks, Marks]:
    """A loop's body, pruned, once what its carry needs of the step before is settled.

    Returns:
      The body, which of its inputs it reads, and which of its outputs are needed; the
      inputs between ``start`` and ``stop`` are carried from its first outputs.
    """
    live = list(wanted)
    while True:
        pruned, used = _prune(body, live)
        carry = used[start:stop]
        grown = [a or b for a, b in zip(live, carry, strict=False)]
        if grown == live[: len(carry)]:
            return pruned, used, live
        live[: len(carry)] = grown
