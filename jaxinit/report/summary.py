"""Statistics over seeds: one distribution per layer and metric."""

import warnings
from typing import NamedTuple

import numpy as np

_SIGNED_OR_BOUNDED = frozenset(
    "mean cos token_cos dead dormant saturated branch_cos branch_share attn_entropy "
    "attn_one_hot router_entropy router_unused".split()
)


def has_log(metric: str) -> bool:
    """Whether a metric is a size, so that its logarithm over seeds means something.

    Means and cosines have a sign and shares lie between 0 and 1; all other metrics
    are sizes, whose logarithm is nearly normal over seeds.
    """
    return metric not in _SIGNED_OR_BOUNDED and not metric.startswith("frac_")


class Summary(NamedTuple):
    """The distribution of one metric over seeds; every field has shape ``(rows,)``.

    Quantiles and extremes are taken over the seeds whose value is finite, so read
    them together with ``share_nonfinite``. The logarithms are taken over the seeds
    whose value is finite and not exactly zero, so read them together with
    ``share_zero``; a value that merely is small, like 1e-41, is not zero.

    Attributes:
      median: the middle seed, which for a log-normal spread is the typical one.
      q05: the 5% quantile.
      q25: the 25% quantile.
      q75: the 75% quantile.
      q95: the 95% quantile.
      min: the smallest seed.
      max: the largest seed.
      mean_log10: mean of the decimal logarithm: 10 to this power is the geometric
        mean. NaN for metrics that have a sign or are shares.
      stderr_log10: standard error of ``mean_log10``, NaN below two seeds.
      std_log10: standard deviation of the decimal logarithm over seeds, in decades.
      share_zero: share of the seeds whose value is exactly zero.
      share_nonfinite: share of the seeds whose value is NaN or infinite. A metric
        that is not defined for a row is NaN in every seed.
    """

    median: np.ndarray
    q05: np.ndarray
    q25: np.ndarray
    q75: np.ndarray
    q95: np.ndarray
    min: np.ndarray
    max: np.ndarray
    mean_log10: np.ndarray
    stderr_log10: np.ndarray
    std_log10: np.ndarray
    share_zero: np.ndarray
    share_nonfinite: np.ndarray


def summarize(values: np.ndarray, *, log: bool) -> Summary:
    """Summarizes ``values`` over its first axis.

    Args:
      values: `(seeds, rows)`, float64.
      log: whether to take logarithms, see :func:`has_log`.

    Returns:
      A :class:`Summary` whose fields have shape `(rows,)`.
    """
    finite = np.isfinite(values)
    kept = np.where(finite, values, np.nan)
    low, q05, q25, median, q75, q95, high = _quantiles(kept)
    mean_log10, stderr_log10, std_log10 = moments(
        log10(values) if log else np.full_like(kept, np.nan)
    )
    num_seeds = max(len(values), 1)
    return Summary(
        median=median,
        q05=q05,
        q25=q25,
        q75=q75,
        q95=q95,
        min=low,
        max=high,
        mean_log10=mean_log10,
        stderr_log10=stderr_log10,
        std_log10=std_log10,
        share_zero=(values == 0).sum(axis=0) / num_seeds,
        share_nonfinite=(~finite).sum(axis=0) / num_seeds,
    )


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Quantiles over the first axis of what is no NaN, `(quantiles, rows)`."""
    wanted = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
    found = np.full((len(wanted), values.shape[1]), np.nan)
    whole = ~np.isnan(values).any(axis=0) & (len(values) > 0)
    if whole.any():
        found[:, whole] = np.quantile(values[:, whole], wanted, axis=0)
    if not whole.all():  # row by row: a hundred times as slow
        with warnings.catch_warnings():
            # A row without a single finite value has no quantiles: NaN is the answer.
            warnings.simplefilter("ignore", RuntimeWarning)
            found[:, ~whole] = np.nanquantile(values[:, ~whole], wanted, axis=0)
    return found


def log10(values: np.ndarray) -> np.ndarray:
    """The decimal logarithm where a value is positive and finite, NaN elsewhere."""
    with np.errstate(invalid="ignore"):
        positive = np.isfinite(values) & (values > 0)
    logs = np.full(values.shape, np.nan)
    np.log10(values, out=logs, where=positive)
    return logs


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis, its standard error, and the standard deviation.

    Args:
      values: `(seeds, rows)`; NaN entries are left out and not counted.

    Returns:
      Mean, standard error and standard deviation (divided by count - 1), `(rows,)`;
      NaN where fewer than one, two and two values are left.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(
        squares, count - 1, out=np.full(total.shape, np.nan), where=count > 1
    )
    std = np.sqrt(variance)
    return mean, std / np.sqrt(np.maximum(count, 1)), std


def middle(values: np.ndarray) -> np.ndarray:
    """The median over seeds of those that are no NaN; infinities count.

    Args:
      values: `(seeds, rows)`.

    Returns:
      `(rows,)`; NaN where all are.
    """
    result = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    if known.any():
        result[known] = np.nanmedian(values[:, known], axis=0)
    return result
