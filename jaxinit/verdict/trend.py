"""Straight lines through the logarithm of a metric against depth."""

import math
from typing import NamedTuple

import numpy as np


class Trend(NamedTuple):
    """A straight line through seeds' curves, with an honest uncertainty.

    Attributes:
      slope: mean over seeds of each seed's least-squares slope.
      stderr: its standard error, from seeds and layers together.
      quantile: the 99% two-sided quantile of Student's t that goes with it.
      start: the line's value at depth 0, averaged over seeds.
      slopes: `(seeds,)`, each seed's own slope; NaN for a seed with fewer than three
        usable rows.
      depth: number of steps from the first row to the deepest.
    """

    slope: float
    stderr: float
    quantile: float
    start: float
    slopes: np.ndarray
    depth: int

    @property
    def change(self) -> float:
        """What the line gains from the first row to the last."""
        return self.slope * self.depth

    @property
    def is_significant(self) -> bool:
        """Whether the slope differs from zero at the 1% level."""
        return abs(self.slope) > self.quantile * self.stderr


def fit_trend(curves: np.ndarray, depths: np.ndarray | None = None) -> Trend | None:
    r"""Fits a line to each seed's curve and averages the slopes.

    The slope varies for two reasons, and the standard error adds them up:

    .. math:: \mathrm{se}^2 = \frac{s_b^2}{S} + \frac{s_r^2}{\sum_x (x - \bar x)^2}.

    :math:`s_b^2` is the variance of the slopes over the :math:`S` seeds: what other
    keys would give. It holds everything that differs from seed to seed, a random walk
    of the curve over depth included, which the scatter about one seed's line would
    underrate. :math:`s_r^2` is the residual variance of the curve averaged over seeds
    about its own line: layers of several types (query, value, feed-forward) lie off
    the line in the same way in every seed, and no number of seeds averages that out.
    The degrees of freedom are those of Welch and Satterthwaite. A single seed has no
    spread, so its standard error holds the scatter of the layers alone.

    Args:
      curves: `(seeds, rows)`, logarithms; entries that are not finite are left out.
      depths: `(rows,)`, how deep each row lies; one after the other if None. Rows
        that lie side by side have the same depth.

    Returns:
      The line, or None where no seed has three usable rows.
    """
    usable = np.isfinite(curves)
    usable &= (usable.sum(axis=1) >= 3)[:, None]
    if not usable.any():
        return None
    depth = np.arange(curves.shape[1], dtype=np.float64)
    if depths is not None:
        depth = np.asarray(depths, np.float64) - min(depths)
    if len(np.unique(depth[usable.any(axis=0)])) < 3:
        return None
    slopes = np.full(len(curves), np.nan)
    for i, row in enumerate(usable):
        if len(np.unique(depth[row])) > 1:
            slopes[i] = line(depth[row], curves[i, row])[0]

    reached = usable.any(axis=0)
    mean_curve = np.where(usable, curves, 0.0).sum(axis=0)[reached] / usable.sum(
        axis=0
    ).compress(reached)
    line_slope, start = line(depth[reached], mean_curve)
    residuals = mean_curve - (start + line_slope * depth[reached])
    freedom = len(mean_curve) - 2
    spread = ((depth[reached] - depth[reached].mean()) ** 2).sum()
    from_layers = float((residuals**2).sum() / freedom / spread)

    known = slopes[~np.isnan(slopes)]
    from_seeds = float(known.var(ddof=1) / len(known)) if len(known) > 1 else 0.0
    variance = from_layers + from_seeds
    denominator = from_layers**2 / freedom
    if len(known) > 1:
        denominator += from_seeds**2 / (len(known) - 1)
    welch = variance**2 / denominator if denominator > 0 else math.inf
    return Trend(
        slope=float(known.mean()),
        stderr=math.sqrt(variance),
        quantile=student_quantile(welch),
        start=start,
        slopes=slopes,
        depth=int(depth.max()),
    )


def student_quantile(freedom: float) -> float:
    """The 99.5% quantile of Student's t, for two-sided tests at the 1% level.

    Interpolated in the inverse of the degrees of freedom; between the entries it
    exceeds the exact value, most below two degrees of freedom, so tests err on the
    side of silence.

    Args:
      freedom: degrees of freedom, 1 or more.

    Returns:
      The quantile.

    Examples:
      >>> student_quantile(10.0)
      3.169
    """
    inverse = [1 / n for n in _STUDENT]
    return float(np.interp(1 / freedom, inverse[::-1], list(_STUDENT.values())[::-1]))


# Degrees of freedom -> 99.5% quantile of Student's t.
_STUDENT = {
    1: 63.657,
    2: 9.925,
    3: 5.841,
    4: 4.604,
    5: 4.032,
    6: 3.707,
    8: 3.355,
    10: 3.169,
    15: 2.947,
    20: 2.845,
    30: 2.750,
    60: 2.660,
    math.inf: 2.576,
}


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope of the least-squares line through points, and its value at 0.

    Args:
      x: `(n,)`, not all equal.
      y: `(n,)`.

    Returns:
      Slope and intercept.
    """
    centered = x - x.mean()
    slope = float((centered * y).sum() / (centered**2).sum())
    return slope, float(y.mean() - slope * x.mean())
