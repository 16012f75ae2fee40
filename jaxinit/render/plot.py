"""A report as a figure: the signal and its gradient against depth."""

import io
import math
import pathlib
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxinit.signal.numbers import elide
from jaxinit.signal.report import Report
from jaxinit.signal.serialize import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's palette, told apart with every kind of color vision.
_BLUE, _VERMILLION, _GRAY, _INK = "#0072B2", "#D55E00", "#8C8C8C", "#262626"

# Beyond this many rows points merge into the line and only some names are written.
_FEW, _MAX_NAMES = 40, 24


class _Panel(NamedTuple):
    """What one panel shows."""

    metric: str
    values: np.ndarray  # (seeds, rows)
    title: str
    color: str
    flow: str


def save_plot(report: Report, path: str | PathLike[str]) -> None:
    """Draws the second moment and the gradient's rms against depth into a file.

    Medians are lines, the bands hold 50% and 90% of the seeds. Joins are rings on
    the line. Layers at which no seed has a positive finite value, or some seeds have
    none, are marked at the edge: zeros below, infinities and NaN above.

    Args:
      report: what to draw.
      path: the file to write, ending in ``.png``, ``.svg`` or ``.pdf``.

    Raises:
      ImportError: if matplotlib is not installed.
      ValueError: if the file has another suffix.
    """
    suffix = checked_suffix(path)
    buffer = io.BytesIO()
    figure = draw(report)
    # No date: the same report gives the same file.
    undated: dict[str, Any] = {} if suffix == ".png" else {"metadata": _UNDATED[suffix]}
    figure.savefig(buffer, format=suffix[1:], dpi=150, **undated)
    write_atomically(path, buffer.getvalue())


def checked_suffix(path: str | PathLike[str]) -> str:
    """The suffix of a file that can be drawn, in lower case.

    Args:
      path: a file name.

    Returns:
      One of :data:`SUFFIXES`.

    Raises:
      ValueError: if it is none of these.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"`path` must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, which "
            f"says what kind of file to draw; got {str(path)!r}."
        )
    return suffix


def require_matplotlib() -> None:
    """Raises an ImportError that says what to install, if matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib: pip install 'jaxinit[plot]'. `to_json` and "
            "`to_records` give the numbers without it."
        ) from error


def draw(report: Report) -> "Figure":
    """The figure itself; matplotlib's global state and backend are not touched.

    Args:
      report: what to draw.

    Returns:
      A figure with one panel for the signal and, if the report has gradients, one
      for them.

    Raises:
      ImportError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    panels = _panels(report)
    depth = len(report.rows)
    width = min(max(7.0, 3.0 + 0.22 * depth), 13.0)
    figure = Figure(
        figsize=(width, 2.7 * len(panels) + 1.6),
        layout="constrained",
        facecolor="white",
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        _draw_panel(ax, report, panel)
    _label_depth(axes[-1], report)
    title = str(report.settings.get("model", "model")).split("\n")[0]
    figure.suptitle(
        f"{elide(title, 50)}: {report.verdict}",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=_INK,
    )
    return figure


def _panels(report: Report) -> list[_Panel]:
    none = np.full((len(report.seeds), len(report.rows)), np.nan)
    panels = [
        _Panel(
            "second_moment",
            report.forward.get("second_moment", none),
            "Second moment of the signal",
            _BLUE,
            "from the input →",
        )
    ]
    if "grad_rms" in report.backward:
        panels.append(
            _Panel(
                "grad_rms",
                report.backward["grad_rms"],
                "Gradient rms",
                _VERMILLION,
                "← from the output",
            )
        )
    return panels


def _draw_panel(ax: "Axes", report: Report, panel: _Panel) -> None:
    depth = np.arange(len(report.rows))
    if not report.rows:
        ax.text(0.5, 0.5, "no rows", transform=ax.transAxes, ha="center", color=_GRAY)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(panel.values) & (panel.values > 0)
    logs = np.log10(panel.values, out=np.full(panel.values.shape, np.nan), where=usable)
    bands = _quantiles(logs, (0.05, 0.25, 0.5, 0.75, 0.95))
    q05, q25, median, q75, q95 = 10.0**bands
    ax.set_yscale("log")
    ax.fill_between(depth, q05, q95, color=panel.color, alpha=0.15, linewidth=0)
    ax.fill_between(depth, q25, q75, color=panel.color, alpha=0.30, linewidth=0)
    few = len(depth) <= _FEW
    ax.plot(
        depth,
        median,
        color=panel.color,
        linewidth=1.8,
        marker="o" if few else "",
        markersize=3.5,
        solid_capstyle="round",
        zorder=3,
    )
    joins = [i for i, row in enumerate(report.rows) if row.kind == "join"]
    ax.plot(
        depth[joins],
        median[joins],
        linestyle="",
        marker="o",
        markersize=6 if few else 4,
        markerfacecolor="white",
        markeredgecolor=panel.color,
        zorder=4,
    )
    _limit(ax, bands)
    _mark_edges(ax, depth, panel)
    _mark_dead(ax, depth, median, report, panel)
    _mark_findings(ax, report, panel)
    _label_bands(ax, depth, bands, len(report.seeds), panel)
    _decorate(ax, panel, len(depth), bool(joins) and panel.color == _BLUE)


def _limit(ax: "Axes", bands: np.ndarray) -> None:
    """At least two decades, so that a flat line looks flat."""
    known = bands[np.isfinite(bands)]
    low, high = (known.min(), known.max()) if known.size else (-1.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) * 0.62, 1.0)
    low, high = max(middle - half, -300.0), min(middle + half, 300.0)
    ax.set_ylim(10.0**low, 10.0**high)


def _mark_edges(ax: "Axes", depth: np.ndarray, panel: _Panel) -> None:
    """Zeros at the lower edge, what is not finite at the upper one."""
    defined = ~np.isnan(panel.values).all(axis=0) | (panel.metric == "second_moment")
    zero = (panel.values == 0).any(axis=0)
    broken = (~np.isfinite(panel.values)).any(axis=0) & defined
    for hits, height, marker, word, va in (
        (zero, 0.03, "v", "exactly zero", "bottom"),
        (broken, 0.97, "X", "not finite", "top"),
    ):
        if not hits.any():
            continue
        where = depth[hits]
        ax.plot(
            where,
            np.full(len(where), height),
            linestyle="",
            marker=marker,
            markersize=6,
            color=_INK,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
        )
        ax.annotate(
            word,
            (where[0], height),
            xycoords=ax.get_xaxis_transform(),
            xytext=(7, 0),
            textcoords="offset points",
            va=va,
            fontsize=8,
            color=_INK,
        )


def _mark_dead(
    ax: "Axes", depth: np.ndarray, median: np.ndarray, report: Report, panel: _Panel
) -> None:
    """Crosses on layers in which most channels are dead."""
    names = {finding.row for finding in report.findings if finding.kind == "dead"}
    hits = [i for i, row in enumerate(report.rows) if row.name in names]
    if panel.metric != "second_moment" or not hits:
        return
    ax.plot(
        depth[hits],
        median[hits],
        linestyle="",
        marker="x",
        markersize=9,
        markeredgewidth=2,
        color=_INK,
        zorder=6,
    )


def _mark_findings(ax: "Axes", report: Report, panel: _Panel) -> None:
    """A thin line at each layer that a finding about this metric names."""
    metrics = {panel.metric} | ({"rms", "dead"} if panel.color == _BLUE else set())
    places: dict[int, list[str]] = {}
    for finding in report.findings:
        if finding.metric in metrics and finding.row in report.layers:
            places.setdefault(report.layers.index(finding.row), []).append(finding.kind)
    for place, kinds in places.items():
        late = place > 0.7 * len(report.rows)
        ax.axvline(place, color=_GRAY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        ax.annotate(
            f"{', '.join(dict.fromkeys(kinds))} from {elide(report.layers[place], 28)}",
            (place, 0.955),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            fontsize=8,
            color=_INK,
            zorder=6,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _label_bands(
    ax: "Axes", depth: np.ndarray, bands: np.ndarray, num_seeds: int, panel: _Panel
) -> None:
    """Names the line and the bands at their right end, in place of a legend."""
    known = np.flatnonzero(np.isfinite(bands).all(axis=0))
    if not known.size:
        return
    end = int(known[-1])
    low, high = (math.log10(y) for y in ax.get_ylim())
    spacing = 0.075 * (high - low)
    texts = [("median" if num_seeds > 1 else "one seed", "bold")]
    if bands[4, end] - bands[2, end] > spacing / 4:
        texts.append((f"5-95% of {num_seeds} seeds", "normal"))
    heights = [bands[2, end], max(bands[4, end], bands[2, end] + spacing)]
    for (text, weight), height in zip(texts, heights, strict=False):
        ax.annotate(
            text,
            (depth[end], 10.0**height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            fontweight=weight,
            color=panel.color,
            annotation_clip=False,
        )


def _decorate(ax: "Axes", panel: _Panel, depth: int, joins: bool) -> None:
    title = panel.title + ("   (rings: a branch joins the stream)" if joins else "")
    ax.set_title(title, loc="left", fontsize=10, color=panel.color)
    ax.set_title(panel.flow, loc="right", fontsize=8, color=_GRAY)
    ax.set_xlim(-0.6, max(depth - 0.4, 0.6))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.minorticks_off()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#BFBFBF")
    ax.tick_params(colors=_INK, labelsize=8, length=3, color="#BFBFBF")


def _label_depth(ax: "Axes", report: Report) -> None:
    """Names of the rows under the axis, evenly thinned out where there are many."""
    if not report.rows:
        ax.set_xticks([])
        return
    places = range(0, len(report.rows), math.ceil(len(report.rows) / _MAX_NAMES))
    names = [elide(report.rows[i].name, 24) for i in places]
    steep = max(map(len, names)) * len(names) > 60
    ax.set_xticks(
        list(places),
        names,
        rotation=50 if steep else 0,
        ha="right" if steep else "center",
        rotation_mode="anchor" if steep else "default",
        fontsize=7.5,
        color=_INK,
    )


def _quantiles(logs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles over seeds, `(levels, rows)`; NaN where a row has no value."""
    result = np.full((len(levels), logs.shape[1]), np.nan)
    known = ~np.isnan(logs).all(axis=0)
    if known.any():
        result[:, known] = np.nanquantile(logs[:, known], levels, axis=0)
    return result


_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
