"""Where the seeds lie, in a few letters: taller where there are more of them."""

import numpy as np

from jaxinit.report.summary import log10

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"

# The axis spans a decade at least, so that what hardly spreads looks so.
_LEAST = 1.0


def axis_of(values: np.ndarray) -> tuple[float, float] | None:
    """The ends of a logarithmic axis that holds all values.

    Args:
      values: any shape; only what is positive and finite counts.

    Returns:
      Decimal logarithms of its ends, a decade apart or more; None if nothing counts.
    """
    logs = log10(values)
    known = logs[~np.isnan(logs)]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    short = max(_LEAST - (high - low), 0.0) / 2
    return low - short, high + short


def bars(
    values: np.ndarray, axis: tuple[float, float], cells: int, *, ascii: bool = False
) -> str:
    """A histogram on that axis.

    Args:
      values: any shape; only what is positive and finite counts.
      axis: decimal logarithms of the ends.
      cells: how many letters.
      ascii: whether to keep to ASCII.

    Returns:
      ``cells`` letters: blank where there is no value, the tallest where most are.

    Examples:
      >>> bars(np.array([1.0, 1.0, 1.0, 10.0, 1000.0]), (0.0, 3.0), 6)
      '█ ▃  ▃'
      >>> bars(np.array([1.0, 1.0, 1.0, 10.0, 1000.0]), (0.0, 3.0), 6, ascii=True)
      '@ -  -'
    """
    low, high = axis
    logs = log10(values)
    places = (logs[~np.isnan(logs)] - low) / (high - low) * cells
    counts = np.bincount(np.clip(places.astype(int), 0, cells - 1), minlength=cells)
    letters = _ASCII if ascii else _BLOCKS
    heights = np.ceil(counts / max(counts.max(), 1) * (len(letters) - 1)).astype(int)
    return "".join(letters[height] for height in heights)
