"""Gains under which the logarithm of a gradient's norm has no drift."""

import functools
import math
from typing import Literal

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice, check_count, check_flag
from jaxinit.initializers._value import family
from jaxinit.initializers.fans import fans

WalkActivation = Literal["linear", "relu"]


@family
def random_walk(
    activation: WalkActivation = "relu",
    exact: bool = False,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Samples of :math:`N(0, g^2/N)` for deep, narrow networks.

    In a network of width :math:`N` the log-norm of a back-propagated gradient walks
    randomly from layer to layer. He's factor keeps its *second moment*, whose mean a
    few large samples carry; this :math:`g` keeps the *mean of the logarithm*, so that
    a typical network neither explodes nor vanishes. The walk's variance stays, about
    :math:`L / (2N)` after :math:`L` linear layers.

    Args:
      activation: ``"linear"`` or ``"relu"``. For tanh, the authors searched for a
        gain between 1 and 1.25: use :func:`variance_scaling`.
      exact: whether to take the expectation itself, not the authors' fit to it; see
        :func:`random_walk_gain`.
      in_axis: the axes that are summed over; their size is :math:`N`.
      out_axis: the axes of the outputs, as many in the published setting.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      ValueError: if ``activation`` is unknown, or, when called, if the fan-in of the
        shape is not defined.

    Examples:
      >>> w = random_walk("relu")(jax.random.key(0), (100, 100))
      >>> round(float(w.std()) * 10, 1)
      1.4

    References:
      Sussillo and Abbott, "Random Walk Initialization for Training Very Deep
      Feedforward Networks", 2014, equations 7 and 12.
    """
    check_choice("activation", activation, ("linear", "relu"), _ADVICE)

    def fan_in(shape: tuple[int, ...]) -> float:
        return fans(shape, in_axis, out_axis, batch_axis).fan_in

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        width = round(fan_in(shape))
        std = random_walk_gain(activation, width, exact) / math.sqrt(width)
        return _draw.normal(key, shape, dtype, std, sharding)

    def check_shape(shape: tuple[int, ...]) -> None:
        fan_in(shape)

    law = f"normal, random-walk gain of {activation}"
    return _draw.from_sampler(sampler, dtype, check_shape=check_shape, law=law)


def random_walk_gain(
    activation: WalkActivation, width: int, exact: bool = False
) -> float:
    r"""The gain :math:`g` of :func:`random_walk` at width :math:`N`.

    The fits are :math:`e^{1/(2N)}` and :math:`\sqrt 2\, e^{1.2/(\max(N, 6) - 2.4)}`.
    Exactly, :math:`\log g = -\tfrac12 E[\psi(K/2) + \log(2/N)]` with the digamma
    function :math:`\psi`, where the number of active units :math:`K` is :math:`N` for
    linear units, and binomial, :math:`B(N, 1/2)` given :math:`K > 0`, for relu.

    Args:
      activation: ``"linear"`` or ``"relu"``.
      width: the width :math:`N`, at least 1.
      exact: whether to take the expectation, not the fit.

    Returns:
      The gain.

    Raises:
      TypeError: if ``width`` is not an integer.
      ValueError: if ``activation`` is unknown or ``width`` below 1.

    Examples:
      >>> round(random_walk_gain("relu", 100), 8)
      1.43170877
      >>> round(random_walk_gain("relu", 100, exact=True), 8)
      1.43230357

    References:
      Sussillo and Abbott, "Random Walk Initialization for Training Very Deep
      Feedforward Networks", 2014, equations 7 and 12.
    """
    check_choice("activation", activation, ("linear", "relu"), _ADVICE)
    width = check_count("width", width, "It is the fan-in of the layer.")
    if check_flag("exact", exact):
        return _exact_gain(activation == "relu", width)
    if activation == "linear":
        return math.exp(1 / (2 * width))
    return math.sqrt(2) * math.exp(1.2 / (max(width, 6) - 2.4))


_ADVICE = "The walk is known for these two; use `variance_scaling` for others."


@functools.lru_cache(maxsize=1024)
def _exact_gain(relu: bool, width: int) -> float:
    if not relu:
        return math.exp(-(_digamma(width / 2) + math.log(2 / width)) / 2)
    # Fourteen standard deviations of K hold all but 1e-44 of its probability.
    reach = math.ceil(7 * math.sqrt(width))
    counts = range(max(1, width // 2 - reach), min(width, width // 2 + reach) + 1)
    whole = math.lgamma(width + 1) - width * math.log(2)
    weights = [
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(width - k + 1))
        for k in counts
    ]
    digammas = [_digamma(k / 2) for k in counts]
    mean = float(np.dot(weights, digammas)) / math.fsum(weights)
    return math.exp(-(mean + math.log(2 / width)) / 2)


def _digamma(x: float) -> float:
    """The digamma function for ``x > 0``, to about fourteen digits."""
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    square = 1 / x**2
    # The asymptotic series with Bernoulli numbers, -B_2k / (2k x^2k).
    series = square * (
        -1 / 12
        + square
        * (1 / 120 + square * (-1 / 252 + square * (1 / 240 - square * (1 / 132))))
    )
    return shift + math.log(x) - 1 / (2 * x) + series
