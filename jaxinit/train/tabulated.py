"""The runs of a race as arrays over schemes, rates, seeds and steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinit.train.cells import Cells
from jaxinit.train.outcomes import FAILED, NOT_RUN, judge, reference_loss
from jaxinit.train.race_result import run_name


def tabulated(
    cells: Cells,
    steps: int,
    names: Sequence[str],
    rates: Sequence[float],
    seeds: Sequence[int],
    improvement: float,
) -> dict[str, Any]:
    """Curves and outcomes, as fields of a ``Race``.

    Args:
      cells: the runs that are there.
      steps: of each.
      names: of the schemes.
      rates: in order.
      seeds: likewise.
      improvement: the share of the reference that a run must win.
    """
    shape = len(names), len(rates), len(seeds)
    losses = np.full((*shape, steps), np.nan, np.float32)
    accuracies = losses.copy()
    for index, cell in cells.items():
        losses[index], accuracies[index] = cell.losses, cell.accuracies
    reference = reference_loss(losses)
    outcomes = judge(losses, reference, improvement)
    reasons = {}
    for index in np.ndindex(*shape):
        found = cells.get((index[0], index[1], index[2]))
        if found is None:
            outcomes[index] = NOT_RUN
        elif found.reason:
            outcomes[index] = FAILED
            name = run_name(names[index[0]], rates[index[1]], seeds[index[2]])
            reasons[name] = found.reason
    return {
        "schemes": tuple(names),
        "learning_rates": np.asarray(rates),
        "seeds": np.asarray(seeds),
        "losses": losses,
        "accuracies": accuracies,
        "outcomes": outcomes,
        "reasons": reasons,
        "reference": reference,
        "improvement": improvement,
    }
