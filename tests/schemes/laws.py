"""Laws of samples, and a check that is sharp where a law has bounds."""

import numpy as np
from scipy import stats

from tests.initializers.checks import widened


def uniform(bound):
    """Uniform between plus and minus ``bound``."""
    return stats.uniform(-bound, 2 * bound)


def truncated(scale):
    """Normal of deviation ``scale``, cut at two of them."""
    return stats.truncnorm(-2, 2, scale=scale)


def assert_law(x, law):
    """``x`` follows a symmetric law: by Kolmogorov-Smirnov, and by its largest entry.

    Each part has a false-alarm rate of one in a million: of ``n`` samples, the largest
    modulus exceeds the point with ``14 / n`` beyond it but for ``exp(-14)``.
    """
    values = widened(x).ravel()
    result = stats.kstest(values, law.cdf)
    assert result.pvalue > 1e-6, f"KS distance {result.statistic}, p {result.pvalue}"
    largest = np.abs(values).max()
    low = law.ppf(1 - 7 / max(values.size, 14))
    high = law.ppf(1 - 2.5e-7 / values.size) * (1 + 1e-6)
    assert low <= largest <= high, (
        f"the largest entry is {largest}, expected {low} to {high}"
    )
