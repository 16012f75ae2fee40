"""The table of a page: one line for each row, values that the script sorts by."""

import html
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxinit.report.html_data import asked_for
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.report.summary import middle
from jaxinit.report.text import visible


class Column(NamedTuple):
    """One column.

    Attributes:
      header: above it.
      cells: text for each row.
      values: what to sort by, if not by the text; NaN where there is nothing.
      wide: whether a phone has no room for it.
    """

    header: str
    cells: list[str]
    values: np.ndarray | None = None
    wide: bool = False


def table_columns(report: Measured) -> list[Column]:
    """The columns: what each row is, what was measured, what theory expects."""
    rows = report.rows
    columns = [
        Column("layer", [row.name for row in rows]),
        Column("operation", [row.operation for row in rows], wide=True),
        Column("output", ["x".join(map(str, row.shape)) for row in rows], wide=True),
        _measured(report, "second_moment", "E[x²]"),
    ]
    if "second_moment" in report.predicted:
        none = np.full(len(rows), np.nan)
        far = report.predicted.get("second_moment_z", none)
        away = ["" if math.isnan(z) else f"{z:+.1f}" for z in far]
        columns += [
            _numbers("predicted", report.predicted["second_moment"]),
            Column("off/se", away, far),
        ]
    columns += [
        _measured(report, "dead", "dead"),
        _measured(report, "grad_rms", "grad rms"),
        *(_measured(report, metric, metric) for metric in asked_for(report)),
    ]
    fans = ["" if row.fan_in is None else str(row.fan_in) for row in rows]
    columns.append(Column("fan in", fans, wide=True))
    columns.append(Column("act.", [row.activation or "" for row in rows], wide=True))
    return columns


def table(report: Measured, columns: list[Column]) -> Iterator[str]:
    """The HTML, with a button above each column."""
    yield "<table><thead><tr>"
    for column in columns:
        head = f'<button type="button">{_text(column.header)}</button>'
        yield f'<th scope="col"{_wide(column)}>{head}</th>'
    yield "</tr></thead><tbody>"
    named = {finding.row for finding in report.findings if finding.is_problem}
    for i, row in enumerate(report.rows):
        problem = ' class="problem"' if row.name in named else ""
        yield f'<tr data-row="{i}" tabindex="-1"{problem}>'
        for column in columns:
            yield f"<td{_wide(column)}{_sort(column, i)}>{_text(column.cells[i])}</td>"
        yield "</tr>"
    yield "</tbody></table>"


def _measured(report: Measured, metric: str, header: str) -> Column:
    values = (report.forward | report.backward).get(metric)
    none = np.full(len(report.rows), np.nan)
    return _numbers(header, none if values is None else middle(values))


def _numbers(header: str, values: np.ndarray) -> Column:
    cells = ["" if math.isnan(v) else compact(float(v)) for v in values]
    return Column(header, cells, values)


def _sort(column: Column, i: int) -> str:
    if column.values is None:
        return ""
    value = column.values[i]
    shown = "" if math.isnan(value) else f"{value:.6g}".replace("inf", "Infinity")
    return f' data-value="{shown}"'


def _wide(column: Column) -> str:
    return ' class="wide"' if column.wide else ""


def _text(text: str) -> str:
    return html.escape(visible(text))
