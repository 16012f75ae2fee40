"""Expectations against closed forms, and integrals that do not exist."""

import math

import numpy as np
import pytest

from jaxinit.initializers._quadrature import NoExpectation, normal_expectation


def test_even_moments_are_double_factorials():
    powers = np.arange(0, 13, 2)

    got = normal_expectation(lambda z: z ** powers[:, None])

    wanted = [math.prod(range(p - 1, 0, -2)) for p in powers]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_steps_and_kinks_off_the_panel_edges():
    offsets = np.array([[-2.2], [0.123456789], [1e-3], [3.3]])

    got = normal_expectation(
        lambda z: np.concatenate([z > offsets, np.maximum(z - offsets, 0)])
    )

    t = offsets[:, 0]
    tail = np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in t])
    density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(got, [*tail, *(density - t * tail)], rtol=1e-9)


def test_a_zero_integrand_is_zero():
    assert normal_expectation(lambda z: 0.0 * z[None]) == 0.0


@pytest.mark.parametrize(
    ("integrand", "why"),
    [
        (lambda z: np.exp(z**2)[None], "grows too fast"),
        (lambda z: np.where(z > 1, np.nan, z)[None], "not finite at z = 1.0"),
        (lambda z: 1 / np.abs(z)[None], "does not converge"),
    ],
)
def test_integrals_that_do_not_exist(integrand, why):
    with pytest.raises(NoExpectation, match=why):
        normal_expectation(integrand)
