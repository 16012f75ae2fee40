"""Charts: what is drawn is what was measured, alike in figures and pages."""

import re

import numpy as np
import pytest

from jaxinit.report.chart_figure import figure_of
from jaxinit.report.chart_svg import svg_of
from jaxinit.report.charts import Chart, over_seeds

VALUES = np.arange(101.0)[:, None] * np.array([1.0, 10.0])


def chart(*curves, **options):
    return Chart("a title", curves, "x", "y", **options)


def test_lines_are_medians_and_bands_hold_their_share():
    curve = over_seeds("a", np.arange(2), VALUES, 0, 0.9)

    np.testing.assert_array_equal(curve.middle, [50, 500])
    np.testing.assert_array_equal(curve.low, [5, 50])
    np.testing.assert_array_equal(curve.high, [95, 950])


def test_what_is_not_finite_counts_as_the_largest_and_is_not_drawn():
    values = np.array([[1.0, 1.0, 0.0], [2.0, np.nan, 0.0], [3.0, np.inf, 5.0]])
    curve = over_seeds("a", np.arange(3), values, 0, 1.0)

    np.testing.assert_array_equal(curve.low, [1, 1, 0])
    np.testing.assert_array_equal(curve.middle, [2, np.nan, 0])
    positive = over_seeds("a", np.arange(3), values, 0, 1.0, positive=True)
    np.testing.assert_array_equal(positive.middle, [2, np.nan, np.nan])


@pytest.mark.parametrize("log", [0, 10])
def test_a_page_draws_what_the_figure_draws(log):
    """Points lie on one line after both axes' scales, in the page as in the data."""
    x, y = np.array([1.0, 10.0, 100.0]), np.array([[2.0, 20.0, 2000.0]])
    made = chart(over_seeds("a", x, y, 0), x_log=log, y_log=log)
    (points,) = re.findall(
        r'<polyline [^>]*points="([^"]*)"', "".join(svg_of([[made]]))
    )
    places = np.array([tuple(map(float, p.split(","))) for p in points.split()])
    scale = np.log if log else np.asarray
    for got, wanted in zip(places.T, (scale(x), -scale(y[0])), strict=True):
        span = np.ptp(got) / np.ptp(wanted)
        np.testing.assert_allclose(got - got[0], span * (wanted - wanted[0]), atol=0.11)
    (line,) = [a for a in figure_of([[made]]).axes[0].lines]
    np.testing.assert_array_equal(line.get_ydata(), y[0])


def test_curves_beyond_the_colors_differ_in_their_dashes():
    curves = [over_seeds(str(n), np.arange(2), VALUES, n) for n in range(20)]
    lines = figure_of([[chart(*curves)]]).axes[0].lines
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == 20
    text = "".join(svg_of([[chart(*curves)]]))
    strokes = set(
        re.findall(r'stroke="(#\w+)" stroke-width="2"([^/>]*?)(?: points|/>)', text)
    )
    assert len(strokes) >= 20


def test_numbers_at_the_axes_are_round_and_in_their_place():
    y = np.array([[1e-3, 1.0, 1e6]])
    made = chart(over_seeds("a", np.arange(3), y, 0), y_log=10)
    found = re.findall(
        r'"end" x="[\d.]+" y="([\d.]+)">([^<]*)<', "".join(svg_of([[made]]))
    )
    places = [float(place) for place, _ in found]
    assert [label for _, label in found] == ["0.01", "1", "100", "1e4", "1e6"]
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0], atol=0.11)


def test_nothing_to_draw_and_names_that_are_markup():
    nothing = over_seeds("<b>$x$", np.arange(2), np.full((3, 2), np.nan), 0)
    made = chart(nothing, y_log=10, names=("<i>", "$\\frac{$"))
    text = "".join(svg_of([[made]]))

    assert "<b>" not in text
    assert "<i>" not in text
    assert "<polyline" not in text
    figure_of([[made]]).canvas.draw()
