"""The result of a race: curves, outcomes, and what can be said of the schemes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit.report.charts import Chart, Charts, over_seeds
from jaxinit.report.sheet import Sheet
from jaxinit.train import standing
from jaxinit.train.outcomes import OUTCOMES
from jaxinit.train.result import Result
from jaxinit.train.standing import Duel, Standing


@dataclass(frozen=True, eq=False)
class Race(Result):
    """What came of training a model from several initializations. ``print`` it.

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

    def standings(self) -> tuple[Standing, ...]:
        """What each scheme came to, at its best rate and over all rates."""
        return tuple(standing.of(self, i) for i in range(len(self.schemes)))

    def duels(self) -> tuple[Duel, ...]:
        """The leader against each other scheme, paired over seeds."""
        return standing.duels(self)

    @property
    def winner(self) -> str | None:
        """The scheme that beats all others beyond doubt; ``None`` if there is none."""
        return standing.winner(self)

    def share(self, outcome: str) -> np.ndarray:
        """The share of runs with an outcome, ``(schemes, rates)``; NaN without runs."""
        ran = (self.outcomes < OUTCOMES.index("not run")).sum(-1)
        count = (self.outcomes == OUTCOMES.index(outcome)).sum(-1)
        return np.where(ran > 0, count / np.maximum(ran, 1), np.nan)

    def to_records(self) -> list[dict[str, Any]]:
        """One record for each run."""
        records = []
        for index in np.ndindex(*self.outcomes.shape):
            scheme, rate, seed = index
            name = run_name(
                self.schemes[scheme], self.learning_rates[rate], self.seeds[seed]
            )
            records.append(
                {
                    "scheme": self.schemes[scheme],
                    "learning_rate": float(self.learning_rates[rate]),
                    "seed": int(self.seeds[seed]),
                    "outcome": OUTCOMES[self.outcomes[index]],
                    "first_loss": float(self.losses[index][0]),
                    "final_loss": float(standing.finals(self)[index]),
                    "steps_to_target": float(standing.steps_to_target(self)[index]),
                    "reason": self.reasons.get(name, ""),
                }
            )
        return records

    def sheet(self) -> Sheet:
        """A line for each scheme, and below it what can be said of them."""
        head = (
            *("scheme", "trains", "stalls", "diverges", "best rate", "rates that work"),
            *("final loss", "accuracy", "steps to target", "verdict at init"),
        )
        rows = tuple(standing.row(s) for s in self.standings())
        shape = self.outcomes.shape
        title = (
            f"{self.model}: {shape[0]} schemes, {shape[1]} rates, {shape[2]} seeds, "
            f"{self.losses.shape[-1]} steps"
        )
        return Sheet(title, head, rows, tuple(standing.remarks(self)))

    def charts(self) -> Charts:
        """Loss curves with bands at each best rate, and the final loss against rates.

        Accuracies as well, where the target is of classes.
        """
        curves, rights, rates = [], [], []
        steps, finals = np.arange(self.losses.shape[-1]), standing.finals(self)
        for i, name in enumerate(self.schemes):
            best = standing.best_rate(self, i)
            if best is None:
                continue
            curves.append(over_seeds(name, steps, self.losses[i, best], i))
            rights.append(over_seeds(name, steps, self.accuracies[i, best], i))
            rates.append(over_seeds(name, self.learning_rates, finals[i].T, i))
        each = "each at its best learning rate"
        log = 10 if np.nanmin(self.losses, initial=1.0) > 0 else 0
        label = "median and quartiles over seeds"
        found = [
            Chart(f"loss, {each}", tuple(curves), "step", label, y_log=log),
            Chart(
                "final loss",
                tuple(rates),
                "learning rate",
                x_log=10,
                level=self.reference,
                marks=True,
            ),
        ]
        if np.isfinite(self.accuracies).any():
            found.insert(1, Chart(f"accuracy, {each}", tuple(rights), "step"))
        return [found]


def run_name(scheme: str, rate: Any, seed: Any) -> str:
    """A run's name among the reasons."""
    return f"{scheme} {float(rate):g} {int(seed)}"
