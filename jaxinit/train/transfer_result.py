"""The result of a transfer of learning rates: the best rate against the width."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit._intervals import Interval
from jaxinit.report.charts import Chart, Charts, over_seeds
from jaxinit.report.sheet import Sheet
from jaxinit.train.result import Result

_RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class RateTransfer(Result):
    """Final losses by width and learning rate, under several parametrizations.

    Attributes:
      axis: ``"width"`` or ``"depth"``.
      parametrizations: their names.
      sizes: ``(sizes,)``.
      learning_rates: ``(rates,)``.
      seeds: ``(seeds,)``.
      finals: ``(parametrizations, sizes, rates, seeds)``, infinite where it diverged.
      reasons: why runs failed.
      confidence: that of the intervals.
      settings: how it was run.
    """

    SCHEMA = "jaxinit.learning_rate_transfer"

    axis: str
    parametrizations: tuple[str, ...]
    sizes: np.ndarray
    learning_rates: np.ndarray
    seeds: np.ndarray
    finals: np.ndarray
    reasons: dict[str, str]
    confidence: float
    settings: dict[str, Any]

    def best_rates(self) -> np.ndarray:
        """The best rate of each ``(parametrization, size)``.

        That of the lowest median final loss over seeds, moved to the vertex of the
        parabola through it and its two neighbors in the logarithm of the rate. NaN
        where nothing was finite.
        """
        return _best(self.finals, self.learning_rates)

    def slopes(self) -> tuple[Interval, ...]:
        """For each parametrization the slope of log2 best rate on log2 size.

        0 means that the rate carries over. The interval is that of the percentile
        bootstrap over seeds, which knows nothing of how coarse the rates are.
        """
        rng = np.random.default_rng(0)
        count = len(self.seeds)
        value = self._slopes(self.finals)
        draws = np.stack(
            [
                self._slopes(self.finals[..., rng.integers(count, size=count)])
                for _ in range(_RESAMPLES if count > 1 else 0)
            ]
            or [np.full_like(value, np.nan)]
        )
        tail = (1 - self.confidence) / 2
        found = []
        for i, slope in enumerate(value):
            known = draws[:, i][np.isfinite(draws[:, i])]
            ends = (
                np.quantile(known, [tail, 1 - tail]) if len(known) else [math.nan] * 2
            )
            found.append(Interval(float(slope), float(ends[0]), float(ends[1])))
        return tuple(found)

    def _slopes(self, finals: np.ndarray) -> np.ndarray:
        logs = np.log2(self.sizes.astype(np.float64))
        centred = logs - logs.mean()
        rates = np.log2(_best(finals, self.learning_rates))
        return np.asarray((rates * centred).sum(1) / np.square(centred).sum())

    def to_records(self) -> list[dict[str, Any]]:
        """One record for each run."""
        return [
            {
                "parametrization": self.parametrizations[kind],
                self.axis: int(self.sizes[size]),
                "learning_rate": float(self.learning_rates[rate]),
                "seed": int(self.seeds[seed]),
                "final_loss": float(self.finals[kind, size, rate, seed]),
            }
            for kind, size, rate, seed in np.ndindex(*self.finals.shape)
        ]

    def sheet(self) -> Sheet:
        """The best rates of each parametrization, and how they move with the size."""
        head = ("parametrization", *(f"{self.axis} {s}" for s in self.sizes), "slope")
        rows = []
        for name, best, slope in zip(
            self.parametrizations, self.best_rates(), self.slopes(), strict=True
        ):
            ends = f"{slope.value:+.2f} ({slope.low:+.2f} to {slope.high:+.2f})"
            rows.append((name, *(f"{rate:.3g}" for rate in best), ends))
        below = (
            "Slope of log2 best rate on log2 size, with the bootstrap's interval over "
            f"{len(self.seeds)} seeds; 0 means that the rate carries over. A best rate "
            "at the end of the rates that were tried may lie beyond them.",
            *(f"{len(self.reasons)} runs failed: {why}" for why in self._first_reason),
        )
        return Sheet("Best learning rate", head, tuple(rows), below)

    def charts(self) -> Charts:
        """Final loss against the rate, a line a size, a chart a parametrization."""
        row: list[Chart] = []
        for kind, finals in zip(self.parametrizations, self.finals, strict=True):
            curves = [
                over_seeds(f"{self.axis} {size}", self.learning_rates, values.T, number)
                for number, (size, values) in enumerate(
                    zip(self.sizes, finals, strict=True)
                )
            ]
            label = "final loss, median and quartiles" if not row else ""
            row.append(
                Chart(kind, tuple(curves), "learning rate", label, x_log=10, marks=True)
            )
        return [row]

    @property
    def _first_reason(self) -> list[str]:
        return list(self.reasons.values())[:1]


def _best(finals: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Of ``(kinds, sizes, rates, seeds)``, the best rates ``(kinds, sizes)``."""
    filled = np.where(np.isnan(finals), np.inf, finals)
    ordered = np.sort(filled, axis=-1)
    count = ordered.shape[-1]
    with np.errstate(invalid="ignore"):
        medians = (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
    logs = np.log2(rates)
    found = np.full(medians.shape[:2], np.nan)
    for index in np.ndindex(*found.shape):
        if np.isfinite(medians[index]).any():
            found[index] = 2 ** _vertex(logs, medians[index])
    return found


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    i = int(np.argmin(y))
    if not 0 < i < len(x) - 1 or not np.isfinite(y[i - 1 : i + 2]).all():
        return float(x[i])
    square, linear, _ = np.polyfit(x[i - 1 : i + 2], y[i - 1 : i + 2], 2)
    return float(-linear / (2 * square)) if square > 0 else float(x[i])
