"""Confidence intervals: of means, of paired differences, of slopes, of shares."""

import math
from typing import NamedTuple

import numpy as np

_ANGLES = np.linspace(-math.pi / 2, math.pi / 2, 20001)


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval.

    Attributes:
      value: the estimate.
      low: the lower end; NaN where it cannot be told.
      high: the upper end.
    """

    value: float
    low: float
    high: float


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t; with t = sqrt(n) tan(a), a has density cos(a)^(n-1).

    Args:
      probability: between 0 and 1.
      freedom: degrees of freedom, at least 1.

    Returns:
      The quantile, to about six digits.

    Examples:
      >>> round(t_quantile(0.975, 3), 3), round(t_quantile(0.975, 31), 3)
      (3.182, 2.04)
    """
    density = np.cos(_ANGLES) ** (freedom - 1)
    steps = (density[1:] + density[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    return math.sqrt(freedom) * math.tan(np.interp(probability, below, _ANGLES))


def of_mean(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean of independent values; NaN are left out.

    Args:
      values: ``(n,)``.
      confidence: the share of such intervals that hold the mean.

    Returns:
      The interval; with fewer than two values its ends are NaN.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        value = float(known[0]) if len(known) else math.nan
        return Interval(value, math.nan, math.nan)
    mean = float(known.mean())
    error = float(known.std(ddof=1)) / math.sqrt(len(known))
    half = t_quantile((1 + confidence) / 2, len(known) - 1) * error
    return Interval(mean, mean - half, mean + half)


def of_share(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share.

    Args:
      count: successes.
      total: trials.
      confidence: as in ``of_mean``.

    Returns:
      The share and its interval; NaN without trials.

    References:
      Wilson, "Probable inference, the law of succession, and statistical inference",
      1927.
    """
    if not total:
        return Interval(math.nan, math.nan, math.nan)
    z, share = t_quantile((1 + confidence) / 2, 10**4), count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    spread = math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    half = z * spread / (1 + z * z / total)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def slopes(log_sizes: np.ndarray, log_widths: np.ndarray) -> np.ndarray:
    """Least-squares slopes over widths, one for each seed.

    Args:
      log_sizes: ``(widths, seeds, ...)``; a slope is NaN where one of them is not
        finite.
      log_widths: ``(widths,)``.

    Returns:
      ``(seeds, ...)``. Seeds at different widths are drawn apart, so that these are
      independent, and ``of_mean`` gives the interval of the slope.
    """
    centred = log_widths - log_widths.mean()
    finite = np.isfinite(log_sizes).all(0)
    safe = np.where(finite, log_sizes, 0.0)
    found = np.tensordot(centred, safe, 1) / np.square(centred).sum()
    return np.where(finite, found, np.nan)
