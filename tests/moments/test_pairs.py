"""Two samples of one entry, against closed forms and float64 simulation."""

import dataclasses
import math

import numpy as np
import pytest

import jaxinit
from jaxinit.moments.combine import collapsed, combined, plus
from jaxinit.moments.law import discrete, normal
from jaxinit.moments.pairs import alike, cosine, cross_moment


def relu(x):
    return np.maximum(x, 0.0)


def arc_cosine(c):
    """The cosine between the relu of two normal variables (Cho and Saul 2009)."""
    return (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi


@pytest.mark.parametrize("c", [-1.0, -0.5, 0.0, 0.5, 0.9, 0.99, 0.9999, 1.0])
@pytest.mark.parametrize("variance", [1.0, 30.0])
def test_relu_follows_the_arc_cosine_map(c, variance):
    law = combined(relu, [normal(0.0, variance, (8,), alike=c)])

    # The trapezoid rule's step is 1/20 of a deviation.
    assert cosine(law) == pytest.approx(arc_cosine(c), abs=1e-4)


@pytest.mark.parametrize("c", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("q", [0.2, 2.0])
def test_tanh_follows_the_correlation_map_of_theory(c, q):
    law = combined(np.tanh, [normal(0.0, q, (8,), alike=c)])

    # In shares of the map's own second moment: q need not be a fixed point.
    both, alone = (float(jaxinit.theory.c_map("tanh", x, q, 1.0, 0.0)) for x in (c, 1))
    assert cosine(law) == pytest.approx(both / alone, abs=1e-5)


def test_functions_of_several_variables_are_those_of_a_simulation():
    u = normal(0.3, 1.5, (8,), alike=0.6)
    v = normal(-0.2, 0.5, (8,), alike=-0.3)
    bias = discrete(np.array([-1.0, 2.0]), np.array([0.25, 0.75]), (8,), alike=1.0)
    mask = discrete(np.array([0.0, 2.0]), np.array([0.5, 0.5]), (8,), alike=0.0)

    def f(u, v, b, m):
        return np.tanh(u + b) * relu(v) * m + u

    law = combined(f, [u, v, bias, mask])

    rng = np.random.default_rng(0)
    count = 2_000_000

    def normals(mean, variance, c):
        one, two = rng.standard_normal((2, count))
        two = c * one + np.sqrt(1 - c**2) * two
        return mean + np.sqrt(variance) * one, mean + np.sqrt(variance) * two

    us, vs = normals(0.3, 1.5, 0.6), normals(-0.2, 0.5, -0.3)
    b = rng.choice([-1.0, 2.0], count, p=[0.25, 0.75])
    ms = rng.choice([0.0, 2.0], (2, count))
    products = f(us[0], vs[0], b, ms[0]) * f(us[1], vs[1], b, ms[1])
    error = products.std() / math.sqrt(count)
    assert abs(cross_moment(law) - products.mean()) < 4 * error


def test_sums_of_variables_and_collapsed_laws_keep_what_pairs_have_in_common():
    u, v = normal(0.0, 1.0, (8,), alike=0.5), normal(0.0, 3.0, (8,), alike=0.1)

    assert cosine(plus(u, v)) == pytest.approx((0.5 + 3 * 0.1) / 4)
    law = combined(relu, [plus(u, v)])
    assert cross_moment(collapsed(law)) == pytest.approx(cross_moment(law), rel=1e-6)
    assert alike(collapsed(law)) == pytest.approx(alike(law), rel=1e-6)


def test_what_is_not_known_of_one_variable_is_not_known():
    u = normal(0.0, 1.0, (8,))
    v = normal(0.0, 1.0, (8,), alike=0.5)

    assert math.isnan(cosine(u))
    assert math.isnan(cosine(combined(np.add, [u, v])))
    # One variable that is said to be alike in two ways.
    source = dataclasses.replace(v.sources[0], alike=0.7)
    other = dataclasses.replace(v, sources=(source,))
    assert math.isnan(cosine(combined(np.add, [v, other])))
