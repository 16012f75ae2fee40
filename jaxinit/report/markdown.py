"""A report as Markdown of bounded size, for issues, pull requests and agents."""

import numpy as np

from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact, elide
from jaxinit.report.rows import shown_rows
from jaxinit.report.text import visible

_MAX_FINDINGS, _MAX_TEXT, _MAX_NAME = 8, 600, 60


def markdown(report: Measured, max_rows: int) -> str:
    """The verdict, the findings with their remedies, and a table of the rows.

    Args:
      report: what to write.
      max_rows: how many rows to show; of more, those at the ends and at findings.

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
    shown = shown_rows(report, False)[:max_rows]
    if shown:
        lines += ["", "| layer | operation | E[x²] | grad rms |", "|---|---|--:|--:|"]
        medians = [
            report.forward.get("second_moment"),
            report.backward.get("grad_rms"),
        ]
        for i in shown:
            row = report.rows[i]
            cells = [_cell(values, i) for values in medians]
            name, operation = _code(row.name), _code(row.operation)
            lines.append(f"| {name} | {operation} | {cells[0]} | {cells[1]} |")
        if len(shown) < len(report.rows):
            lines += ["", f"{len(report.rows) - len(shown)} rows are left out."]
    return "\n".join(lines) + "\n"


def _cell(values: np.ndarray | None, i: int) -> str:
    if values is None or np.isnan(values[:, i]).all():
        return ""
    return compact(float(np.nanmedian(values[:, i])))


def _code(text: str, width: int = _MAX_NAME) -> str:
    """Text that is no markup: in a code span, and without what would end it."""
    plain = visible(text).replace("`", "'").replace("|", "¦")
    return f"`{elide(plain, width) or ' '}`"


def _prose(text: str) -> str:
    escaped = elide(visible(text), _MAX_TEXT)
    for sign in "\\`*_[]<>|&":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
