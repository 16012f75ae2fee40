"""Checks of what users pass, each with an error that says what to write."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinit.train.batches import Batch, DataRanOut, Source


def as_rates(learning_rates: Sequence[float]) -> list[float]:
    """The learning rates in rising order.

    Raises:
      ValueError: if there are none, or one is not above 0 or there twice.
    """
    rates = sorted(float(rate) for rate in np.ravel(learning_rates))
    if (
        not rates
        or not all(0 < r < math.inf for r in rates)
        or len(set(rates)) < len(rates)
    ):
        raise ValueError(
            "`learning_rates` must be different numbers above 0, got "
            f"{learning_rates!r}. Write [1e-3, 3e-3, 1e-2]."
        )
    return rates


def first_batch(source: Source) -> Batch:
    """The first batch, which says what the model is called with.

    Raises:
      ValueError: if there is none.
    """
    try:
        return source(0)
    except DataRanOut as error:
        raise ValueError("`data` must hold at least one batch, got none.") from error


def check_counts(**counts: Any) -> None:
    """Raises a ValueError unless each is a whole number of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer):
            raise ValueError(f"`{name}` must be a whole number, got {count!r}.")
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}.")


def check_shares(**shares: float) -> None:
    """Raises a ValueError unless each is between 0 and 1."""
    for name, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"`{name}` must be between 0 and 1, got {share!r}.")


def check_how(strategy: str, solutions: int) -> None:
    """Raises unless both are among what is allowed."""
    if strategy not in ("auto", "vmap", "loop"):
        raise ValueError(
            f"`strategy` must be 'auto', 'vmap' or 'loop', got {strategy!r}."
        )
    if isinstance(solutions, bool) or not isinstance(solutions, int) or solutions < 0:
        raise ValueError(
            f"`solutions` must be a number of seeds, at least 0, got {solutions!r}."
        )
