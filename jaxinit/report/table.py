"""A report as text: one line per layer, then the verdict and what to do."""

import io
import shutil
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jaxinit.report.findings import Finding, Kind
from jaxinit.report.lines import Line, table_lines
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact, elide, is_bias, some
from jaxinit.report.rows import Column, fitting_columns, row_table
from jaxinit.report.text import to_ascii, visible

# Parameters' gradients are worth a line once they span this factor.
_TELLING = 1e3

# Remedies that are shown besides those of the findings.
_OTHERS = 3

# Narrower ones have no room for a name and a number.
MIN_WIDTH = 20

_STYLES: dict[Kind, str] = {"ok": "bold green", "unknown": "bold yellow"}


class ReportView:
    """A report that rich can draw, at whatever width and encoding it finds.

    Args:
      report: what to draw.
      all: whether to show every row, however many there are.
      ascii: whether to keep to ASCII; None leaves it to the console.
    """

    def __init__(
        self, report: Measured, *, all: bool = False, ascii: bool | None = None
    ):
        self._report = report
        self._all = all
        self._ascii = ascii

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        report = self._report
        ascii = options.ascii_only if self._ascii is None else self._ascii
        lines = table_lines(report, self._all)
        width = options.max_width
        columns = fitting_columns(report, lines, width, ascii=ascii)
        del console
        yield _text(_title(report), "bold", ascii)
        yield row_table(report, lines, columns, width, ascii=ascii)
        for line in _lines_below(report, lines, columns):
            yield Padding(_text(line, "dim", ascii), (0, 0, 0, 2))
        yield Text()
        yield from _verdict(report, ascii)
        if report.notes:
            yield Text()
            yield _text("Notes", "bold", ascii)
            yield _listed([("-", note, "") for note in report.notes], ascii)


def renderable(report: Measured) -> ReportView:
    """The report for a rich console."""
    return ReportView(report)


def plain_text(
    report: Measured, *, all: bool = False, width: int = 100, ascii: bool = False
) -> str:
    """The report as plain text, without colors or trailing blanks.

    Args:
      report: what to write.
      all: whether each row has a line; otherwise long reports are folded.
      width: number of columns, at least :data:`MIN_WIDTH`.
      ascii: whether to keep to ASCII.

    Returns:
      Lines joined by newlines, without a last one.

    Raises:
      TypeError: if an argument is of another type.
      ValueError: if ``width`` is below that.
    """
    for name, switch in (("all", all), ("ascii", ascii)):
        if not isinstance(switch, bool):
            raise TypeError(f"`{name}` must be True or False, got {switch!r:.80}.")
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"`width` must be a number of columns, got {width!r:.80}.")
    if width < MIN_WIDTH:
        raise ValueError(f"`width` must be at least {MIN_WIDTH} columns, got {width}.")
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
    )
    console.print(ReportView(report, all=all, ascii=ascii))
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().split("\n"))


def printed(report: Measured, *, all: bool = False) -> str:
    """The report as ``print`` shows it: as wide as the terminal, or as COLUMNS says.

    Args:
      report: what to write.
      all: whether to show every row, however many there are.

    Returns:
      The text; ASCII if that is all that standard output can encode.
    """
    columns = shutil.get_terminal_size((100, 24)).columns
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    ascii = not encoding.lower().replace("-", "").startswith("utf")
    return plain_text(report, all=all, width=max(columns, MIN_WIDTH), ascii=ascii)


def _title(report: Measured) -> str:
    settings = report.settings
    model = visible(str(settings.get("model", "model")).split("\n")[0])
    parts = [elide(model, 40), f"{len(report.seeds)} seeds"]
    if settings.get("batch_size") is not None:
        parts.append(f"batch {settings['batch_size']}")
    if report.backward:
        parts.append(f"gradients of {'a probe' if report.mode == 'probe' else 'loss'}")
    for name in ("backend", "strategy"):
        if settings.get(name) is not None:
            parts.append(str(settings[name]))
    if report.loss is not None:
        parts.append(f"loss {compact(float(np.median(report.loss)))}")
    return " · ".join(parts)


def _lines_below(
    report: Measured, lines: Sequence[Line], columns: Sequence[Column]
) -> Iterator[str]:
    if report.model:
        yield ", ".join(
            f"{name} {compact(float(np.median(values)))}"
            for name, values in report.model.items()
        )
    if len(lines) < len(report.rows):
        yield (
            f"{len(report.rows)} rows in {len(lines)} lines. One that stands for "
            "several shows the E[x²] furthest from 1, the lowest 5% to the highest "
            "95%, all seeds, the most dead, and the span of the rest. "
            "report.table(all=True), or --all in a shell, shows each row."
        )
    legends = [column.legend for column in columns if column.legend]
    if report.rows and legends:
        yield f"{'; '.join(legends)}."
    yield from _parameters(report)
    if report.unreached:
        yield f"Parameters that meet no data: {some(report.unreached)}."


def _parameters(report: Measured) -> Iterator[str]:
    """A line on the parameters' gradients, where it tells more than the rows do."""
    norms = report.weights.get("wgrad_norm")
    if norms is None or not norms.size:
        return
    median = np.array([np.median(column) for column in norms.T])
    # Without biases: a key's bias has none but rounding, since softmax ignores it.
    median[[is_bias(name) for name in report.params]] = np.nan
    zero = [
        name for name, value in zip(report.params, median, strict=True) if value == 0
    ]
    if zero:
        yield f"Parameters whose gradient is exactly zero: {some(zero)}."
    known = np.flatnonzero(np.isfinite(median) & (median > 0))
    if known.size and median[known].max() > _TELLING * median[known].min():
        low = int(known[np.argmin(median[known])])
        high = int(known[np.argmax(median[known])])
        yield (
            f"Gradient norms of parameters run from {compact(median[low])} at "
            f"{report.params[low]} to {compact(median[high])} at {report.params[high]}."
        )


def _verdict(report: Measured, ascii: bool) -> Iterator[RenderableType]:
    line = Text("Verdict: ", "bold")
    line.append(report.verdict, _STYLES.get(report.verdict, "bold red"))
    yield line
    if not report.findings:
        yield Text("  The findings are empty: nothing was judged.", "yellow")
    if report.verdict == "ok":
        yield _listed([("", f.message, "") for f in report.findings], ascii)
        return
    entries = []
    for number, finding in enumerate(report.findings, 1):
        entries.append((str(number), _headline(finding), "bold"))
        entries.append(("", finding.message, ""))
        if finding.remedy is not None:
            entries.append(("→", finding.remedy, "cyan"))
    shown = {finding.remedy for finding in report.findings}
    others = [r for r in report.remedies if not {r.line, r.printed} & shown]
    for remedy in others[:_OTHERS]:
        entries.append(("or", remedy.printed, "dim cyan"))
    yield _listed(entries, ascii)


def _headline(finding: Finding) -> str:
    place = f" at {finding.row}" if finding.row is not None else ""
    metric = f": {finding.metric}" if finding.metric else ""
    return f"{finding.kind}{metric}{place}, {finding.seed_share:.0%} of seeds"


def _listed(entries: list[tuple[str, str, str]], ascii: bool) -> Table:
    """Marks in a narrow column, wrapped text beside them."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True, width=4, style="bold")
    table.add_column(overflow="fold")
    for mark, text, style in entries:
        table.add_row(to_ascii(mark, ascii), _text(text, style, ascii))
    return table


def _text(text: str, style: str, ascii: bool) -> Text:
    return Text(to_ascii(text, ascii), style)
