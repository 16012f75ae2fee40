"""How much a layer must amplify so that its activation keeps the signal."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxinit.initializers._activations import Activation, Elementwise, elementwise
from jaxinit.initializers._check import as_number
from jaxinit.initializers.moments import (
    check_second_moment,
    derivative_second_moment,
    value_moments,
)

GainKind = Literal["second_moment", "variance", "backward", "fixed_point", "torch"]


def calculate_gain(
    activation: Activation,
    kind: GainKind = "second_moment",
    *,
    param: float | None = None,
) -> float:
    r"""The factor for a kernel's standard deviation that makes up for ``activation``.

    With :math:`z \sim N(0, 1)`, the kinds are

    - ``"second_moment"``: :math:`E[\phi(z)^2]^{-1/2}`. A kernel of standard deviation
      gain :math:`/\sqrt{\text{fan-in}}` keeps pre-activations at second moment 1, as
      He's factor :math:`\sqrt 2` does for relu.
    - ``"variance"``: :math:`\mathrm{Var}[\phi(z)]^{-1/2}`, for kernels whose columns
      sum to zero (scaled weight standardization, :func:`centered`), which do not see
      the mean.
    - ``"backward"``: :math:`E[\phi'(z)^2]^{-1/2}`, which keeps gradients.
    - ``"fixed_point"``: the smallest :math:`\sigma` with
      :math:`E[\phi(\sigma z)^2] = 1`, which keeps the second moment of the
      *activations* at 1.
    - ``"torch"``: the table of PyTorch's function of this name, which follows other
      rules (5/3 for tanh, 3/4 for selu, 1 for sigmoid).

    The result is computed in float64, whatever jax is set to, and is good to ten
    digits, kinks and jumps included. Spikes of any width are found where the function
    compares its input with a number, or is a function of the distance to one; any
    other spike may be missed if it is narrower than 0.001. It is cached, so the
    function must be pure, as for :func:`jax.jit`.

    Args:
      activation: a name, such as ``"relu"``, or an elementwise JAX function. Names
        are those of jax, PyTorch and Keras, in any spelling (``"LeakyReLU"``). As in
        jax, ``"gelu"`` is the tanh approximation and ``"leaky_relu"`` has slope 0.01;
        ``"gelu_exact"`` and ``functools.partial`` give the others.
      kind: which of the definitions above.
      param: the parameter of a named activation that has one: the slope of
        ``"leaky_relu"`` and ``"prelu"``, the alpha of ``"elu"`` and ``"celu"``, the
        beta of ``"softplus"``, the threshold of ``"threshold"`` and the shrinks.

    Returns:
      The gain, a Python float.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable.
      ValueError: if the name or ``kind`` is unknown, if the function is not
        elementwise (softmax, glu), or if no such gain exists.

    Examples:
      >>> round(calculate_gain("relu"), 8)
      1.41421356
      >>> round(calculate_gain(jnp.tanh), 8)
      1.59253742

    References:
      He et al., "Delving Deep into Rectifiers", 2015, section 2.2.
      Brock et al., "Characterizing signal propagation to close the performance gap
      in unnormalized ResNets", 2021, section 4.1 (``"variance"``).
    """
    if as_number(kind) is not None:
        raise TypeError(
            f"`kind` must be a name, got {kind!r}. PyTorch's second argument is "
            f"`param` here: calculate_gain({activation!r}, param={kind})."
        )
    if not isinstance(kind, str) or kind not in get_args(GainKind):
        raise ValueError(
            f"`kind` must be one of {', '.join(get_args(GainKind))}, got {kind!r}. "
            "Take 'second_moment' for the rule that gives sqrt(2) for relu."
        )
    phi = elementwise(activation, param)
    if kind == "torch":
        return _torch_gain(phi)
    if kind == "fixed_point":
        return _fixed_point(phi)
    if kind == "backward":
        moment, what = derivative_second_moment(phi, 1.0), "derivative"
    else:
        mean, moment = value_moments(phi, 1.0)
        what = "value"
        if kind == "variance":
            # A constant's second moment and squared mean differ by rounding only.
            variance = moment - mean**2
            moment, what = variance if variance > 1e-12 * moment else 0.0, "variance"
    if moment <= 0:
        raise ValueError(
            f"`activation` must not have a zero {what}, got {phi.name}: no gain of "
            f"kind {kind!r} makes up for it. Choose another function or kind."
        )
    return 1 / math.sqrt(moment)


def critical_init(activation: Activation, q: float = 1.0) -> tuple[float, float]:
    r"""Deviations of weights and biases at the edge of chaos with fixed point ``q``.

    Both the signal and its gradient keep their size from layer to layer:

    .. math::
      \sigma_w^2 = 1 / E[\phi'(u)^2], \qquad
      \sigma_b^2 = q - \sigma_w^2 E[\phi(u)^2], \qquad u \sim N(0, q).

    Give kernels standard deviation :math:`\sigma_w / \sqrt{\text{fan-in}}` and biases
    :math:`\sigma_b`.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function; see
        :func:`calculate_gain`.
      q: the second moment that pre-activations keep, above 0.

    Returns:
      ``(sigma_w, sigma_b)``: standard deviations, not variances.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or ``q`` no number.
      ValueError: if the name is unknown, the function not elementwise, ``q`` not
        positive, or if no such point exists: the bias would need a negative variance.

    Examples:
      >>> sigma_w, sigma_b = critical_init("tanh")
      >>> round(sigma_w**2, 8), round(sigma_b**2, 8)
      (2.15330265, 0.15096463)
      >>> critical_init("identity")
      (1.0, 0.0)

    References:
      Poole et al., "Exponential expressivity in deep neural networks through
      transient chaos", 2016, equations 3 and 6.
      Hayou et al., "On the Impact of the Activation Function on Deep Neural Networks
      Training", 2019, section 3.
    """
    phi = elementwise(activation)
    q = check_second_moment(q)
    slope = derivative_second_moment(phi, q)
    if slope <= 0:
        raise ValueError(
            f"`activation` must not have a zero derivative, got {phi.name}: no weight "
            "variance keeps its gradients. Choose another function."
        )
    weight = 1 / slope
    bias = q - weight * value_moments(phi, q)[1]
    if abs(bias) < 1e-10 * q:  # exactly critical without a bias, as relu is
        bias = 0.0
    if bias < 0:
        raise ValueError(
            f"`activation` has no edge of chaos at q = {q:g}, got {phi.name}: with "
            f"sigma_w^2 = {weight:.6g} the bias would need variance {bias:.6g}, which "
            "is negative. Choose another `q` or function; a bounded one with "
            "phi(0) = 0, such as tanh, has a point for every `q`."
        )
    return math.sqrt(weight), math.sqrt(bias)


def _fixed_point(phi: Elementwise) -> float:
    """The smallest root on a grid of octaves, closed in on by false position."""
    grid = [2.0**k for k in range(-8, 9)]
    low, low_excess = grid[0], _excess(phi, grid[0])
    for high in grid[1:]:
        high_excess = _excess(phi, high)
        if low_excess * high_excess <= 0:
            return _root(phi, low, low_excess, high, high_excess)
        low, low_excess = high, high_excess
    raise ValueError(
        f"`activation` must have a sigma in [2^-8, 2^8] with E[phi(sigma z)^2] = 1 for "
        f"kind 'fixed_point', got {phi.name}, whose second moment stays "
        f"{'below' if low_excess < 0 else 'above'} 1. Use kind 'second_moment'."
    )


def _excess(phi: Elementwise, sigma: float) -> float:
    return value_moments(phi, sigma**2)[1] - 1


def _root(
    phi: Elementwise, low: float, at_low: float, high: float, at_high: float
) -> float:
    """Illinois' variant of false position: the end that stays loses half its weight."""
    side = 0
    middle = low
    for _ in range(100):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = _excess(phi, middle)
        if abs(at_middle) < 1e-13 or high - low < 1e-14 * high:
            return middle
        if at_middle * at_high > 0:
            high, at_high = middle, at_middle
            at_low = at_low / 2 if side == 1 else at_low
            side = 1
        else:
            low, at_low = middle, at_middle
            at_high = at_high / 2 if side == -1 else at_high
            side = -1
    return middle


_TORCH: tuple[tuple[tuple[Callable[..., Any], ...], float], ...] = (
    ((jax.nn.identity, jax.nn.sigmoid, jax.lax.logistic), 1.0),
    ((jnp.tanh, jax.nn.tanh, jax.lax.tanh), 5 / 3),
    ((jax.nn.relu,), math.sqrt(2)),
    ((jax.nn.selu,), 3 / 4),
)


def _torch_gain(phi: Elementwise) -> float:
    for functions, gain in _TORCH:
        if phi.function in functions:
            return gain
    function, slope = phi.function, 0.01
    if isinstance(function, functools.partial) and not function.args:
        slope = function.keywords.get("negative_slope", slope)
        function = function.func
    if function is jax.nn.leaky_relu:
        return math.sqrt(2 / (1 + float(slope) ** 2))
    raise ValueError(
        "`activation` must be identity, sigmoid, tanh, relu, leaky_relu or selu for "
        f"kind 'torch', got {phi.name}: PyTorch's table has no other. Use kind "
        "'second_moment', which is computed for any function."
    )
