"""The table's body: a column for each metric, a cell for each line."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jaxinit.report.bars import axis_of, bars
from jaxinit.report.lines import Line
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact, count, elide
from jaxinit.report.summary import Summary
from jaxinit.report.text import to_ascii

# The output's shape has its place from this width on.
_WIDE = 96
# ... and the row's role from this one on.
_WIDEST = 120
_GAP = 2

# Names keep this much room, before columns do.
_MIN_NAME = 20

# Letters of the bars, on narrow terminals and on wide ones.
_BARS, _MANY_BARS = 8, 12

_SHORT = {
    **{"dot_general": "dot", "ragged_dot": "dot", "conv_general_dilated": "conv"},
    **{"concatenate": "concat", "dynamic_update_slice": "update"},
}


class Column(NamedTuple):
    """One column.

    Attributes:
      header: above it.
      cells: one for each line that is shown.
      justify: where they stand in it.
      style: rich's.
      weight: on a narrow terminal the least go first.
      legend: what it shows, to be said below the table.
    """

    header: str
    cells: list[str]
    justify: Literal["left", "right"] = "left"
    style: str = ""
    weight: int = 0
    legend: str = ""


def fitting_columns(
    report: Measured, lines: Sequence[Line], width: int, *, ascii: bool
) -> list[Column]:
    """The columns for which a table of that width has room."""
    if not lines:
        return []
    columns = _columns(report, lines, width, ascii)
    longest = max(len(_name(report, line)) for line in lines)
    while len(columns) > 1 and _room(columns, width) < min(longest, _MIN_NAME):
        columns.remove(min(columns, key=lambda column: column.weight))
    return columns


def row_table(
    report: Measured,
    lines: Sequence[Line],
    columns: Sequence[Column],
    width: int,
    *,
    ascii: bool,
) -> RenderableType:
    """The lines, names elided to what the numbers leave of ``width``."""
    if not lines:
        return Text("  no layers", "dim")
    numbers = {f.row: i for i, f in reversed([*enumerate(report.findings, 1)])}
    room = max(_room(columns, width), 4)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    table.add_column("", justify="right", no_wrap=True, width=2)
    table.add_column("layer", no_wrap=True)
    for column in columns:
        header = Text(to_ascii(column.header, ascii))
        table.add_column(
            header, justify=column.justify, style=column.style, no_wrap=True
        )
    for k, line in enumerate(lines):
        number = numbers.get(line.name) if len(line.rows) == 1 else None
        style = "bold red" if number else ""
        mark = to_ascii(f"▶{number}", ascii) if number else ""
        name = to_ascii(_name(report, line), ascii)
        cells = [Text(to_ascii(column.cells[k], ascii)) for column in columns]
        name = elide(name, room, to_ascii("…", ascii))
        table.add_row(Text(mark, style), Text(name, style), *cells)
    return table


def furthest(median: np.ndarray, values: np.ndarray, rows: Sequence[int]) -> int:
    """The row whose median is the furthest from 1, by a factor."""

    def distance(i: int) -> float:
        value = float(median[i])
        return abs(math.log(value)) if 0 < value < math.inf else math.inf

    return max(defined(values, rows) or rows, key=distance)


def span(median: np.ndarray, values: np.ndarray, rows: Sequence[int]) -> str:
    """The least to the largest median; "" where no seed of a row has a value."""
    known = median[defined(values, rows)]
    if not known.size:
        return ""
    low, high = compact(float(known.min())), compact(float(known.max()))
    return low if low == high else f"{low}..{high}"


def defined(values: np.ndarray, rows: Sequence[int]) -> list[int]:
    """Those of the rows that have a value in some seed."""
    return [i for i in rows if not np.isnan(values[:, i]).all()]


def _name(report: Measured, line: Line) -> str:
    indent = "" if report.rows[line.rows[0]].kind == "layer" else "  "
    return indent + line.name


def _room(columns: Sequence[Column], width: int) -> int:
    """What columns leave to the names."""
    widths = (max(map(len, [c.header, *c.cells])) + _GAP for c in columns)
    return width - 2 * _GAP - 2 - sum(widths)


def _columns(
    report: Measured, lines: Sequence[Line], width: int, ascii: bool
) -> list[Column]:
    rows = [[report.rows[i] for i in line.rows] for line in lines]
    summary = report.summary()
    operations = [
        _common(_SHORT.get(row.operation, elide(row.operation, 8, ".")) for row in some)
        for some in rows
    ]
    columns = []
    if len(lines) < len(report.rows):
        numbers = [str(len(line.rows)) for line in lines]
        columns.append(Column("rows", numbers, "right", "dim", weight=7))
    columns.append(Column("", operations, style="dim", weight=1))
    if width >= _WIDE:
        shapes = [
            _common(elide("x".join(map(str, r.shape)) or "scalar", 16) for r in some)
            for some in rows
        ]
        columns.append(Column("output", shapes, style="dim"))
    if width >= _WIDEST and any(row.role for row in report.rows):
        roles = [_common(elide(row.role, 20) for row in some) for some in rows]
        columns.append(Column("role", roles, style="dim"))
    if "second_moment" in summary:
        cells = _MANY_BARS if width >= _WIDE else _BARS
        columns += _moments(report, summary["second_moment"], lines, cells, ascii)
    columns += _predicted(report, lines)
    if "dead" in summary:
        dead = [_dead(report, summary["dead"].median, line) for line in lines]
        legend = "dead, the share of channels that are zero in all N values"
        columns.append(Column("dead/N", dead, "right", weight=4, legend=legend))
    if "grad_rms" in summary:
        values, median = report.backward["grad_rms"], summary["grad_rms"].median
        grads = [span(median, values, line.rows) for line in lines]
        legend = "grad rms, of dL/dx per value"
        columns.append(Column("grad rms", grads, "right", weight=5, legend=legend))
    return columns + _asked_for(report, summary, lines)


def _moments(
    report: Measured, moment: Summary, lines: Sequence[Line], cells: int, ascii: bool
) -> list[Column]:
    """Medians, ranges and the bars of the seeds."""
    values = report.forward["second_moment"]
    # An exclamation mark where the median leaves out seeds that overflowed.
    broken = ~np.isfinite(values) & report.ran
    partial = broken.any(axis=0) & (moment.share_nonfinite < 1)
    medians = [
        compact(moment.median[furthest(moment.median, values, line.rows)])
        + "!" * bool(partial[list(line.rows)].any())
        for line in lines
    ]
    ranges = [
        _range(moment.q05[list(line.rows)], moment.q95[list(line.rows)])
        for line in lines
    ]
    legend = f"E[x²] is the second moment, median and 5-95% of {len(values)} seeds"
    columns = [
        Column("E[x²]", medians, "right", weight=6, legend=legend),
        Column("5-95%", ranges, style="dim", weight=2),
    ]
    axis = axis_of(values)
    if axis is not None and len(values) > 1:
        drawn = [
            bars(values[:, list(line.rows)], axis, cells, ascii=ascii) for line in lines
        ]
        low, high = (compact(10**end) for end in axis)
        legend = f"seeds, where they lie on a log axis from {low} to {high}"
        columns.append(Column("seeds", drawn, weight=3, legend=legend))
    return columns


# What every report measures of activations; anything else was asked for.
USUAL = frozenset(
    "mean var second_moment rms chan_sq_mean chan_var cos absmax frac_zero "
    "frac_nonfinite dead".split()
)


def _asked_for(
    report: Measured, summary: Mapping[str, Summary], lines: Sequence[Line]
) -> list[Column]:
    """Metrics that were asked for, where a row that is shown has one."""
    return [
        Column(
            name, [span(median, values, line.rows) for line in lines], "right", weight=4
        )
        for name, values in report.forward.items()
        if name not in USUAL and not np.isnan(values).all()
        for median in [summary[name].median]
    ]


def _predicted(report: Measured, lines: Sequence[Line]) -> list[Column]:
    """What theory expects, and how many standard errors the measured is above it."""
    theory = report.predicted.get("second_moment")
    if theory is None:
        return []
    none = np.full(len(report.rows), np.nan)
    far = report.predicted.get("second_moment_z", none)
    worst = [
        max(line.rows, key=lambda i: -1.0 if math.isnan(far[i]) else abs(far[i]))
        for line in lines
    ]
    # Of several rows the distance alone: what is expected differs from row to row.
    expected = [
        _expected(theory[i]) if len(line.rows) == 1 else ""
        for line, i in zip(lines, worst, strict=True)
    ]
    away = ["-" if math.isnan(far[i]) else f"{far[i]:+.1f}" for i in worst]
    return [
        Column("predicted", expected, "right", weight=6),
        Column("off/se", away, "right", weight=5),
    ]


def _expected(value: float) -> str:
    return "-" if math.isnan(value) else compact(value)


def _common(cells: Iterable[str]) -> str:
    """What all rows of a line have there; nothing if they differ."""
    found = set(cells)
    return found.pop() if len(found) == 1 else ""


def _range(low: np.ndarray, high: np.ndarray) -> str:
    if np.isnan(low).all():
        return ""
    return f"{compact(np.nanmin(low))} .. {compact(np.nanmax(high))}"


def _dead(report: Measured, shares: np.ndarray, line: Line) -> str:
    """The largest share among the line's layers."""
    known = [
        (float(shares[i]), report.rows[i].samples)
        for i in line.rows
        if report.rows[i].kind == "layer" and not math.isnan(shares[i])
    ]
    if not known:
        return ""
    share, samples = max(known)
    return f"{share:.0%}/{count(samples)}"
