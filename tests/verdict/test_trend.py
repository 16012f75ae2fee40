import numpy as np
import pytest

from jaxinit.verdict.trend import fit_trend, student_quantile
from tests.report.synthetic import walk


def test_slope_of_exact_lines():
    depth = np.arange(6.0)
    trend = fit_trend(np.stack([2.0 - 1.5 * depth, 4.0 - 0.5 * depth]))

    assert trend is not None
    assert trend.slope == pytest.approx(-1.0)
    np.testing.assert_allclose(trend.slopes, [-1.5, -0.5])
    assert trend.start == pytest.approx(3.0)
    assert trend.change == pytest.approx(-5.0)
    # Only the seeds differ: the deviation of {-1.5, -0.5} is 1/sqrt(2), over sqrt(2).
    assert trend.stderr == pytest.approx(0.5)
    assert trend.quantile == pytest.approx(63.657)


def test_scatter_that_all_seeds_share_is_not_averaged_out():
    # The textbook standard error of one regression, s / sqrt(sum (x - mean)^2).
    bend = np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])
    residual = bend - np.polyval(np.polyfit(np.arange(6.0), bend, 1), np.arange(6.0))
    expected = np.sqrt((residual**2).sum() / 4 / 17.5)

    trend = fit_trend(np.tile(bend, (1000, 1)))

    assert trend is not None
    assert trend.stderr == pytest.approx(expected, rel=1e-12)


def coverage(step: float, common: float, num_seeds: int, *, shrink: float = 1.0) -> int:
    """How many of 400 experiments have the true slope within the 99% interval."""
    hits = 0
    for i in range(400):
        curves = walk(num_seeds, 20, drift=-0.3, step=step, seed=i)
        curves = curves + common * np.random.default_rng(10_000 + i).normal(size=20)
        trend = fit_trend(curves)
        assert trend is not None
        error = shrink * trend.quantile * trend.stderr
        hits += abs(trend.slope + 0.3) < error
    return hits


# A random walk over depth is what finite width does; the common scatter is what
# layers of different types do. 400 trials at 99% miss 4 on average; 12 or more misses
# have probability 1e-3 if the interval is right.
@pytest.mark.parametrize(
    ("step", "common", "num_seeds"),
    [(0.3, 0.0, 16), (0.3, 0.0, 4), (0.0, 1.0, 16), (0.3, 1.0, 16), (1.0, 0.3, 64)],
)
def test_interval_covers_the_true_slope(step, common, num_seeds):
    assert coverage(step, common, num_seeds) > 400 - 12


def test_coverage_notices_an_interval_that_is_half_as_wide():
    assert coverage(0.3, 1.0, 16, shrink=0.5) < 400 - 12


def test_rows_without_a_logarithm_are_left_out():
    curves = -1.0 * np.arange(8.0) + np.zeros((3, 8))
    curves[:, 2] = np.nan
    curves[1, 5:] = -np.inf
    trend = fit_trend(curves)

    assert trend is not None
    assert trend.slope == pytest.approx(-1.0)
    assert trend.stderr == pytest.approx(0.0, abs=1e-12)


def test_a_seed_with_two_rows_is_left_out():
    curves = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 9.0, np.nan, np.nan]])
    trend = fit_trend(curves)

    assert trend is not None
    assert trend.slope == pytest.approx(1.0)
    np.testing.assert_array_equal(np.isnan(trend.slopes), [False, True])


@pytest.mark.parametrize("shape", [(4, 2), (4, 0), (0, 5)])
def test_no_line_through_less_than_three_rows(shape):
    assert fit_trend(np.zeros(shape)) is None


# scipy.special.stdtrit(df, 0.995), from scipy 1.17.
@pytest.mark.parametrize(
    ("freedom", "exact"),
    [(1, 63.6567), (2, 9.9248), (7, 3.4995), (12, 3.0545), (45, 2.6896), (1e6, 2.5758)],
)
def test_student_quantile(freedom, exact):
    # At least the exact value (to its printed digits), at most 1% above it.
    assert exact - 1e-3 < student_quantile(freedom) < 1.01 * exact
