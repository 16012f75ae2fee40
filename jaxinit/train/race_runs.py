"""What the runs of a race came to, run by run."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit.train.outcomes import OUTCOMES
from jaxinit.train.result import Result


@dataclass(frozen=True, eq=False)
class RaceRuns(Result):
    """What came of training a model from several initializations.

    Attributes:
      model: the model's name.
      schemes: their names.
      learning_rates: ``(rates,)``, in rising order.
      seeds: ``(seeds,)``.
      losses: before each step, ``(schemes, rates, seeds, steps)`` float32; NaN where a
        run did not come so far.
      accuracies: likewise the share of right classes; NaN without classes.
      outcomes: ``(schemes, rates, seeds)``, indices of ``OUTCOMES``: trains, stalls,
        diverges (as ``jaxinit.train.outcomes.judge`` defines), failed, not run.
      reasons: by ``scheme rate seed``, why a run failed.
      reference: the loss against which progress is measured.
      improvement: the share of it that a run must win to count as training.
      target: the loss whose first reaching is counted, or NaN.
      confidence: that of all intervals.
      verdicts: by scheme, what ``analyze`` said of it at initialization.
      pairs: of solutions, records as of ``optima.Pair``.
      unmatched: why hidden units were not matched, or nothing.
      interrupted: whether it was stopped before all runs were done.
      notes: by what could not be done, why.
      settings: how it was run.
    """

    SCHEMA = "jaxinit.race"

    model: str
    schemes: tuple[str, ...]
    learning_rates: np.ndarray
    seeds: np.ndarray
    losses: np.ndarray
    accuracies: np.ndarray
    outcomes: np.ndarray
    reasons: dict[str, str]
    reference: float
    improvement: float
    target: float
    confidence: float
    verdicts: dict[str, str]
    pairs: tuple[dict[str, Any], ...]
    unmatched: str
    interrupted: bool
    notes: dict[str, str]
    settings: dict[str, Any]

    def share(self, outcome: str) -> np.ndarray:
        """The share of runs with an outcome, ``(schemes, rates)``; NaN without runs."""
        ran = (self.outcomes < OUTCOMES.index("not run")).sum(-1)
        count = (self.outcomes == OUTCOMES.index(outcome)).sum(-1)
        return np.where(ran > 0, count / np.maximum(ran, 1), np.nan)
