"""Repeated blocks of a program: found, so that a compiler sees each but once.

A repeat is a run of equations that follows itself: the same equations, up to what they
read from outside, each time fed by the time before. Run as a loop over stacked values
it gives what the equations give one by one, and costs a compiler one block.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit.program import versions
from jaxinit.program.primitives import is_float

_FEWEST_TIMES = 3
_FEWEST_EQUATIONS = 12
_TRIED_PERIODS = 64


class Inside(NamedTuple):
    """An operand made by an equation of the same block."""

    equation: int
    result: int


class Carried(NamedTuple):
    """An operand made by the block before; which of the carried values."""

    place: int


class Stacked(NamedTuple):
    """An operand from outside that differs from time to time; which of them."""

    place: int


class Outside(NamedTuple):
    """An operand from outside, the same each time."""

    atom: Any


Operand = Inside | Carried | Stacked | Outside


@dataclass(frozen=True)
class Repeat:
    """Equations ``start`` to ``start + period * times`` as one block, many times.

    Attributes:
      start: the first equation.
      period: equations of the block.
      times: how often it is run.
      operands: of each equation of the block.
      carried: results that the next block reads, and what the first block reads there.
      stacked: for each operand that differs, what is read each time.
      kept: results that are read behind the repeat, with the variables of each time
        that are.
    """

    start: int
    period: int
    times: int
    operands: tuple[tuple[Operand, ...], ...]
    carried: tuple[tuple[Inside, Any], ...]
    stacked: tuple[tuple[Any, ...], ...]
    kept: tuple[tuple[Inside, tuple[tuple[int, Any], ...]], ...]

    @property
    def stop(self) -> int:
        return self.start + self.period * self.times


def find_repeats(
    program: versions.Program,
    mark: Callable[[int], Hashable],
    rolls: Callable[[versions.Equation], bool],
) -> list[Repeat]:
    """The repeats among the equations of a program, in order; none overlap.

    Args:
      program: the program.
      mark: what else must be equal for two equations, by their index.
      rolls: whether an equation may be part of a repeat.

    Returns:
      The repeats, the longest at each place.
    """
    equations = program.jaxpr.eqns
    names: dict[Hashable, int] = {}
    forms = _Forms()
    ids = [
        names.setdefault((forms.equation(equation), mark(index)), len(names))
        if rolls(equation)
        else -1 - index
        for index, equation in enumerate(equations)
    ]
    places: dict[int, list[int]] = {}
    for index, number in enumerate(ids):
        places.setdefault(number, []).append(index)
    graph = _Graph(program)
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
    """What makes each value of a program, and what reads it last."""

    def __init__(self, program: versions.Program) -> None:
        self.equations = program.jaxpr.eqns
        self.made: dict[Any, tuple[int, int]] = {}
        self.last: dict[Any, int] = {}
        for index, equation in enumerate(self.equations):
            for atom in equation.invars:
                if isinstance(atom, versions.Var):
                    self.last[atom] = index
            for result, var in enumerate(equation.outvars):
                self.made[var] = (index, result)
        for atom in program.jaxpr.outvars:
            if isinstance(atom, versions.Var):
                self.last[atom] = len(self.equations)

    def worth(self, start: int, period: int, times: int) -> bool:
        """Whether a repeat is large enough, with what its equations call."""
        block = self.equations[start : start + period]
        size = sum(map(versions.count_equations, block))
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
        carried: dict[Inside, Any] = {}
        stacked: dict[tuple[int, ...], tuple[Any, ...]] = {}
        operands: list[tuple[Operand, ...]] = []
        for offset in range(period):
            row: list[Operand] = []
            for position in range(len(self.equations[start + offset].invars)):
                atoms = [
                    self.equations[start + offset + time * period].invars[position]
                    for time in range(times)
                ]
                operand = self._operand(atoms, start, period, carried, stacked)
                if isinstance(operand, int):
                    return None, operand
                row.append(operand)
            operands.append(tuple(row))
        stop = start + period * times
        repeat = Repeat(
            start,
            period,
            times,
            tuple(operands),
            tuple(carried.items()),
            tuple(stacked.values()),
            self._kept(start, period, times, stop),
        )
        return repeat, times

    def _operand(
        self,
        atoms: Sequence[Any],
        start: int,
        period: int,
        carried: dict[Inside, Any],
        stacked: dict[tuple[int, ...], tuple[Any, ...]],
    ) -> Operand | int:
        """What an operand is each time; a number of times where it changes its kind."""
        kinds = [self._kind(a, start, period, time) for time, a in enumerate(atoms)]
        if kinds[0] is not None:  # made in the first block: in each by the same
            odd = next((t for t, kind in enumerate(kinds) if kind != kinds[0]), None)
            if odd is not None or kinds[0][0] != 0:
                return odd or 0
            return Inside(*kinds[0][1:])
        if kinds[1] is None:  # from outside, each time
            odd = next((t for t, kind in enumerate(kinds) if kind is not None), None)
            if odd is not None:
                return odd
            if all(_same_atom(atom, atoms[0]) for atom in atoms):
                return Outside(atoms[0])
            name = tuple(id(a) for a in atoms)
            stacked.setdefault(name, tuple(atoms))
            return Stacked(list(stacked).index(name))
        odd = next((t for t, k in enumerate(kinds) if t and k != kinds[1]), None)
        if odd is not None or kinds[1][0] != 1:
            return odd or 0
        made = Inside(*kinds[1][1:])
        if made in carried and not _same_atom(carried[made], atoms[0]):
            return 0
        carried.setdefault(made, atoms[0])
        return Carried(list(carried).index(made))

    def _kind(
        self, atom: Any, start: int, period: int, time: int
    ) -> tuple[int, int, int] | None:
        """How many blocks ago a value was made, and where; ``None``: not in any."""
        made = self.made.get(atom) if isinstance(atom, versions.Var) else None
        if made is None or made[0] < start:
            return None
        block, offset = divmod(made[0] - start, period)
        return time - block, offset, made[1]

    def _kept(
        self, start: int, period: int, times: int, stop: int
    ) -> tuple[tuple[Inside, tuple[tuple[int, Any], ...]], ...]:
        kept: dict[Inside, list[tuple[int, Any]]] = {}
        for index in range(start, stop):
            time, offset = divmod(index - start, period)
            for result, var in enumerate(self.equations[index].outvars):
                if self.last.get(var, -1) >= stop:
                    kept.setdefault(Inside(offset, result), []).append((time, var))
        del times
        return tuple((made, tuple(read)) for made, read in kept.items())


def _same_atom(first: Any, second: Any) -> bool:
    if isinstance(first, versions.Literal) and isinstance(second, versions.Literal):
        return bool(first is second or _literal(first) == _literal(second))
    return first is second


def _literal(atom: Any) -> Hashable:
    value = np.asarray(atom.val)
    return str(atom.aval), value.tobytes()


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
                return _literal(atom)
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
