"""What became of a run: it trains, stalls or diverges."""

import numpy as np

OUTCOMES = ("trains", "stalls", "diverges", "failed", "not run")
TRAINS, STALLS, DIVERGES, FAILED, NOT_RUN = range(5)

# A loss that ends above this multiple of its first value has diverged.
_BLOWN_UP = 1.5


def last(losses: np.ndarray) -> np.ndarray:
    """The final loss: the mean over the last tenth of the steps, one at least.

    Args:
      losses: ``(..., steps)``.

    Returns:
      ``(...)``; infinite where a loss on the way was not finite.
    """
    count = max(1, losses.shape[-1] // 10)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = losses[..., -count:].mean(-1, dtype=np.float64)
        return np.where(np.isfinite(losses).all(-1), mean, np.inf)


def reference_loss(losses: np.ndarray) -> float:
    """What doing nothing gives: over schemes, the lowest median of the first loss.

    Args:
      losses: ``(schemes, rates, seeds, steps)``.

    Returns:
      The loss; NaN without a finite one.
    """
    first = losses[..., 0].reshape(len(losses), -1)
    medians = [np.median(row[np.isfinite(row)]) for row in first if _any(row)]
    return float(min(medians)) if medians else np.nan


def judge(losses: np.ndarray, reference: float, improvement: float) -> np.ndarray:
    """The outcome of each run that took all of its steps.

    A run **diverges** if a loss is not finite, or the final one exceeds its own first
    one by half of its size. It **trains** if the final loss is below the reference by
    at least ``improvement`` times the reference's size. Otherwise it **stalls**.

    Args:
      losses: ``(..., steps)``.
      reference: as ``reference_loss`` gives.
      improvement: a share.

    Returns:
      ``(...)``, indices of ``OUTCOMES``.
    """
    final, first = last(losses), losses[..., 0].astype(np.float64)
    with np.errstate(invalid="ignore"):
        blown = final > first + (_BLOWN_UP - 1) * np.abs(first)
        trains = final <= reference - improvement * abs(reference)
    diverges = ~np.isfinite(final) | blown
    return np.where(diverges, DIVERGES, np.where(trains, TRAINS, STALLS))


def _any(row: np.ndarray) -> bool:
    return bool(np.isfinite(row).any())
