"""A report as one page for a browser: everything is in it, nothing is fetched.

The profile is SVG that a short script draws: a plotting library that could be inlined
would be many times the two megabytes that the whole page may take.
"""

import html
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.report.text import visible

_HERE = pathlib.Path(__file__).parent / "page"

# A page that fetches nothing, and that cannot be made to.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

_PANELS = (
    ("forward", "second_moment", "Second moment of the signal", "signal"),
    ("backward", "grad_rms", "Gradient rms", "grad"),
)


def page(reports: Mapping[str, Measured]) -> str:
    """The page of one report, or of several that are compared.

    Args:
      reports: by a name for each; the name of a single one is not shown.

    Returns:
      A whole HTML document, of ASCII.
    """
    title = str(next(iter(reports.values())).settings.get("model", "model"))
    title = title.split("\n")[0][:200]
    return document(f"{title} at initialization", sections(reports))


def sections(reports: Mapping[str, Measured]) -> Iterator[str]:
    """Everything about each report, as parts of a page."""
    for number, (name, report) in enumerate(reports.items()):
        heading = f"<h2>{_text(name)}</h2>" if len(reports) > 1 else ""
        yield (
            f'<section class="report" id="report-{number}">{heading}'
            + "\n".join(_section(report))
            + "</section>"
        )


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
      title: its heading.
      parts: HTML, of which names and the like are escaped.

    Returns:
      An HTML document, of ASCII.
    """
    whole = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{_text(title)}: jaxinit report</title>
<style>{_file("page.css")}</style></head>
<body><main><h1>{_text(title)}</h1>{"".join(parts)}</main>
<script>{_file("page.js")}</script></body></html>
"""
    return whole.encode("ascii", "xmlcharrefreplace").decode()


def frame(document: str) -> str:
    """A page inside of another, for the output of a notebook's cell."""
    return (
        '<iframe sandbox="allow-scripts" style="width:100%;height:42rem;border:0" '
        f'title="jaxinit report" srcdoc="{html.escape(document)}"></iframe>'
    )


def _section(report: Measured) -> Iterator[str]:
    yield from _facts(report)
    yield from _verdict(report)
    yield (
        '<svg class="profile" tabindex="0" role="application" aria-label="Depth '
        "profile: arrow keys go from layer to layer, and what is chosen is read "
        'out below"></svg>'
    )
    yield (
        '<p class="legend">Line: median over seeds; bands: 50% and 90% of them. Rings '
        "are joins, where a branch enters a stream. Marks at the lower edge: exactly "
        "zero; at the upper: not finite. Dashed: a finding.</p>"
        '<div class="detail" aria-live="polite"></div>'
        '<div class="tools"><input type="search" placeholder="filter rows" '
        'aria-label="Filter rows"><button type="button" class="problems" '
        'aria-pressed="false">only findings</button><button type="button" class="fold" '
        'aria-pressed="false">fold by module</button>'
        '<span class="shown hint" role="status"></span></div>'
    )
    yield '<div class="scroll">'
    yield from _table(report)
    yield "</div>"
    if report.notes:
        notes = "".join(f"<li>{_text(note)}</li>" for note in report.notes)
        yield f"<h2>Notes</h2><ul>{notes}</ul>"
    data = json.dumps(_data(report), separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # so that no name ends the script
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    yield f'<script type="application/json">{data}</script>'


def _facts(report: Measured) -> Iterator[str]:
    settings = report.settings
    facts = [f"{len(report.seeds)} seeds", f"{len(report.rows)} rows"]
    if settings.get("batch_size") is not None:
        facts.append(f"batch {settings['batch_size']}")
    facts.append(f"gradients of a {report.mode}" if report.backward else "no gradients")
    facts += [str(settings[k]) for k in ("backend", "strategy") if settings.get(k)]
    yield f'<p class="facts">{_text(" · ".join(facts))}</p>'


def _verdict(report: Measured) -> Iterator[str]:
    healthy = " ok" if report.verdict == "ok" else ""
    yield f'<p class="verdict{healthy}">Verdict: {_text(report.verdict)}</p>'
    yield '<ol class="findings">'
    for finding in report.findings:
        place = f" at {finding.row}" if finding.row is not None else ""
        share = f"{finding.seed_share:.0%} of seeds"
        yield f"<li><b>{_text(finding.kind + place)}</b>, {share}<br>"
        yield _text(finding.message)
        if finding.remedy is not None:
            yield f"<br>Remedy: <code>{_text(finding.remedy)}</code>"
        yield "</li>"
    if not report.findings:
        yield "<li>The findings are empty: nothing was judged.</li>"
    yield "</ol>"


_COLUMNS = (
    "layer",
    "operation",
    "output",
    "E[x²]",
    "dead",
    "grad rms",
    "fan in",
    "act.",
)
_WIDE = {1, 2, 6, 7}


def _table(report: Measured) -> Iterator[str]:
    yield "<table><thead><tr>"
    for i, name in enumerate(_COLUMNS):
        wide = ' class="wide"' if i in _WIDE else ""
        yield f'<th scope="col"{wide}><button type="button">{_text(name)}</button></th>'
    yield "</tr></thead><tbody>"
    named = {finding.row for finding in report.findings if finding.is_problem}
    medians = {
        metric: _median(values)
        for metric, values in (report.forward | report.backward).items()
        if metric in ("second_moment", "dead", "grad_rms")
    }
    for i, row in enumerate(report.rows):
        problem = ' class="problem"' if row.name in named else ""
        yield f'<tr data-row="{i}" tabindex="-1"{problem}>'
        yield from _cells(row, {name: float(m[i]) for name, m in medians.items()})
        yield "</tr>"
    yield "</tbody></table>"


def _cells(row: Row, medians: Mapping[str, float]) -> Iterator[str]:
    yield f"<td>{_text(row.name)}</td>"
    yield f'<td class="wide">{_text(row.operation)}</td>'
    yield f'<td class="wide">{_text("x".join(map(str, row.shape)))}</td>'
    for metric in ("second_moment", "dead", "grad_rms"):
        value = medians.get(metric, math.nan)
        shown = "" if math.isnan(value) else compact(value)
        sort = "" if math.isnan(value) else f"{value:.6g}".replace("inf", "Infinity")
        yield f'<td data-value="{sort}">{shown}</td>'
    yield f'<td class="wide">{"" if row.fan_in is None else row.fan_in}</td>'
    yield f'<td class="wide">{_text(row.activation or "")}</td>'


def _data(report: Measured) -> dict[str, Any]:
    """What the script draws: logarithms of each seed, to three places."""
    problems: dict[str | None, list[str]] = {}
    for finding in report.findings:
        if finding.is_problem:
            problems.setdefault(finding.row, []).append(finding.kind)
    norms = report.weights.get("weight_norm")
    weights = (
        {} if norms is None else dict(zip(report.params, _median(norms), strict=True))
    )
    rows = [
        {
            "name": visible(row.name),
            "kind": row.kind,
            "module": visible(row.name.rpartition("/")[0]),
            "finding": ", ".join(dict.fromkeys(problems.get(row.name, []))),
            "facts": list(_row_facts(row, weights)),
        }
        for row in report.rows
    ]
    panels = [
        _panel(getattr(report, group)[metric], report.ran, title, kind)
        for group, metric, title, kind in _PANELS
        if metric in getattr(report, group)
    ]
    return {"rows": rows, "panels": panels, "columns": len(_COLUMNS)}


def _row_facts(row: Row, weights: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    shape = "x".join(map(str, row.shape)) or "scalar"
    yield "operation", visible(f"{row.operation}, {row.dtype} {shape}")
    if row.fan_in is not None:
        yield "fans", f"in {row.fan_in}, out {row.fan_out}"
    if row.role:
        yield "role", visible(row.role)
    if row.activation:
        yield "activation", visible(row.activation)
    for name in row.params[:4]:
        norm = f", norm {compact(float(weights[name]))}" if name in weights else ""
        yield "weights", visible(name) + norm


def _panel(
    values: np.ndarray, ran: np.ndarray, title: str, kind: str
) -> dict[str, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log10(values), np.nan)
    reached = ~np.isnan(values).all(axis=0)
    return {
        "title": title,
        "kind": kind,
        "logs": [
            [round(v, 3) if math.isfinite(v) else None for v in column]
            for column in logs.T.tolist()
        ],
        "zero": (values == 0).sum(axis=0).tolist(),
        "broken": (~np.isfinite(values) & ran & reached).sum(axis=0).tolist(),
    }


def _median(values: np.ndarray) -> np.ndarray:
    """Over seeds, of those that are no NaN; NaN where there is none."""
    result = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    if known.any():
        result[known] = np.nanmedian(values[:, known], axis=0)
    return result


def _text(text: str) -> str:
    return html.escape(visible(text))


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
