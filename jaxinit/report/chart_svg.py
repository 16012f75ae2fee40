"""Charts as SVG inside of a page: no script, nothing fetched, names read aloud."""

import html
import math
import re
from collections.abc import Iterator

import numpy as np

from jaxinit.report.charts import COLORS, DASHES, Chart, Charts, Curve, legend_of
from jaxinit.report.numbers import elide
from jaxinit.report.text import visible

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 26, 36
_DASHES = dict(zip(DASHES, ("", "7 4", "2 3", "7 3 2 3"), strict=True))


def svg_of(charts: Charts) -> Iterator[str]:
    """The drawing and its legend, as parts of a page."""
    for row in charts:
        yield '<div class="charts">'
        for chart in row:
            yield "".join(_chart(chart))
        yield "</div>"
    yield '<p class="legend key">'
    for curve in legend_of(charts):
        line = f'<line x1="0" x2="26" y1="7" y2="7" {_stroke(curve)}/>'
        yield (
            f'<span><svg class="key" viewBox="0 0 26 14" aria-hidden="true">{line}'
            f"</svg> {_text(curve.name)}</span> "
        )
    yield "</p>"


def _chart(chart: Chart) -> Iterator[str]:
    width = _WIDTH if len(chart.names) < 24 else 2 * _WIDTH
    xs = _Axis([c.x for c in chart.curves], chart.x_log, _LEFT, width - _RIGHT)
    edges = [v for c in chart.curves for v in (c.low, c.middle, c.high)]
    edges.append(np.array([chart.level]))
    ys = _Axis(edges, chart.y_log, _HEIGHT - _BOTTOM, _TOP)
    names = ", ".join(visible(curve.name) for curve in chart.curves)
    yield (
        f'<svg class="chart" viewBox="0 0 {width} {_HEIGHT}" role="img" '
        f'aria-label="{_text(chart.title)}: {_text(names)}">'
    )
    yield f'<text class="title" x="{_LEFT}" y="14">{_text(chart.title)}</text>'
    for value, place in ys.ticks():
        yield f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" '
        yield f'y1="{place:.1f}" y2="{place:.1f}"/>'
        yield f'<text text-anchor="end" x="{_LEFT - 6}" y="{place + 4:.1f}">'
        yield f"{_tick(value)}</text>"
    bottom = _HEIGHT - _BOTTOM
    for value, place in () if chart.names else xs.ticks():
        yield f'<text text-anchor="middle" x="{place:.1f}" y="{bottom + 15}">'
        yield f"{_tick(value)}</text>"
    for i in range(0, len(chart.names), max(1, -(-len(chart.names) // 8))):
        yield f'<text text-anchor="middle" x="{xs(i):.1f}" y="{bottom + 15}">'
        yield f"{_text(elide(chart.names[i], 12))}</text>"
    middle = (_LEFT + width - _RIGHT) / 2
    label = " · ".join(part for part in (chart.y_label, chart.x_label) if part)
    yield f'<text text-anchor="middle" x="{middle:.0f}" y="{_HEIGHT - 4}">'
    yield f"{_text(label)}</text>"
    if math.isfinite(chart.level):
        level = ys(chart.level)
        yield f'<line class="level" x1="{_LEFT}" x2="{width - _RIGHT}" '
        yield f'y1="{level:.1f}" y2="{level:.1f}"/>'
    for curve in chart.curves:
        yield from _curve(curve, xs, ys, chart.marks)
    yield "</svg>"


def _curve(curve: Curve, xs: "_Axis", ys: "_Axis", marks: bool) -> Iterator[str]:
    with np.errstate(invalid="ignore"):
        drawn = np.isfinite(curve.middle) & xs.holds(curve.x) & ys.holds(curve.middle)
    for run in _runs(drawn):
        line = [(xs(curve.x[i]), ys(curve.middle[i])) for i in run]
        upper = [(xs(curve.x[i]), ys(_or(curve.high[i], curve.middle[i]))) for i in run]
        lower = [(xs(curve.x[i]), ys(_or(curve.low[i], curve.middle[i]))) for i in run]
        color = COLORS[curve.number % len(COLORS)]
        yield f'<polygon fill="{color}" opacity="0.18" '
        yield f'points="{_points(upper + lower[::-1])}"/>'
        yield f'<polyline fill="none" {_stroke(curve)} '
        yield f'points="{_points(line)}"><title>{_text(curve.name)}</title></polyline>'
        for x, y in line if marks or len(run) == 1 else ():
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>'


class _Axis:
    """From values to places, and where to write numbers."""

    def __init__(
        self, values: list[np.ndarray], base: int, start: float, stop: float
    ) -> None:
        self._base, self._start, self._stop = base, start, stop
        known = np.concatenate([np.ravel(v) for v in values] or [np.zeros(0)])
        known = known[self.holds(known)]
        ends = self._scaled(known)
        low, high = (ends.min(), ends.max()) if known.size else (0.0, 1.0)
        if high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        self._low, self._high = float(low), float(high)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether they can be drawn."""
        found: np.ndarray = np.isfinite(values)
        return found & (values > 0) if self._base else found

    def __call__(self, value: float) -> float:
        share = (float(self._scaled(np.asarray(value))) - self._low) / (
            self._high - self._low
        )
        return self._start + share * (self._stop - self._start)

    def ticks(self) -> Iterator[tuple[float, float]]:
        """Some round values and their places."""
        step = 10.0 ** math.floor(math.log10((self._high - self._low) / 2))
        while (self._high - self._low) / step > 6:
            step *= 2 if round(step / 10 ** math.floor(math.log10(step))) != 2 else 2.5
        if self._base:
            step = max(1.0, round(step))
        number = math.ceil(self._low / step)
        while number * step <= self._high + 1e-9:
            value = number * step
            value = self._base**value if self._base else value
            yield value, self(value)
            number += 1

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if not self._base:
            return np.asarray(values, np.float64)
        return np.asarray(np.log(values) / math.log(self._base))


def _runs(drawn: np.ndarray) -> Iterator[list[int]]:
    """Places next to each other."""
    run: list[int] = []
    for i, shown in enumerate(drawn):
        if shown:
            run.append(i)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _tick(value: float) -> str:
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), f"{value:.4g}")


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other


def _points(places: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _stroke(curve: Curve) -> str:
    dash = _DASHES[DASHES[curve.number // len(COLORS) % len(DASHES)]]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    color = COLORS[curve.number % len(COLORS)]
    return f'stroke="{color}" stroke-width="2"{dashed}'


def _text(text: str) -> str:
    return html.escape(visible(text))
