"""A report as one page for a browser: everything is in it, nothing is fetched.

The profile is SVG that a short script draws: a plotting library that could be inlined
would be many times the two megabytes that the whole page may take.
"""

import html
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from jaxinit.report.html_data import asked_for, page_data, pickable
from jaxinit.report.html_table import table, table_columns
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.report.text import visible

_HERE = pathlib.Path(__file__).parent / "page"

# A page that fetches nothing, and that cannot be made to.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; "
    "base-uri 'none'; form-action 'none'"
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
    columns = table_columns(report)
    yield from _facts(report)
    yield from _verdict(report)
    yield from _picker(report)
    yield (
        '<svg class="profile" tabindex="0" role="application" aria-label="Depth '
        "profile: arrow keys go from layer to layer, and what is chosen is read "
        'out below"></svg>'
    )
    theory = " Dotted: what theory expects." if report.predicted else ""
    yield (
        '<p class="legend">Line: median over seeds; bands: 50% and 90% of them. Rings '
        "are joins, where a branch enters a stream. Marks at the lower edge: exactly "
        f"zero; at the upper: not finite. Dashed: a finding.{theory}</p>"
        '<div class="detail" aria-live="polite"></div>'
        '<div class="tools"><input type="search" placeholder="filter rows" '
        'aria-label="Filter rows"><button type="button" class="problems" '
        'aria-pressed="false">only findings</button><button type="button" class="fold" '
        'aria-pressed="false">fold by module</button>'
        '<span class="shown hint" role="status"></span></div>'
    )
    yield '<div class="scroll">'
    yield from table(report, columns)
    yield "</div>"
    if report.notes:
        notes = "".join(f"<li>{_text(note)}</li>" for note in report.notes)
        yield f"<h2>Notes</h2><ul>{notes}</ul>"
    data = json.dumps(
        page_data(report, len(columns)), separators=(",", ":"), allow_nan=False
    )
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
    of_model = [f"{n} {compact(float(np.median(v)))}" for n, v in report.model.items()]
    if of_model:
        yield f'<p class="facts">The model: {_text(", ".join(of_model))}</p>'


def _picker(report: Measured) -> Iterator[str]:
    """Which metric to draw besides."""
    names, asked = pickable(report), asked_for(report)
    yield '<p class="tools"><label>Also draw <select class="more">'
    yield '<option value="">nothing more</option>'
    for title, wanted in (("asked for", True), ("always measured", False)):
        options = "".join(
            f'<option value="{i}">{_text(name)}</option>'
            for i, name in enumerate(names)
            if (name in asked) == wanted
        )
        if options:
            yield f'<optgroup label="{title}">{options}</optgroup>'
    yield "</select></label></p>"


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


def _text(text: str) -> str:
    return html.escape(visible(text))


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
