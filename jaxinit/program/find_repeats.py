"""Finds the blocks of a program that repeat.

Candidates are runs of nodes of one form that follow themselves; one is a repeat if its
wires agree: each operand is made in the same block, or by the one before, or comes
from outside, the same way each time.
"""

import bisect
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from jaxinit.program import versions
from jaxinit.program.forms import Forms, literal_form
from jaxinit.program.program import Constant, Node, Operand, Region
from jaxinit.program.repeats import Carried, Inside, Outside, Repeat, Stacked

_FEWEST_TIMES = 3
_FEWEST_EQUATIONS = 12
_TRIED_PERIODS = 64


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
    forms = Forms()
    ids = [
        names.setdefault((forms.equation(node.equation), mark(node)), len(names))
        if rolls(node.equation)
        else -1 - index
        for index, node in enumerate(region.nodes)
    ]
    alike, graph = _Alike(ids), _Graph(region)
    found: list[Repeat] = []
    index = 0
    while index < len(ids):
        repeat = _longest(alike, graph, index)
        if repeat is not None:
            found.append(repeat)
            index = repeat.stop
        else:
            index += 1
    return found


def _longest(alike: "_Alike", graph: "_Graph", start: int) -> Repeat | None:
    """The repeat that covers most from ``start`` on; of equal ones the shortest."""
    candidates = []
    for period in alike.periods(start):
        times = alike.times(start, period)
        if graph.worth(start, period, times):
            candidates.append((-times * period, period, times))
    for _, period, times in sorted(candidates):
        repeat = graph.repeat(start, period, times)
        if repeat is not None:
            return repeat
    return None


class _Alike:
    """Which nodes of a region are alike; to be asked from its start to its end."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids
        self._places: dict[int, list[int]] = {}
        for index, number in enumerate(ids):
            self._places.setdefault(number, []).append(index)
        self._ends: dict[int, int] = {}

    def periods(self, start: int) -> list[int]:
        """How far behind a node the next ones like it are."""
        places = self._places[self._ids[start]]
        first = bisect.bisect_right(places, start)
        return [place - start for place in places[first : first + _TRIED_PERIODS]]

    def times(self, start: int, period: int) -> int:
        """How often ``period`` nodes from ``start`` on follow themselves."""
        ids, end = self._ids, self._ends.get(period, -1)
        if end < start:  # else it is the end of a run that was seen before
            end = start
            while end + period < len(ids) and ids[end] == ids[end + period]:
                end += 1
            self._ends[period] = end
        return (end - start) // period + 1


class _Graph:
    """What makes each value of a region, what reads it last, and how large it is."""

    def __init__(self, region: Region) -> None:
        self.nodes = region.nodes
        self.made: dict[Operand, tuple[int, int]] = {}
        self.last: dict[Operand | None, int] = {}
        for index, node in enumerate(self.nodes):
            self.last.update(dict.fromkeys(node.operands, index))
            for result, value in enumerate(node.results):
                self.made[value] = (index, result)
        self.last.update(dict.fromkeys(region.outputs, len(self.nodes)))
        sizes = (versions.size(node.equation) for node in self.nodes)
        self.sizes = list(itertools.accumulate(sizes, initial=0))

    def worth(self, start: int, period: int, times: int) -> bool:
        """Whether a repeat is large enough, with what its equations call."""
        size = self.sizes[start + period] - self.sizes[start]
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
        return literal_form(operand.value, operand.aval)
    return operand
