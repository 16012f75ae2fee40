"""A report as Markdown of bounded size, for issues, pull requests and agents."""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxinit.report.lines import folded
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact, elide
from jaxinit.report.rows import furthest, span
from jaxinit.report.summary import middle
from jaxinit.report.text import visible

_MAX_FINDINGS, _MAX_TEXT, _MAX_NAME = 8, 600, 60


def markdown(report: Measured, max_rows: int) -> str:
    """The verdict, the findings with their remedies, and a table of the rows.

    Args:
      report: what to write.
      max_rows: how many lines the table has at most; equal modules share lines where
        there are more rows.

    Returns:
      At most about 80 characters for each of ``max_rows``, and 10 000 beside.
    """
    title = elide(
        visible(str(report.settings.get("model", "model")).split("\n")[0]), _MAX_NAME
    )
    lines = [
        f"**{_code(title)}: {report.verdict}** ({len(report.seeds)} seeds, "
        f"{len(report.rows)} rows)",
        "",
    ]
    for finding in report.findings[:_MAX_FINDINGS]:
        place = f" at {_code(finding.row)}" if finding.row is not None else ""
        lines.append(f"- **{finding.kind}**{place}: {_prose(finding.message)}")
        if finding.remedy is not None:
            lines.append(f"  Remedy: {_code(finding.remedy, _MAX_TEXT)}")
    if len(report.findings) > _MAX_FINDINGS:
        lines.append(f"- and {len(report.findings) - _MAX_FINDINGS} more findings")
    lines += _table(report, max_rows)
    return "\n".join(lines) + "\n"


def _table(report: Measured, max_rows: int) -> Iterator[str]:
    lines = folded(report, max_rows)[:max_rows]
    if not lines:
        return
    yield from ("", "| layer | operation | E[x²] | grad rms |", "|---|---|--:|--:|")
    moment = report.forward.get("second_moment")
    grad = report.backward.get("grad_rms")
    for name, rows in lines:
        operations = {report.rows[i].operation for i in rows}
        shown = [
            _code(name) + (f" ({len(rows)} rows)" if len(rows) > 1 else ""),
            _code(operations.pop()) if len(operations) == 1 else "",
            "" if moment is None else _furthest(moment, rows),
            "" if grad is None else span(middle(grad), grad, rows),
        ]
        yield f"| {' | '.join(shown)} |"
    left = len(report.rows) - sum(len(rows) for _, rows in lines)
    if len(lines) + left < len(report.rows):
        yield from (
            "",
            "Equal modules share lines: E[x²] furthest from 1, the span of gradients.",
        )
    if left:
        yield from ("", f"{left} rows are left out.")


def _furthest(moment: np.ndarray, rows: Sequence[int]) -> str:
    medians = middle(moment)
    value = medians[furthest(medians, moment, rows)]
    return "" if np.isnan(value) else compact(float(value))


def _code(text: str, width: int = _MAX_NAME) -> str:
    """Text that is no markup: in a code span, and without what would end it."""
    plain = visible(text).replace("`", "'").replace("|", "¦")
    return f"`{elide(plain, width) or ' '}`"


def _prose(text: str) -> str:
    escaped = elide(visible(text), _MAX_TEXT)
    for sign in "\\`*_[]<>|&":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
