"""Curves against something, with bands over seeds: what figures and pages draw.

A result says once what is to be drawn; ``chart_figure`` makes a matplotlib figure of
it and ``chart_svg`` the drawing inside of a page.
"""

from typing import NamedTuple

import numpy as np

# Okabe and Ito's colors, which can be told apart without color vision.
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    "#999999",
)
# Beyond the colors, lines are told apart by their dashes.
DASHES = ("solid", "dashed", "dotted", "dashdot")


class Curve(NamedTuple):
    """A line with a band.

    Attributes:
      name: what the legend calls it; it keeps its color in all charts.
      x: ``(n,)``.
      low: ``(n,)``, the lower edge of the band; NaN where nothing is to be drawn.
      middle: ``(n,)``, the line.
      high: ``(n,)``, the upper edge.
      number: which color and dash.
    """

    name: str
    x: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    number: int


class Chart(NamedTuple):
    """Curves in one pair of axes.

    Attributes:
      title: above it.
      curves: what is drawn.
      x_label: below it.
      y_label: beside it.
      x_log: the base of a logarithmic axis, or 0.
      y_log: likewise.
      names: names of the whole numbers on the horizontal axis, if it counts things.
      level: a height to mark, or NaN.
      marks: dots at each point.
    """

    title: str
    curves: tuple[Curve, ...]
    x_label: str = ""
    y_label: str = ""
    x_log: int = 0
    y_log: int = 0
    names: tuple[str, ...] = ()
    level: float = float("nan")
    marks: bool = False


Charts = list[list[Chart]]
"""Charts in rows."""


def over_seeds(
    name: str,
    x: np.ndarray,
    values: np.ndarray,
    number: int,
    share: float = 0.5,
    *,
    positive: bool = False,
) -> Curve:
    """The median over seeds, and the band that holds a share of them.

    Args:
      name: as in ``Curve``.
      x: ``(n,)``.
      values: ``(seeds, n)``; NaN and infinities count as the largest, and nothing is
        drawn where they are the quantile.
      number: as in ``Curve``.
      share: of the seeds, within the band.
      positive: whether only what is above zero can be drawn; zeros then count as the
        smallest.

    Returns:
      The curve.
    """
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=0)
    last = len(ordered) - 1
    ends = (1 - share) / 2, 0.5, (1 + share) / 2
    rows = [ordered[round(place * last)].astype(np.float64) for place in ends]
    shown = [np.isfinite(row) & ((row > 0) | (not positive)) for row in rows]
    low, middle, high = (
        np.where(s, row, np.nan) for s, row in zip(shown, rows, strict=True)
    )
    return Curve(name, np.asarray(x, np.float64), low, middle, high, number)


def legend_of(charts: Charts) -> list[Curve]:
    """One curve for each name."""
    found: dict[str, Curve] = {}
    for row in charts:
        for chart in row:
            for curve in chart.curves:
                found.setdefault(curve.name, curve)
    return list(found.values())
