"""A program as nested regions of numbered nodes, without what no output needs.

Built once from a jaxpr and read many times (``read``): which equations call others,
what their programs are, and which of their results are needed is decided here alone.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jaxinit.program import primitives, versions
from jaxinit.program.paths import Location, Path

Kind = Literal[
    "op", "call", "remat", "rule", "scan", "while", "cond", "shards", "repeat"
]
CALLS = ("call", "remat", "rule")
"""Kinds whose one body takes the node's operands and gives its results."""

_KINDS: dict[str, Kind] = {
    "scan": "scan",
    "while": "while",
    "cond": "cond",
    "shard_map": "shards",
    "pallas_call": "op",  # its program works on references
    **dict.fromkeys(versions.TRANSPARENT_CALLS, "call"),
    **dict.fromkeys(versions.REMAT_CALLS, "remat"),
    **dict.fromkeys(versions.CUSTOM_RULES, "rule"),
}


@dataclass(frozen=True, eq=False)
class Constant:
    """An operand that no node computes: a literal or a constant of the program.

    Attributes:
      value: the constant.
      aval: its shape and dtype.
      literal: whether it is written in the program.
    """

    value: Any
    aval: Any
    literal: bool = False


Operand: TypeAlias = int | Constant


@dataclass(frozen=True, eq=False)
class Node:
    """An equation.

    Attributes:
      kind: an operation, or what runs programs of its own: a call, a call that its
        derivative computes again, a function with a derivative rule of its own, a
        loop, a branch, a program for each device, or a block that repeats.
      equation: the equation.
      operands: what it reads, one for each operand of the equation.
      results: the numbers of the values that it makes, one for each result.
      wanted: which of the results are needed.
      at: where it is.
      bodies: its programs: of ``while`` body and condition, of ``cond`` the branches.
    """

    kind: Kind
    equation: versions.Equation
    operands: tuple[Operand, ...]
    results: tuple[int, ...]
    wanted: tuple[bool, ...]
    at: Location
    bodies: tuple["Region", ...] = ()

    @property
    def primitive(self) -> str:
        return str(self.equation.primitive.name)

    def inside(self, which: int = 0) -> Path:
        """The way into one of its bodies."""
        return (*self.at.path, (self.at.equation, which))


@dataclass(frozen=True, eq=False)
class Region:
    """A program: its inputs, its live nodes in order, and its outputs.

    Attributes:
      source: the jaxpr that it was built from.
      inputs: the numbers of its inputs, one for each.
      nodes: the nodes that a wanted output or an effect needs.
      outputs: what it gives; ``None`` in place of an output that is not wanted.
    """

    source: versions.Program
    inputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Operand | None, ...]


def build(program: versions.Program) -> Region:
    """``program`` as a region; all of its outputs are wanted.

    Numbers of values are unique within it, also where two calls share a jaxpr.
    """
    return _region(program, None, (), itertools.count())


def _opened(equation: versions.Equation) -> tuple[Kind, Sequence[versions.Program]]:
    """How an equation runs other programs, and which; none if it does not.

    A call that nobody has told of is a rule: read inside, and run as it stands.
    """
    name = equation.primitive.name
    usual: Kind = "op" if name in primitives.TABLE else "rule"
    kind = _KINDS.get(name, usual)
    match kind:
        case "op":
            return kind, ()
        case "scan":
            return kind, (versions.scan_parts(equation).body,)
        case "while":
            parts = versions.while_parts(equation)
            return kind, (parts.body, parts.condition)
        case "cond":
            return kind, versions.branch_programs(equation)
        case "shards":
            return kind, (versions.shard_map_parts(equation).body,)
    inner = versions.called_program(equation)
    if inner is None or len(inner.jaxpr.outvars) != len(equation.outvars):
        return "op", ()
    return kind, (inner,)


def _region(
    program: versions.Program,
    wanted: Sequence[bool] | None,
    path: Path,
    fresh: Iterator[int],
) -> Region:
    jaxpr = program.jaxpr
    known: dict[Any, Operand] = {
        var: Constant(value, var.aval)
        for var, value in zip(jaxpr.constvars, program.consts, strict=True)
    }
    inputs = tuple(next(fresh) for _ in jaxpr.invars)
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def operand(atom: Any) -> Operand:
        if isinstance(atom, versions.Literal):
            return Constant(atom.val, atom.aval, literal=True)
        return known[atom]

    nodes = []
    live, _ = _live(jaxpr, wanted)
    for index in sorted(live):
        equation = versions.plain(jaxpr.eqns[index])
        at = Location(path, index)
        kind, programs = _opened(equation)
        operands = tuple(map(operand, equation.invars))
        needed = _needed(kind, equation, live[index])
        bodies = tuple(
            _region(inner, needed, (*path, (index, which)), fresh)
            for which, inner in enumerate(programs)
        )
        results = tuple(next(fresh) for _ in equation.outvars)
        known.update(zip(equation.outvars, results, strict=True))
        made = tuple(live[index])
        nodes.append(Node(kind, equation, operands, results, made, at, bodies))
    outputs = tuple(
        operand(atom) if wanted is None or wanted[position] else None
        for position, atom in enumerate(jaxpr.outvars)
    )
    return Region(program, inputs, tuple(nodes), outputs)


def _needed(
    kind: Kind, equation: versions.Equation, wanted: Sequence[bool]
) -> Sequence[bool] | None:
    """Which outputs of an equation's programs are needed; ``None`` for all."""
    if kind == "scan":
        return _live_of_scan(versions.scan_parts(equation), wanted)
    # A loop's length may depend on all that it carries.
    return None if kind == "while" else wanted


def readers(region: Region) -> dict[int, list[Node | None]]:
    """For each value the nodes that read it; ``None`` where a region gives it."""
    found: dict[int, list[Node | None]] = {}
    todo = [region]
    while todo:
        inner = todo.pop()
        for node in inner.nodes:
            todo += node.bodies
            for value in node.operands:
                if isinstance(value, int):
                    found.setdefault(value, []).append(node)
        for output in inner.outputs:
            if isinstance(output, int):
                found.setdefault(output, []).append(None)
    return found


def is_elementwise(region: Region) -> bool:
    """Whether each node of a region works on its elements one by one."""
    return all(
        node.primitive in primitives.ELEMENTWISE
        or (
            node.primitive == "broadcast_in_dim"
            and not node.equation.invars[0].aval.shape
        )
        or (node.kind in ("call", "rule") and is_elementwise(node.bodies[0]))
        for node in region.nodes
    )


# Liveness.


def _live(
    jaxpr: versions.Jaxpr, wanted: Sequence[bool] | None
) -> tuple[dict[int, list[bool]], set[Any]]:
    """The equations that the wanted outputs need, and which of their results.

    Args:
      jaxpr: the program.
      wanted: which of its outputs are needed; ``None`` for all of them.

    Returns:
      For the index of each live equation, which of its results are needed; equations
      with effects are always live. And all variables that are needed.
    """
    needed = {
        atom
        for position, atom in enumerate(jaxpr.outvars)
        if isinstance(atom, versions.Var) and (wanted is None or wanted[position])
    }
    live = {}
    for index in reversed(range(len(jaxpr.eqns))):
        equation = jaxpr.eqns[index]
        results = [var in needed for var in equation.outvars]
        if any(results) or equation.effects:
            live[index] = results
            needed.update(v for v in equation.invars if isinstance(v, versions.Var))
    return live, needed


def _live_of_scan(scan: versions.Scan, wanted: Sequence[bool]) -> list[bool]:
    """Which outputs of a scan's body are needed, now or by a later step."""
    live = list(wanted)
    body = scan.body.jaxpr
    carry = body.invars[scan.num_consts : scan.num_consts + scan.num_carry]
    while True:
        _, needed = _live(body, live)
        grown = [a or var in needed for a, var in zip(live, carry, strict=False)]
        if grown == live[: scan.num_carry]:
            return live
        live[: scan.num_carry] = grown
