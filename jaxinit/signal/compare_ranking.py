"""Which scheme carries signal and gradient best, and how surely.

At initialization a scheme can be judged by two things: whether the verdict names a
problem, and how far signal and gradient drift on their way through the layers. The
drift of a seed is the largest over the smallest root mean square among the layers that
multiply data by a weight (without the readout, which often has a law of its own), in
decades, plus the same for the norm of the gradients. 0 is a network that keeps both.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxinit._intervals import Interval, of_mean
from jaxinit.report.measured import Measured
from jaxinit.verdict.currents import find_currents


class Rank(NamedTuple):
    """The place of one scheme.

    Attributes:
      place: 1 for the best; healthy schemes come first. Schemes that cannot be told
        from the best of their kind share its place.
      scheme: its name.
      verdict: that of its report.
      drift: the mean over seeds, in decades, with its interval; infinite if a seed has
        a value that is not finite, or none above zero.
      behind: the mean over seeds of its drift minus that of the best of its kind,
        paired by seed, with an interval widened for the number of pairs (Bonferroni).
      tied: whether the interval holds zero, so that the two cannot be told apart.
    """

    place: int
    scheme: str
    verdict: str
    drift: Interval
    behind: Interval
    tied: bool


def ranking(
    reports: Mapping[str, Measured], confidence: float = 0.95
) -> tuple[Rank, ...]:
    """The schemes from the best to the worst.

    Args:
      reports: by the scheme's name, its report.
      confidence: of all intervals.

    Returns:
      One rank for each scheme.
    """
    found: list[Rank] = []
    for healthy in (True, False):
        group = {n: r for n, r in reports.items() if (r.verdict == "ok") == healthy}
        found += _ranked(group, confidence, len(found))
    return tuple(found)


def best(ranks: tuple[Rank, ...]) -> str | None:
    """The one scheme in the first place that is healthy and tied with no other."""
    first = [rank for rank in ranks if rank.place == 1]
    return first[0].scheme if len(first) == 1 and first[0].verdict == "ok" else None


def drift(report: Measured) -> np.ndarray:
    """The drift of each seed in decades, ``(seeds,)``."""
    total = np.zeros(len(report.seeds))
    for current in find_currents(report):
        logs = current.logs[:, current.hidden] / current.per_rms * math.log10(2)
        known = np.isfinite(logs)
        high = np.where(known, logs, -np.inf).max(1, initial=-np.inf)
        low = np.where(known, logs, np.inf).min(1, initial=np.inf)
        broken = ~known.any(1) | np.isposinf(logs).any(1)
        with np.errstate(invalid="ignore"):
            total += np.where(broken, np.inf, high - low)
    values = report.forward.get("frac_nonfinite")
    if values is not None:
        total[(values > 0).any(1)] = np.inf
    return total


def _ranked(
    group: Mapping[str, Measured], confidence: float, before: int
) -> list[Rank]:
    drifts = {name: drift(report) for name, report in group.items()}
    means = {name: float(values.mean()) for name, values in drifts.items()}
    order = sorted(group, key=lambda name: means[name])
    widened = 1 - (1 - confidence) / max(len(order) - 1, 1)
    found: list[Rank] = []
    for number, name in enumerate(order):
        behind = _behind(group, drifts, name, order[0], widened)
        tied = number > 0 and not behind.low > 0 and math.isfinite(means[name])
        # With one seed each nothing can be told apart.
        tied |= number > 0 and means[name] == means[order[0]]
        place = before + (1 if tied else number + 1)
        own = Interval(means[name], math.nan, math.nan)
        if math.isfinite(means[name]):
            own = of_mean(drifts[name], confidence)
        found.append(Rank(place, name, group[name].verdict, own, behind, tied))
    return sorted(found, key=lambda rank: rank.place)


def _behind(
    group: Mapping[str, Measured],
    drifts: Mapping[str, np.ndarray],
    name: str,
    leader: str,
    confidence: float,
) -> Interval:
    """The difference over the seeds that both have."""
    shared, ours, theirs = np.intersect1d(
        group[name].seeds, group[leader].seeds, return_indices=True
    )
    del shared
    with np.errstate(invalid="ignore"):
        apart = drifts[name][ours] - drifts[leader][theirs]
    if not np.isfinite(apart).all():
        return Interval(math.inf if name != leader else 0.0, math.nan, math.nan)
    return of_mean(apart, confidence)
