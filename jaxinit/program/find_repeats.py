"""Finds the blocks of a program that repeat.

Candidates are runs of nodes of one form that follow themselves; one is a repeat if its
wires agree: each operand is made in the same block, or by the one before, or comes
from outside, the same way each time.
"""

import bisect
import itertools
from collections.abc import Callable, Hashable, Sequence

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
    """What makes each value of a region, what reads it last, and its name."""

    def __init__(self, region: Region) -> None:
        self.nodes = region.nodes
        self.made: dict[Operand, tuple[int, int]] = {}
        self.last: dict[Operand | None, int] = {}
        self.names: dict[Operand, Hashable] = {}
        for index, node in enumerate(self.nodes):
            self.last.update(dict.fromkeys(node.operands, index))
            self.names.update((v, _name(v)) for v in node.operands)
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
            wires = _Wires(self, start, period, times)
            rows = wires.rows()
            if not isinstance(rows, int):
                return Repeat(
                    start,
                    self.nodes[start : start + period * times],
                    times,
                    rows,
                    tuple(wires.carried.items()),
                    tuple(wires.stacked.values()),
                    tuple(wires.outside.values()),
                    self._kept(start, period, start + period * times),
                )
            times = rows
        return None

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


_Wire = Inside | Carried | Stacked | Outside


class _Wires:
    """What the blocks of a repeat read: by name from outside, else by what makes it."""

    def __init__(self, graph: _Graph, start: int, period: int, times: int) -> None:
        self._graph = graph
        self._start, self._period, self._times = start, period, times
        self.carried: dict[Inside, Operand] = {}
        self.stacked: dict[tuple[Hashable, ...], tuple[Operand, ...]] = {}
        self.outside: dict[Hashable, Operand] = {}

    def rows(self) -> tuple[tuple[_Wire, ...], ...] | int:
        """The operands of each node of a block; else for how many times they agree."""
        rows = []
        for index in range(self._start, self._start + self._period):
            row = []
            for position in range(len(self._graph.nodes[index].operands)):
                wire = self._wire(index, position)
                if isinstance(wire, int):
                    return wire
                row.append(wire)
            rows.append(tuple(row))
        return tuple(rows)

    def _wire(self, index: int, position: int) -> _Wire | int:
        """What an operand is each time; a number of times where it changes its kind."""
        first, usual = (self._kind(index, position, time) for time in (0, 1))
        if first is not None and first != usual:
            return 0
        if first is None and usual is not None and usual[0] != 1:
            return 0
        for time in range(2, self._times):
            if self._kind(index, position, time) != usual:
                return time
        if first is not None:  # made in the first block: in each by the same
            return Inside(*first[1:])
        if usual is not None:
            return self._carried(self._read(index, position, 0), Inside(*usual[1:]))
        names = self._graph.names
        values = tuple(self._read(index, position, t) for t in range(self._times))
        known = tuple(names[value] for value in values)
        if len(set(known)) == 1:
            self.outside.setdefault(known[0], values[0])
            return Outside(list(self.outside).index(known[0]))
        self.stacked.setdefault(known, values)
        return Stacked(list(self.stacked).index(known))

    def _carried(self, start: Operand, made: Inside) -> Carried | int:
        names = self._graph.names
        known = self.carried.setdefault(made, start)
        if names[known] != names[start]:
            return 0
        return Carried(list(self.carried).index(made))

    def _read(self, index: int, position: int, time: int) -> Operand:
        return self._graph.nodes[index + time * self._period].operands[position]

    def _kind(
        self, index: int, position: int, time: int
    ) -> tuple[int, int, int] | None:
        """How many blocks ago a value was made, and where; ``None``: not in any."""
        made = self._graph.made.get(self._read(index, position, time))
        if made is None or made[0] < self._start:
            return None
        block, offset = divmod(made[0] - self._start, self._period)
        return time - block, offset, made[1]


def _name(operand: Operand) -> Hashable:
    """Equal for operands that are one value; literals count by what they are."""
    if isinstance(operand, Constant) and operand.literal:
        return literal_form(operand.value, operand.aval)
    return operand
