"""Charts as a matplotlib figure; its global state and backend are not touched."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinit.report.charts import COLORS, DASHES, Chart, Charts, Curve, legend_of
from jaxinit.report.marks import INK, PLAIN
from jaxinit.report.numbers import elide
from jaxinit.report.plot import require_matplotlib
from jaxinit.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NAMES = 24


def figure_of(charts: Charts) -> "Figure":
    """The figure: charts in their rows, one legend beside all.

    Raises:
      ImportError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    rows, columns = len(charts), max(len(row) for row in charts)
    wide = 7.0 if columns == 1 else max(3.0, 5.2 - 0.6 * columns)
    figure = Figure(
        figsize=(wide * columns + 1.8, 3.1 * rows + 0.5),
        layout="constrained",
        facecolor="white",
    )
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for line, row in zip(axes, charts, strict=True):
        for ax, chart in zip(line, row, strict=False):
            _draw(ax, chart)
        for ax in line[len(row) :]:
            ax.remove()
    curves = legend_of(charts)
    handles = [_handle(curve) for curve in curves]
    names = [visible(elide(curve.name, 40)) for curve in curves]
    legend = figure.legend(
        handles, names, loc="outside right upper", frameon=False, fontsize=8
    )
    for text in legend.get_texts():
        text.set(**PLAIN)
    return figure


def _handle(curve: Curve) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=_color(curve), linestyle=_dash(curve), linewidth=2)


def _color(curve: Curve) -> str:
    return COLORS[curve.number % len(COLORS)]


def _dash(curve: Curve) -> Any:
    return DASHES[curve.number // len(COLORS) % len(DASHES)]


def _draw(ax: "Axes", chart: Chart) -> None:
    for curve in chart.curves:
        ax.plot(
            curve.x,
            curve.middle,
            color=_color(curve),
            linestyle=_dash(curve),
            marker="o" if chart.marks else "",
            markersize=4,
        )
        ax.fill_between(
            curve.x, curve.low, curve.high, color=_color(curve), alpha=0.18, linewidth=0
        )
    if np.isfinite(chart.level):
        ax.axhline(chart.level, color="#8C8C8C", linestyle=":")
    shown = any(np.isfinite(c.middle).any() for c in chart.curves)
    if chart.x_log and shown:  # an axis without data has no logarithm
        ax.set_xscale("log", base=chart.x_log)
    if chart.y_log and shown:
        ax.set_yscale("log", base=chart.y_log)
    if chart.names:
        _name(ax, chart.names)
    ax.set_title(chart.title, loc="left", fontsize=10, color=INK, **PLAIN)
    ax.set_xlabel(chart.x_label, fontsize=9, **PLAIN)
    ax.set_ylabel(chart.y_label, fontsize=9, **PLAIN)
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _name(ax: "Axes", names: tuple[str, ...]) -> None:
    places = range(0, len(names), -(-len(names) // _MAX_NAMES))
    ax.set_xticks(
        list(places),
        [elide(visible(names[i]), 24) for i in places],
        rotation=50,
        ha="right",
        rotation_mode="anchor",
        fontsize=7,
        **PLAIN,
    )
