"""What is written onto a panel of the plot, in place of a legend."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxinit.report.measured import Measured
from jaxinit.report.numbers import elide
from jaxinit.report.summary import log10
from jaxinit.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with every kind of color vision.
BLUE, VERMILLION, GRAY, INK = "#0072B2", "#D55E00", "#8C8C8C", "#262626"


# Names are neither mathematics nor TeX.
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}


class Panel(NamedTuple):
    """What one panel shows."""

    metric: str
    values: np.ndarray  # (seeds, rows)
    broken: np.ndarray  # (seeds, rows): not finite though it should be
    title: str
    color: str
    flow: str


def mark_edges(ax: "Axes", depth: np.ndarray, panel: Panel) -> None:
    """Zeros at the lower edge, what is not finite at the upper one."""
    zero = (panel.values == 0).any(axis=0)
    broken = panel.broken.any(axis=0)
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
            color=INK,
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
            color=INK,
        )


def mark_theory(
    ax: "Axes", depth: np.ndarray, report: Measured, panel: Panel
) -> np.ndarray:
    """Black dots at what theory expects; its decimal logarithms, else NaN."""
    none = np.full(len(report.rows), np.nan)
    expected = log10(report.predicted.get(panel.metric, none))
    if np.isfinite(expected).any():
        dots = (0, (1, 2))
        ax.plot(depth, 10.0**expected, ".", color=INK, lw=1.2, ls=dots, ms=3, zorder=4)
    return expected


def mark_dead(
    ax: "Axes", depth: np.ndarray, median: np.ndarray, report: Measured, panel: Panel
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
        color=INK,
        zorder=6,
    )


def mark_findings(ax: "Axes", report: Measured, panel: Panel) -> None:
    """A thin line at each layer that a finding about this metric names."""
    metrics = {panel.metric} | ({"rms", "dead"} if panel.color == BLUE else set())
    places: dict[int, list[str]] = {}
    for finding in report.findings:
        if finding.metric in metrics and finding.row in report.layers:
            places.setdefault(report.layers.index(finding.row), []).append(finding.kind)
    for number, (place, kinds) in enumerate(places.items()):
        late = place > 0.7 * len(report.rows)
        ax.axvline(place, color=GRAY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        start = elide(visible(report.layers[place]), 28)
        ax.annotate(
            f"{', '.join(dict.fromkeys(kinds))} from {start}",
            (place, 0.955 - 0.07 * (number % 3)),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            fontsize=8,
            color=INK,
            zorder=6,
            **PLAIN,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def label_bands(
    ax: "Axes", depth: np.ndarray, bands: np.ndarray, num_seeds: int, panel: Panel
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
