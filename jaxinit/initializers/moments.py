"""Moments of an activation function under a normal input."""

import functools
import math
from typing import NamedTuple

import numpy as np

from jaxinit.initializers._activations import Activation, Elementwise, elementwise
from jaxinit.initializers._check import check_number
from jaxinit.initializers._quadrature import NoExpectation, normal_expectation


class ActivationMoments(NamedTuple):
    r"""Expectations over :math:`u \sim N(0, q)`.

    Attributes:
      mean: :math:`E[\phi(u)]`.
      second_moment: :math:`E[\phi(u)^2]`.
      variance: :math:`E[\phi(u)^2] - E[\phi(u)]^2`.
      derivative_second_moment: :math:`E[\phi'(u)^2]`.
    """

    mean: float
    second_moment: float
    variance: float
    derivative_second_moment: float


def activation_moments(activation: Activation, q: float = 1.0) -> ActivationMoments:
    r"""Moments of ``activation`` at a normal input of second moment ``q``.

    They say what a wide layer does to a signal: with weights of variance
    :math:`\sigma_w^2 / \text{fan-in}`, the pre-activations' second moment goes from
    :math:`q` to :math:`\sigma_w^2 E[\phi(u)^2]`, and the gradients' is multiplied by
    :math:`\sigma_w^2 E[\phi'(u)^2]`, both with :math:`u \sim N(0, q)`.

    Kinks and jumps are found by adaptive quadrature, spikes as :func:`calculate_gain`
    says: some may be missed if narrower than 0.001 of :math:`\sqrt q`. The values are
    good to ten digits; those of a function that itself rounds to float32, to six.
    Results are cached, so the function must be pure, as for :func:`jax.jit`.

    Args:
      activation: a name, such as ``"relu"``, or an elementwise JAX function.
      q: the second moment of the input, above 0.

    Returns:
      The four moments, as Python floats.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or ``q`` no number.
      ValueError: if the name is unknown, the function not elementwise, ``q`` not
        positive, or an expectation not finite.

    Examples:
      >>> moments = activation_moments("relu")
      >>> round(moments.second_moment, 10), round(moments.derivative_second_moment, 10)
      (0.5, 0.5)

    References:
      Poole et al., "Exponential expressivity in deep neural networks through
      transient chaos", 2016, equations 3 and 6.
    """
    phi = elementwise(activation)
    q = check_second_moment(q)
    mean, second_moment = value_moments(phi, q)
    return ActivationMoments(
        mean,
        second_moment,
        max(second_moment - mean**2, 0.0),
        derivative_second_moment(phi, q),
    )


def check_second_moment(q: float) -> float:
    """``q`` as a float above 0."""
    advice = "It is the second moment of the pre-activations: 1.0 for normalized ones."
    return check_number("q", q, advice, low=0)


@functools.lru_cache(maxsize=4096)
def value_moments(phi: Elementwise, q: float) -> tuple[float, float]:
    r""":math:`E[\phi(u)]` and :math:`E[\phi(u)^2]` at :math:`u \sim N(0, q)`."""

    def integrand(z: np.ndarray) -> np.ndarray:
        values = phi(math.sqrt(q) * z)
        return np.stack([values, _square(values)])

    try:
        mean, second_moment = normal_expectation(integrand, _near(phi, q))
    except NoExpectation as error:
        raise ValueError(_message(phi, q, "E[phi(u)^2]", error)) from error
    return float(mean), float(second_moment)


@functools.lru_cache(maxsize=4096)
def derivative_second_moment(phi: Elementwise, q: float) -> float:
    r""":math:`E[\phi'(u)^2]` at :math:`u \sim N(0, q)`."""

    def integrand(z: np.ndarray) -> np.ndarray:
        return _square(phi.derivative(math.sqrt(q) * z))[None]

    try:
        return float(normal_expectation(integrand, _near(phi, q))[0])
    except NoExpectation as error:
        raise ValueError(_message(phi, q, "E[phi'(u)^2]", error)) from error


def _near(phi: Elementwise, q: float) -> list[float]:
    """The turning points in units of the deviation; of no input there are none."""
    return [point / math.sqrt(q) for point in phi.turning_points()] if q > 0 else []


def _square(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # an overflow is reported as not finite
        return np.asarray(np.square(values))


def _message(phi: Elementwise, q: float, what: str, error: NoExpectation) -> str:
    return (
        f"`activation` must have a finite {what} at u ~ N(0, {q:g}), got {phi.name}: "
        f"{error}, with z = u/sqrt(q). Change the function there, or `q`."
    )
