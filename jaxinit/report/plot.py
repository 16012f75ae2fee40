"""A report as a figure: the signal and its gradient against depth."""

import io
import math
import pathlib
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinit.report.files import check_path
from jaxinit.report.marks import (
    BLUE,
    GRAY,
    INK,
    PLAIN,
    VERMILLION,
    Panel,
    label_bands,
    mark_dead,
    mark_edges,
    mark_findings,
    mark_theory,
)
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import elide
from jaxinit.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

SUFFIXES = (".png", ".svg", ".pdf")

# Beyond this many rows points merge into the line and only some names are written.
_FEW, _MAX_NAMES = 40, 24


def image(figure: "Figure | SubFigure", path: str | PathLike[str]) -> bytes:
    """The file's contents for a figure; of ``path`` only the suffix matters.

    Raises:
      ValueError: if the suffix is none of :data:`SUFFIXES`.
    """
    suffix = checked_suffix(path)
    buffer = io.BytesIO()
    # No date: the same report gives the same file.
    undated: dict[str, Any] = {} if suffix == ".png" else {"metadata": _UNDATED[suffix]}
    with warnings.catch_warnings():
        # A name may hold letters that the font lacks; boxes stand for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        whole: Any = figure.get_figure(root=True) or figure
        whole.savefig(buffer, format=suffix[1:], dpi=150, **undated)
    return buffer.getvalue()


def checked_suffix(path: str | PathLike[str]) -> str:
    """The suffix of a file that can be drawn, in lower case.

    Args:
      path: a file name.

    Returns:
      One of :data:`SUFFIXES`.

    Raises:
      ValueError: if it is none of these.
    """
    check_path(path)
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


def draw(
    report: Measured,
    *,
    axes: "Axes | Sequence[Axes] | None" = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """The figure itself; matplotlib's global state and backend are not touched.

    Medians are lines, the bands hold 50% and 90% of the seeds. Joins are rings on
    the line. Layers at which no seed has a positive finite value, or some seeds have
    none, are marked at the edge: zeros below, infinities and NaN above.

    Args:
      report: what to draw.
      axes: where to draw: one for the signal, two for the gradients as well.
      figure: where to make axes; by default a new figure.

    Returns:
      A figure with one panel for the signal and, if the report has gradients, one
      for them.

    Raises:
      ImportError: if matplotlib is not installed.
      TypeError: if ``axes`` or ``figure`` is something else.
      ValueError: if both are given.
    """
    require_matplotlib()
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

    panels = _panels(report)
    if axes is not None:
        if figure is not None:
            raise ValueError("`ax` and `figure` must not both be given. Leave one out.")
        given = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes)))
        if not given or not all(isinstance(ax, Axes) for ax in given):
            raise TypeError(
                f"`ax` must be matplotlib axes, or two of them, got {axes!r:.80}."
            )
        for ax, panel in zip(given, panels, strict=False):
            _draw_panel(ax, report, panel)
        _label_depth(given[: len(panels)][-1], report)
        drawn = given[0].get_figure()
        assert drawn is not None
        return drawn
    if figure is None:
        width = min(max(7.0, 3.0 + 0.22 * len(report.rows)), 13.0)
        figure = Figure(
            figsize=(width, 2.7 * len(panels) + 1.6),
            layout="constrained",
            facecolor="white",
        )
    elif not isinstance(figure, FigureBase):
        raise TypeError(f"`figure` must be a matplotlib figure, got {figure!r:.80}.")
    made = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, panel in zip(made, panels, strict=True):
        _draw_panel(ax, report, panel)
    _label_depth(made[-1], report)
    title = visible(str(report.settings.get("model", "model")).split("\n")[0])
    figure.suptitle(
        f"{elide(title, 50)}: {report.verdict}",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=INK,
        **PLAIN,
    )
    return figure


def _panels(report: Measured) -> list[Panel]:
    none = np.full((len(report.seeds), len(report.rows)), np.nan)
    moment = report.forward.get("second_moment", none)
    panels = [
        Panel(
            metric="second_moment",
            values=moment,
            broken=~np.isfinite(moment) & report.ran,
            title="Second moment of the signal",
            color=BLUE,
            flow="from the input →",
        )
    ]
    if "grad_rms" in report.backward:
        gradient = report.backward["grad_rms"]
        # NaN in every seed: no gradient reaches the row.
        reached = ~np.isnan(gradient).all(axis=0)
        panels.append(
            Panel(
                metric="grad_rms",
                values=gradient,
                broken=~np.isfinite(gradient) & report.ran & reached,
                title="Gradient rms",
                color=VERMILLION,
                flow="← from the output",
            )
        )
    return panels


def _draw_panel(ax: "Axes", report: Measured, panel: Panel) -> None:
    depth = np.arange(len(report.rows))
    if not report.rows:
        ax.text(0.5, 0.5, "no rows", transform=ax.transAxes, ha="center", color=GRAY)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(panel.values) & (panel.values > 0)
    logs = np.log10(panel.values, out=np.full(panel.values.shape, np.nan), where=usable)
    bands = _quantiles(logs, (0.05, 0.25, 0.5, 0.75, 0.95))
    q05, q25, median, q75, q95 = 10.0**bands
    ax.set_yscale("log")
    ax.fill_between(depth, q05, q95, color=panel.color, alpha=0.15, linewidth=0)
    ax.fill_between(depth, q25, q75, color=panel.color, alpha=0.30, linewidth=0)
    _draw_median(ax, report, depth, median, panel.color)
    theory = mark_theory(ax, depth, report, panel)
    _limit(ax, np.vstack([bands, theory]))
    mark_edges(ax, depth, panel)
    mark_dead(ax, depth, median, report, panel)
    mark_findings(ax, report, panel)
    label_bands(ax, depth, bands, len(report.seeds), panel)
    rings = panel.color == BLUE and "join" in report.kinds
    marks = ["rings: a branch joins the stream"] * rings
    marks += ["black dots: theory"] * bool(np.isfinite(theory).any())
    _decorate(ax, panel, len(depth), "; ".join(marks))


def _draw_median(
    ax: "Axes", report: Measured, depth: np.ndarray, median: np.ndarray, color: str
) -> None:
    """The line, and rings where branches join the stream."""
    few = len(depth) <= _FEW
    ax.plot(
        depth,
        median,
        color=color,
        linewidth=1.8,
        marker="o" if few else "",
        markersize=3.5,
        solid_capstyle="round",
        zorder=3,
    )
    joins = [i for i, row in enumerate(report.rows) if row.kind == "join"]
    if len(joins) > 1:
        # The stream itself, from ring to ring.
        dots = (0, (1, 2))
        ax.plot(depth[joins], median[joins], color=color, lw=1, linestyle=dots)
    ax.plot(
        depth[joins],
        median[joins],
        linestyle="",
        marker="o",
        markersize=6 if few else 4,
        markerfacecolor="white",
        markeredgecolor=color,
        zorder=4,
    )


def _limit(ax: "Axes", bands: np.ndarray) -> None:
    """At least two decades, so that a flat line looks flat."""
    known = bands[np.isfinite(bands)]
    low, high = (known.min(), known.max()) if known.size else (-1.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) * 0.62, 1.0)
    low, high = max(middle - half, -300.0), min(middle + half, 300.0)
    ax.set_ylim(10.0**low, 10.0**high)


def _decorate(ax: "Axes", panel: Panel, depth: int, marks: str) -> None:
    title = panel.title + (f"   ({marks})" if marks else "")
    ax.set_title(title, loc="left", fontsize=10, color=panel.color)
    ax.set_title(panel.flow, loc="right", fontsize=8, color=GRAY)
    ax.set_xlim(-0.6, max(depth - 0.4, 0.6))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.minorticks_off()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#BFBFBF")
    ax.tick_params(colors=INK, labelsize=8, length=3, color="#BFBFBF")


def _label_depth(ax: "Axes", report: Measured) -> None:
    """Names of the rows under the axis, evenly thinned out where there are many."""
    if not report.rows:
        ax.set_xticks([])
        return
    places = range(0, len(report.rows), math.ceil(len(report.rows) / _MAX_NAMES))
    names = [elide(visible(report.rows[i].name), 24) for i in places]
    steep = max(map(len, names)) * len(names) > 60
    ax.set_xticks(
        list(places),
        names,
        rotation=50 if steep else 0,
        ha="right" if steep else "center",
        rotation_mode="anchor" if steep else "default",
        fontsize=7.5,
        color=INK,
        **PLAIN,
    )


def _quantiles(logs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles over seeds, `(levels, rows)`; NaN where a row has no value."""
    result = np.full((len(levels), logs.shape[1]), np.nan)
    known = ~np.isnan(logs).all(axis=0)
    if known.any():
        result[:, known] = np.nanquantile(logs[:, known], levels, axis=0)
    return result


_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
