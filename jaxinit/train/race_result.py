"""The result of a race: curves, outcomes, and what can be said of the schemes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit.report.charts import Chart, Charts, over_seeds
from jaxinit.report.sheet import Sheet
from jaxinit.train import standing
from jaxinit.train.outcomes import OUTCOMES
from jaxinit.train.race_runs import RaceRuns
from jaxinit.train.standing import Duel, Standing


@dataclass(frozen=True, eq=False)
class Race(RaceRuns):
    """What came of training a model from several initializations. ``print`` it.

    Its attributes are those of ``RaceRuns``.
    """

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
