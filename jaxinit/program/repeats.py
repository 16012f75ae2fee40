"""Repeated blocks of a program: found, so that a compiler sees each but once.

A repeat is a run of nodes that follows itself: the same equations, up to what they
read from outside, each time fed by the time before. Run as a loop over stacked values
it gives what the equations give one by one, and costs a compiler one block.
"""

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit.program import versions
from jaxinit.program.primitives import is_float
from jaxinit.program.program import Constant, Node, Operand, Region

_FEWEST_TIMES = 3
_FEWEST_EQUATIONS = 12
_TRIED_PERIODS = 64


class Inside(NamedTuple):
    """An operand made by a node of the same block."""

    node: int
    result: int


class Carried(NamedTuple):
    """An operand made by the block before; which of the carried values."""

    place: int


class Stacked(NamedTuple):
    """An operand from outside that differs from time to time; which of them."""

    place: int


class Outside(NamedTuple):
    """An operand from outside, the same each time; which of them."""

    place: int


@dataclass(frozen=True)
class Repeat:
    """One block of nodes, run many times.

    Attributes:
      start: where in its region it starts.
      nodes: the nodes of all times.
      times: how often the block is run.
      operands: of each node of the block.
      carried: results that the next block reads, and what the first block reads there.
      stacked: for each operand that differs, what is read each time.
      outside: each operand from outside that is the same each time.
      kept: results that are read behind the repeat, with the values of each time that
        are.
    """

    start: int
    nodes: tuple[Node, ...]
    times: int
    operands: tuple[tuple[Inside | Carried | Stacked | Outside, ...], ...]
    carried: tuple[tuple[Inside, Operand], ...]
    stacked: tuple[tuple[Operand, ...], ...]
    outside: tuple[Operand, ...]
    kept: tuple[tuple[Inside, tuple[tuple[int, int], ...]], ...]

    @property
    def period(self) -> int:
        return len(self.nodes) // self.times

    @property
    def stop(self) -> int:
        return self.start + len(self.nodes)

    @property
    def block(self) -> tuple[Node, ...]:
        """The nodes of the first time."""
        return self.nodes[: self.period]


@dataclass(frozen=True, eq=False)
class Rolled(Node):
    """A repeat as one node.

    It reads what the first block reads of the block before, then what differs from
    time to time, operand by operand, then what stays the same; it gives what is kept.
    """

    repeat: Repeat | None = None


def rolled(region: Region, repeats: Sequence[Repeat]) -> Region:
    """The region with its repeats as one node each."""
    nodes = list(region.nodes)
    for repeat in reversed(repeats):
        first = repeat.nodes[0]
        carried = tuple(operand for _, operand in repeat.carried)
        stacked = tuple(itertools.chain.from_iterable(repeat.stacked))
        results = tuple(value for _, later in repeat.kept for _, value in later)
        nodes[repeat.start : repeat.stop] = [
            Rolled(
                "repeat",
                first.equation,
                (*carried, *stacked, *repeat.outside),
                results,
                (True,) * len(results),
                first.at,
                repeat=repeat,
            )
        ]
    return replace(region, nodes=tuple(nodes))


def find_repeats(
    region: Region,
    mark: Callable[[Node], Hashable],
    rolls: Callable[[versions.Equation], bool],
) -> list[Repeat]:
    """The repeats among the nodes of a region, in order; none overlap.

    Args:
      region: the region.
      mark: what else must be equal for two nodes.
      rolls: whether an equation may be part of a repeat.

    Returns:
      The repeats, the longest at each place.
    """
    names: dict[Hashable, int] = {}
    forms = _Forms()
    ids = [
        names.setdefault((forms.equation(node.equation), mark(node)), len(names))
        if rolls(node.equation)
        else -1 - index
        for index, node in enumerate(region.nodes)
    ]
    places: dict[int, list[int]] = {}
    for index, number in enumerate(ids):
        places.setdefault(number, []).append(index)
    graph = _Graph(region)
    found: list[Repeat] = []
    index = 0
    while index < len(ids):
        repeat = _longest(ids, places[ids[index]], index, graph)
        if repeat is not None:
            found.append(repeat)
            index = repeat.stop
        else:
            index += 1
    return found


def _longest(
    ids: Sequence[int], places: Sequence[int], start: int, graph: "_Graph"
) -> Repeat | None:
    """The repeat that covers most from ``start`` on; of equal ones the shortest."""
    later = [place - start for place in places if place > start][:_TRIED_PERIODS]
    candidates = []
    for period in later:
        same, end = 0, len(ids) - period
        while start + same < end and ids[start + same] == ids[start + same + period]:
            same += 1
        times = same // period + 1
        if graph.worth(start, period, times):
            candidates.append((-times * period, period, times))
    for _, period, times in sorted(candidates):
        repeat = graph.repeat(start, period, times)
        if repeat is not None:
            return repeat
    return None


class _Graph:
    """What makes each value of a region, and what reads it last."""

    def __init__(self, region: Region) -> None:
        self.nodes = region.nodes
        self.made: dict[Operand, tuple[int, int]] = {}
        self.last: dict[Operand | None, int] = {}
        for index, node in enumerate(self.nodes):
            self.last.update(dict.fromkeys(node.operands, index))
            for result, value in enumerate(node.results):
                self.made[value] = (index, result)
        self.last.update(dict.fromkeys(region.outputs, len(self.nodes)))

    def worth(self, start: int, period: int, times: int) -> bool:
        """Whether a repeat is large enough, with what its equations call."""
        block = self.nodes[start : start + period]
        size = sum(len(list(versions.within(node.equation))) for node in block)
        return times >= _FEWEST_TIMES and times * size >= _FEWEST_EQUATIONS

    def repeat(self, start: int, period: int, times: int) -> Repeat | None:
        """The repeat with these numbers, with fewer times if need be, or ``None``."""
        while self.worth(start, period, times):
            made, good = self._repeat(start, period, times)
            if made is not None:
                return made
            times = good
        return None

    def _repeat(self, start: int, period: int, times: int) -> tuple[Repeat | None, int]:
        """The repeat; without one, for how many times there may be one."""
        wires = _Wires({}, {}, {})
        rows = []
        for offset in range(period):
            row = []
            for position in range(len(self.nodes[start + offset].operands)):
                values = [
                    self.nodes[start + offset + time * period].operands[position]
                    for time in range(times)
                ]
                operand = self._operand(values, start, period, wires)
                if isinstance(operand, int):
                    return None, operand
                row.append(operand)
            rows.append(tuple(row))
        repeat = Repeat(
            start,
            self.nodes[start : start + period * times],
            times,
            tuple(rows),
            tuple(wires.carried.items()),
            tuple(wires.stacked.values()),
            tuple(wires.outside.values()),
            self._kept(start, period, start + period * times),
        )
        return repeat, times

    def _operand(
        self, values: Sequence[Operand], start: int, period: int, wires: "_Wires"
    ) -> Inside | Carried | Stacked | Outside | int:
        """What an operand is each time; a number of times where it changes its kind."""
        kinds = [self._kind(v, start, period, time) for time, v in enumerate(values)]
        if kinds[0] is not None:  # made in the first block: in each by the same
            odd = next((t for t, kind in enumerate(kinds) if kind != kinds[0]), None)
            if odd is not None or kinds[0][0] != 0:
                return odd or 0
            return Inside(*kinds[0][1:])
        if kinds[1] is None:  # from outside, each time
            odd = next((t for t, kind in enumerate(kinds) if kind is not None), None)
            if odd is not None:
                return odd
            names = tuple(map(_name, values))
            if len(set(names)) == 1:
                wires.outside.setdefault(names[0], values[0])
                return Outside(list(wires.outside).index(names[0]))
            wires.stacked.setdefault(names, tuple(values))
            return Stacked(list(wires.stacked).index(names))
        odd = next((t for t, k in enumerate(kinds) if t and k != kinds[1]), None)
        if odd is not None or kinds[1][0] != 1:
            return odd or 0
        made = Inside(*kinds[1][1:])
        known = wires.carried.setdefault(made, values[0])
        if _name(known) != _name(values[0]):
            return 0
        return Carried(list(wires.carried).index(made))

    def _kind(
        self, value: Operand, start: int, period: int, time: int
    ) -> tuple[int, int, int] | None:
        """How many blocks ago a value was made, and where; ``None``: not in any."""
        made = self.made.get(value)
        if made is None or made[0] < start:
            return None
        block, offset = divmod(made[0] - start, period)
        return time - block, offset, made[1]

    def _kept(
        self, start: int, period: int, stop: int
    ) -> tuple[tuple[Inside, tuple[tuple[int, int], ...]], ...]:
        kept: dict[Inside, list[tuple[int, int]]] = {}
        for index in range(start, stop):
            time, offset = divmod(index - start, period)
            for result, value in enumerate(self.nodes[index].results):
                if self.last.get(value, -1) >= stop:
                    kept.setdefault(Inside(offset, result), []).append((time, value))
        return tuple((made, tuple(later)) for made, later in kept.items())


class _Wires(NamedTuple):
    """What a repeat reads from outside, by name; and carries, by what makes it."""

    carried: dict[Inside, Operand]
    stacked: dict[tuple[Hashable, ...], tuple[Operand, ...]]
    outside: dict[Hashable, Operand]


def _name(operand: Operand) -> Hashable:
    """Equal for operands that are one value; literals count by what they are."""
    if isinstance(operand, Constant) and operand.literal:
        return _literal(operand.value, operand.aval)
    return operand


def _literal(value: Any, aval: Any) -> Hashable:
    return str(aval), np.asarray(value).tobytes()


class _Forms:
    """What makes two equations equal, up to what they read from outside."""

    def __init__(self) -> None:
        self._programs: dict[tuple[int, bool], tuple[Any, int]] = {}
        self._numbers: dict[Hashable, int] = {}
        self._in_gradient = False

    def equation(self, equation: versions.Equation) -> Hashable:
        params: Hashable
        if equation.primitive.name in versions.CUSTOM_RULES:
            params = self._rule(equation)
        else:
            params = tuple(
                (name, self.value(value))
                for name, value in sorted(equation.params.items())
            )
        return (
            str(equation.primitive.name),
            params,
            equation.ctx,
            tuple(str(atom.aval) for atom in equation.invars),
            tuple(str(var.aval) for var in equation.outvars),
        )

    def _rule(self, equation: versions.Equation) -> Hashable:
        """A function with a derivative of its own: what it is, and its gradient.

        The rule itself is a new object for each call; two are the same if they trace
        to the same.
        """
        called = versions.called_program(equation)
        avals = [atom.aval for atom in (*equation.invars, *equation.outvars)]
        if called is None or not all(map(is_float, avals)):
            return id(equation)
        value = self.program(called, called.jaxpr)
        if self._in_gradient:  # nobody differentiates it once more
            return value
        count = len(equation.invars)

        def pull(*values: Any) -> Any:
            _, back = jax.vjp(
                lambda *given: versions.bind(equation, given), *values[:count]
            )
            return back(list(values[count:]))

        spec: Any = jax.ShapeDtypeStruct
        shapes = [spec(a.shape, a.dtype) for a in avals]
        try:
            gradient, _ = versions.trace(pull, *shapes)
        except Exception:  # whatever a user's rule raises: it equals itself alone
            return id(equation)
        self._in_gradient = True
        try:
            return value, self.program(gradient, gradient.jaxpr)
        finally:
            self._in_gradient = False

    def value(self, value: Any) -> Hashable:
        """A parameter of an equation; programs in it count by what they are."""
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            return "program", self.program(value, inner)
        if isinstance(value, tuple | list):
            return tuple(map(self.value, value))
        if isinstance(value, Mapping):
            return tuple((k, self.value(v)) for k, v in sorted(value.items()))
        try:
            hash(value)
        except TypeError:
            return id(value)
        return value  # type: ignore[no-any-return]

    def program(self, outer: Any, jaxpr: Any) -> int:
        """The number of an inner program; equal ones have the same."""
        name = (id(outer), self._in_gradient)
        if name in self._programs:
            return self._programs[name][1]
        numbers: dict[Any, int] = {}
        held = outer if isinstance(outer, versions.Program) else versions.program(outer)
        consts = tuple(id(c) for c in held.consts)

        def read(atom: Any) -> Hashable:
            if isinstance(atom, versions.Literal):
                return _literal(atom.val, atom.aval)
            return numbers.setdefault(atom, len(numbers))

        form: list[Hashable] = [consts]
        form.append(tuple((read(v), str(v.aval)) for v in jaxpr.invars))
        form.append(tuple(read(v) for v in jaxpr.constvars))
        for equation in jaxpr.eqns:
            operands = tuple(map(read, equation.invars))
            results = tuple(map(read, equation.outvars))
            form.append((self.equation(equation), operands, results))
        form.append(tuple(map(read, jaxpr.outvars)))
        number = self._numbers.setdefault(tuple(form), len(self._numbers))
        self._programs[name] = (outer, number)  # held, so the id stays its own
        return number
