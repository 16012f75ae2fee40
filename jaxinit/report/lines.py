"""Which rows a line stands for: in deep models equal modules share one."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from jaxinit.report.measured import Measured

# Tables of more rows are folded, into this many lines where that can be done.
MAX_ROWS, _LINES = 60, 40

# Numbers in names; longer rows of digits are several.
_NUMBER = re.compile(r"(\d{1,18})")

# A module is one line only if that leaves a table with a quarter of the lines or more.
_COARSE = 4

# How many rows like the first are tried as the start of the next equal module.
_TRIED = 64


class Line(NamedTuple):
    """What one line of a table shows.

    Attributes:
      name: the row's, or what those of several rows have in common:
        ``"Block_0..11/Dense_1"``, ``"encoder/*"``.
      rows: their indices; more than one where rows are folded.
    """

    name: str
    rows: tuple[int, ...]


class _Run(NamedTuple):
    """Rows from ``start`` to ``stop`` that repeat after ``period`` rows."""

    start: int
    stop: int
    period: int

    @property
    def repeats(self) -> int:
        return math.ceil((self.stop - self.start) / self.period)


def table_lines(report: Measured, all: bool) -> list[Line]:
    """The lines of a table: one for each row, up to :data:`MAX_ROWS` or if asked for.

    Args:
      report: what is shown.
      all: whether to show each row, however many there are.

    Returns:
      Lines that stand for all rows, in the order data meets them.
    """
    total = len(report.rows)
    return folded(report, total if all or total <= MAX_ROWS else _LINES)


def folded(report: Measured, room: int) -> list[Line]:
    """Lines that stand for all rows, at most ``room`` of them where that can be done.

    Modules in a row that are equal but for a number in their names share lines, as few
    of them as it takes; if that does not do, whole modules become one line, the
    innermost first, or else neighbors do. A row that a finding names, and those beside
    it, are never folded.

    Args:
      report: what is shown.
      room: how many lines are wanted at most.

    Returns:
      Lines in the order data meets their first rows.
    """
    names = report.layers
    if len(names) <= room:
        return [Line(name, (i,)) for i, name in enumerate(names)]
    kept = _kept(report)
    runs = list(_runs(report, kept))
    most = max(run.repeats for run in runs)
    lines: list[Line] = []
    for together in range(2, most + 1):
        if sum(_count(run, together) for run in runs) <= room or together == most:
            lines = [line for run in runs for line in _lines(run, together, names)]
            break
    lines = lines or [Line(name, (i,)) for i, name in enumerate(names)]
    for depth in range(max(name.count("/") for name in names), 0, -1):
        coarser = _by_module(lines, depth, kept)
        if len(lines) > room and len(coarser) >= room / _COARSE:
            lines = coarser
    return lines if len(lines) <= room else _by_place(lines, room, kept, names)


def _kept(report: Measured) -> frozenset[int]:
    """Rows that findings name, with their neighbors."""
    named = {finding.row for finding in report.findings}
    return frozenset(
        j
        for i, row in enumerate(report.rows)
        if row.name in named
        for j in (i - 1, i, i + 1)
    )


def _runs(report: Measured, kept: frozenset[int]) -> Iterator[_Run]:
    """All rows, from the first on in the longest stretches that repeat themselves."""
    parts = [_NUMBER.split(name) for name in report.layers]
    keys = [
        (*part[::2], row.kind, row.operation, row.shape, row.role)
        for part, row in zip(parts, report.rows, strict=True)
    ]

    def counts_on(i: int, period: int, start: int) -> bool:
        """Whether a row differs from that of the period before in one number alone."""
        before = i - period
        if keys[i] != keys[before]:
            return False
        places = _differing(parts[before], parts[i])
        first = before - period < start
        return len(places) == 1 and (
            first or places == _differing(parts[before - period], parts[before])
        )

    start, total = 0, len(keys)
    while start < total:
        stop = next((i for i in range(start, total) if i in kept), total)
        best = _Run(start, start + 1, 1)
        likely = (i - start for i in range(start + 1, stop) if keys[i] == keys[start])
        for _, period in zip(range(_TRIED), likely, strict=False):
            if start + 2 * period <= best.stop:
                continue  # what repeats within the best stretch adds nothing to it
            end = start + period
            while end < stop and counts_on(end, period, start):
                end += 1
            if end - start >= 2 * period and end > best.stop:
                best = _Run(start, end, period)
        yield best
        start = best.stop


def _differing(one: Sequence[str], other: Sequence[str]) -> list[int]:
    return [k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _count(run: _Run, together: int) -> int:
    whole = math.ceil(run.repeats / together) * run.period
    return min(whole, run.stop - run.start)


def _lines(run: _Run, together: int, names: Sequence[str]) -> Iterator[Line]:
    """The run's lines, each for up to so many repeats, as even as can be."""
    parts = math.ceil(run.repeats / together)
    ends = [
        run.start + run.period * round(run.repeats * part / parts)
        for part in range(parts + 1)
    ]
    for start, end in pairwise(ends):
        stop = min(end, run.stop)
        for first in range(start, min(start + run.period, stop)):
            rows = tuple(range(first, stop, run.period))
            yield Line(_pattern([names[i] for i in rows]), rows)


def _pattern(names: Sequence[str]) -> str:
    """What names have in common that differ in numbers alone: ``"Block_0..11/up"``."""
    columns = zip(*(_NUMBER.split(name) for name in names), strict=True)
    return "".join(
        column[0]
        if len(set(column)) == 1
        else f"{min(map(int, column))}..{max(map(int, column))}"
        for column in columns
    )


def _by_module(lines: Sequence[Line], depth: int, kept: frozenset[int]) -> list[Line]:
    """Neighbors of one module at this depth become one line."""

    def module(line: Line) -> Line | tuple[str, ...]:
        path = tuple(line.name.split("/")[:-1])
        return line if line.rows[0] in kept or len(path) < depth else path[:depth]

    found: list[Line] = []
    for _, group in groupby(lines, module):
        members = list(group)
        path = members[0].name.split("/")[:-1][:depth]
        found.append(_joined(members, "/".join([*path, "*"])))
    return found


def _by_place(
    lines: Sequence[Line], room: int, kept: frozenset[int], names: Sequence[str]
) -> list[Line]:
    """As many neighbors as it takes become one line, whatever they are."""
    stretches = [
        (1 if alone else len(lines), list(group))
        for alone, group in groupby(lines, lambda line: line.rows[0] in kept)
    ]
    found = list(lines)
    for together in range(2, len(lines) + 1):
        found = []
        for most, members in stretches:
            step = min(together, most)
            for first in range(0, len(members), step):
                some = members[first : first + step]
                rows = [i for line in some for i in line.rows]
                found.append(_joined(some, f"{names[min(rows)]} .. {names[max(rows)]}"))
        if len(found) <= room:
            break
    return found


def _joined(lines: Sequence[Line], name: str) -> Line:
    """One line for several; a single one stays as it is."""
    if len(lines) == 1:
        return lines[0]
    return Line(name, tuple(sorted(i for line in lines for i in line.rows)))
