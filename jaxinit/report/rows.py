"""The table's body: one line per row of the report."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact, count, elide
from jaxinit.report.summary import Summary
from jaxinit.report.text import to_ascii

# Reports with more rows are folded: the ends stay, and what the findings name.
MAX_ROWS = 60
_HEAD = _TAIL = 15

# The output's shape has its place from this width on.
_WIDE = 96
# ... and the row's role from this one on.
_WIDEST = 120
_GAP = 2

# Names keep this much room, before columns do.
_MIN_NAME = 12

_SHORT = {
    **{"dot_general": "dot", "ragged_dot": "dot", "conv_general_dilated": "conv"},
    **{"concatenate": "concat", "dynamic_update_slice": "update"},
}


class _Column(NamedTuple):
    """One column: its header and a cell for each row that is shown."""

    header: str
    cells: list[str]
    justify: Literal["left", "right"] = "left"
    style: str = ""
    weight: int = 0  # on a narrow terminal the least go first


def shown_rows(report: Measured, all: bool) -> list[int]:
    """Indices of the rows to show.

    Args:
      report: what is shown.
      all: whether to show them all.

    Returns:
      All of them up to :data:`MAX_ROWS`; otherwise both ends, and each row that a
      finding names between its neighbors.
    """
    total = len(report.rows)
    if all or total <= MAX_ROWS:
        return list(range(total))
    named = {finding.row for finding in report.findings}
    near = {
        j
        for i, row in enumerate(report.rows)
        if row.name in named
        for j in (i - 1, i, i + 1)
    }
    ends = {*range(_HEAD), *range(total - _TAIL, total)}
    return sorted(j for j in ends | near if 0 <= j < total)


def row_table(
    report: Measured, width: int, *, all: bool, ascii: bool
) -> RenderableType:
    """The lines of the rows, names elided to what the numbers leave of ``width``."""
    shown = shown_rows(report, all)
    if not shown:
        return Text("  no layers", "dim")
    numbers = {f.row: i for i, f in reversed([*enumerate(report.findings, 1)])}
    rows = [report.rows[i] for i in shown]
    marked = [numbers.get(row.name) for row in rows]
    columns = _columns(report, shown, wide=width >= _WIDE, widest=width >= _WIDEST)
    room = width - 2 * _GAP - 2
    while len(columns) > 1 and room - sum(map(_width, columns)) < _MIN_NAME:
        columns.remove(min(columns, key=lambda column: column.weight))
    room = max(room - sum(map(_width, columns)), 4)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    table.add_column("", justify="right", no_wrap=True, width=2)
    table.add_column("layer", no_wrap=True)
    for column in columns:
        header = Text(to_ascii(column.header, ascii))
        table.add_column(
            header, justify=column.justify, style=column.style, no_wrap=True
        )

    previous = -1
    for k, (i, row, number) in enumerate(zip(shown, rows, marked, strict=True)):
        if i > previous + 1:
            hidden = to_ascii(f"… {i - previous - 1} more rows", ascii)
            table.add_row("", Text(hidden, "dim"))
        previous = i
        style = "bold red" if number else ""
        mark = to_ascii(f"▶{number}", ascii) if number else ""
        indent = "" if row.kind == "layer" else "  "
        name = elide(indent + to_ascii(row.name, ascii), room, to_ascii("…", ascii))
        cells = [Text(to_ascii(column.cells[k], ascii)) for column in columns]
        table.add_row(Text(mark, style), Text(name, style), *cells)
    return table


def _columns(
    report: Measured, shown: Sequence[int], *, wide: bool, widest: bool
) -> list[_Column]:
    rows = [report.rows[i] for i in shown]
    summary = report.summary()
    operations = [
        _SHORT.get(row.operation, elide(row.operation, 8, ".")) for row in rows
    ]
    columns = [_Column("", operations, style="dim", weight=1)]
    if wide:
        shapes = [elide("x".join(map(str, row.shape)) or "scalar", 16) for row in rows]
        columns.append(_Column("output", shapes, style="dim"))
    if widest and any(row.role for row in rows):
        roles = [elide(row.role, 20) for row in rows]
        columns.append(_Column("role", roles, style="dim"))
    if "second_moment" in summary:
        moment = summary["second_moment"]
        # An exclamation mark where the median leaves out seeds that overflowed.
        broken = ~np.isfinite(report.forward["second_moment"]) & report.ran
        partial = broken.any(axis=0) & (moment.share_nonfinite < 1)
        medians = [compact(moment.median[i]) + "!" * bool(partial[i]) for i in shown]
        columns.append(_Column("E[x²]", medians, "right", weight=5))
        ranges = [_range(moment.q05[i], moment.q95[i]) for i in shown]
        columns.append(_Column("5-95%", ranges, style="dim", weight=2))
    columns += _predicted(report, shown)
    if "dead" in summary:
        shares = summary["dead"].median
        dead = [_dead(report.rows[i], float(shares[i])) for i in shown]
        columns.append(_Column("dead/N", dead, "right", weight=3))
    if "grad_rms" in summary:
        undefined = np.isnan(report.backward["grad_rms"]).all(axis=0)
        median = summary["grad_rms"].median
        grads = ["" if undefined[i] else compact(median[i]) for i in shown]
        columns.append(_Column("grad rms", grads, "right", weight=4))
    return columns + _asked_for(report, summary, shown)


# What every report measures of activations; anything else was asked for.
_USUAL = frozenset(
    "mean var second_moment rms chan_sq_mean chan_var cos absmax frac_zero "
    "frac_nonfinite dead".split()
)


def _asked_for(
    report: Measured, summary: Mapping[str, Summary], shown: Sequence[int]
) -> list[_Column]:
    """Metrics that were asked for, where a row that is shown has one."""
    columns = []
    for name, values in report.forward.items():
        known = ~np.isnan(values).all(axis=0)
        if name not in _USUAL and known[shown].any():
            median = summary[name].median
            cells = [compact(median[i]) if known[i] else "" for i in shown]
            columns.append(_Column(name, cells, "right", weight=3))
    return columns


def _predicted(report: Measured, shown: Sequence[int]) -> list[_Column]:
    """What theory expects, and how many standard errors the measured is above it."""
    theory = report.predicted.get("second_moment")
    if theory is None:
        return []
    far = report.predicted["second_moment_z"]
    expected = ["-" if math.isnan(theory[i]) else compact(theory[i]) for i in shown]
    away = ["-" if math.isnan(far[i]) else f"{far[i]:+.1f}" for i in shown]
    return [
        _Column("predicted", expected, "right", weight=5),
        _Column("off/se", away, "right", weight=4),
    ]


def _width(column: _Column) -> int:
    return max(map(len, [column.header, *column.cells])) + _GAP


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{compact(low)} .. {compact(high)}"


def _dead(row: Row, share: float) -> str:
    if math.isnan(share) or row.kind != "layer":
        return ""
    return f"{share:.0%}/{count(row.samples)}"
