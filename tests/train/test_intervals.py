"""Intervals hold what they say: against tables and in repeated draws."""

import numpy as np
import pytest

from jaxinit._intervals import of_mean, of_share, slopes, t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (7, 2.3646), (30, 2.0423)]
)
def test_t_quantile_is_the_table(freedom, expected):
    """Values of printed tables of Student's t at 97.5%."""
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-4)


def test_intervals_of_means_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [of_mean(rng.normal(2.0, 3.0, 5), 0.9) for _ in range(2000)]

    share = np.mean([i.low <= 2 <= i.high for i in found])

    assert abs(share - 0.9) < 5 * np.sqrt(0.9 * 0.1 / 2000)


def test_one_value_has_no_interval():
    assert of_mean(np.array([3.0, np.nan])).value == 3.0
    assert np.isnan(of_mean(np.array([3.0, np.nan])).low)


def test_shares_stay_within_bounds():
    """Wilson's interval of 0 of 10 at 95% ends at z^2 / (10 + z^2) = 0.2775."""
    assert of_share(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-4)


def test_slopes_are_exponents():
    widths = np.array([16.0, 64.0, 128.0])
    sizes = np.stack([widths**0.5, 3 * widths**-1], 1)

    found = slopes(np.log2(sizes), np.log2(widths))

    np.testing.assert_allclose(found, [0.5, -1])
