r"""Mean-field theory of wide networks: what a signal does before anything is run.

A layer of width n, :math:`h = W \phi(h') + b` with :math:`W_{ij} \sim N(0, \sigma_w^2
/ n)` and :math:`b_i \sim N(0, \sigma_b^2)`, maps the second moment of its input to
that of its output (``q_map``), and the correlation of two inputs (``c_map``); the
square of a gradient changes by ``chi_1`` per layer.

Variances and second moments broadcast: all functions take grids. Activations are names
or elementwise functions, as ``jaxinit.calculate_gain`` takes them.

References:
  Poole et al., "Exponential expressivity in deep neural networks through transient
  chaos", 2016; Schoenholz et al., "Deep Information Propagation", 2017; Hayou et al.,
  "On the Impact of the Activation Function on Deep Neural Networks Training", 2019.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxinit.initializers._activations import Activation, Elementwise, elementwise
from jaxinit.initializers._check import check_number, shown
from jaxinit.initializers._correlated import product_expectation
from jaxinit.initializers.moments import derivative_second_moment, value_moments

__all__ = [
    "FixedPoint",
    "c_map",
    "chi_1",
    "edge_of_chaos",
    "fixed_point",
    "phase",
    "q_map",
]

Number = float | np.ndarray


class FixedPoint(NamedTuple):
    """Where a deep network's signal ends; every field has the grid's shape.

    Attributes:
      q: the second moment; infinite if it grows without end.
      chi_1: the factor per layer of a gradient's square there.
      c: the correlation of two inputs that is reached; 1 in the ordered phase.
      xi_q: layers over which the second moment forgets, by a factor of e.
      xi_c: layers over which the correlation does; infinite at the edge of chaos.
      stable: whether the second moment returns to ``q`` from nearby.
    """

    q: np.ndarray
    chi_1: np.ndarray
    c: np.ndarray
    xi_q: np.ndarray
    xi_c: np.ndarray
    stable: np.ndarray


def q_map(activation: Activation, q: Number, var_w: Number, var_b: Number) -> Any:
    """The second moment of the next layer's output.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      q: second moments of this layer's output, 0 or more.
      var_w: variance of the weights times their number of inputs.
      var_b: variance of the biases.

    Returns:
      float64, of the shape that the arguments broadcast to.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is negative
        or not finite, or the expectation does not exist.

    Examples:
      >>> import jax, jaxinit.theory
      >>> round(float(jaxinit.theory.q_map(jax.nn.relu, 1.0, 2.0, 0.0)), 9)
      1.0
    """
    phi = elementwise(activation)
    q, var_w, var_b = _checked(q=q, var_w=var_w, var_b=var_b)
    return var_b + var_w * _over(lambda q: value_moments(phi, q)[1], q)


def chi_1(activation: Activation, q: Number, var_w: Number) -> Any:
    """The factor per layer of a gradient's mean square, at second moment ``q``.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      q: second moments.
      var_w: variance of the weights times their number of inputs.

    Returns:
      float64, of the shape that the arguments broadcast to.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is negative
        or not finite, or the expectation does not exist.
    """
    phi = elementwise(activation)
    q, var_w = _checked(q=q, var_w=var_w)
    return var_w * _over(lambda q: derivative_second_moment(phi, q), q)


def c_map(
    activation: Activation, c: Number, q: Number, var_w: Number, var_b: Number
) -> Any:
    """The covariance of two inputs behind the next layer, over ``q``.

    At the fixed point of ``q`` it is their correlation.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      c: correlations at this layer, from -1 to 1.
      q: second moment at this layer, above 0; the same for both inputs.
      var_w: variance of the weights times their number of inputs.
      var_b: variance of the biases.

    Returns:
      float64, of the shape that the arguments broadcast to.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is out of
        range, or the expectation does not exist.
    """
    phi = elementwise(activation)
    q, var_w, var_b = _checked(q=q, var_w=var_w, var_b=var_b)
    c = _numbers("c", c)
    if not (np.abs(c) <= 1).all():
        raise ValueError(f"`c` must lie between -1 and 1, got {c}.")
    if not (q > 0).all():
        raise ValueError(f"`q` must be above 0, where correlations exist; got {q}.")
    products = _over(lambda q, c: product_expectation(phi, q, c), q, c)
    return (var_b + var_w * products) / q


def fixed_point(
    activation: Activation, var_w: Number, var_b: Number, *, start: float = 1.0
) -> FixedPoint:
    """Where the second moment and the correlation end, layer after layer.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      var_w: variance of the weights times their number of inputs.
      var_b: variance of the biases.
      start: the second moment to start from, 0 or more.

    Returns:
      The fixed points, of the shape that the arguments broadcast to.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is negative
        or not finite, or an expectation does not exist.

    Examples:
      >>> import jax.numpy as jnp, jaxinit.theory
      >>> point = jaxinit.theory.fixed_point(jnp.tanh, 1.5, 0.05)
      >>> round(float(point.q), 6), round(float(point.xi_c), 4)
      (0.418037, 15.791)
    """
    phi = elementwise(activation)
    var_w, var_b = _checked(var_w=var_w, var_b=var_b)
    advice = "It is a second moment: 1.0 for normalized inputs."
    start = check_number("start", start, advice, low=0, closed=True)
    found = [
        _fixed(phi, float(w), float(b), start) for w, b in np.nditer([var_w, var_b])
    ]
    shape = np.broadcast_shapes(var_w.shape, var_b.shape)
    columns = [np.array(column).reshape(shape) for column in zip(*found, strict=True)]
    return FixedPoint(*columns)


def edge_of_chaos(activation: Activation, q: Number) -> tuple[Any, Any]:
    """The variances at which ``q`` is a fixed point and gradients keep their size.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      q: second moments, 0 or more; a curve for a grid of them.

    Returns:
      Variance of the weights times their number of inputs, and of the biases: the
      latter NaN where it would be negative, since ``q`` then lies on no edge.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is negative
        or not finite, or the expectation does not exist.

    Examples:
      >>> import jax.numpy as jnp, jaxinit.theory
      >>> w, b = jaxinit.theory.edge_of_chaos(jnp.tanh, 0.57004788)
      >>> round(float(w), 6), round(float(b), 6)
      (1.760955, 0.05)
    """
    (q,) = _checked(q=q)
    var_w = 1 / chi_1(activation, q, 1.0)
    var_b = q - q_map(activation, q, var_w, 0.0)
    # The rounding of a difference of numbers of size q is no negative variance.
    var_b = np.where(np.abs(var_b) < 1e-12 * np.maximum(q, 1e-300), 0.0, var_b)
    return var_w, np.where(var_b >= 0, var_b, np.nan)


def phase(activation: Activation, var_w: Number, var_b: Number) -> Any:
    """What a deep network does to two inputs and to gradients.

    Args:
      activation: a name, such as ``"tanh"``, or an elementwise JAX function.
      var_w: variance of the weights times their number of inputs.
      var_b: variance of the biases.

    Returns:
      For each point ``"ordered"``, ``"critical"`` (chi_1 within 0.02 of 1),
      ``"chaotic"``, or ``"unstable"`` where the second moment does not settle.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable, or another argument
        no number.
      ValueError: if the activation is unknown or not elementwise, a number is negative
        or not finite, or an expectation does not exist.
    """
    point = fixed_point(activation, var_w, var_b)
    names = np.where(point.chi_1 < 1, "ordered", "chaotic")
    names = np.where(np.abs(point.chi_1 - 1) < 0.02, "critical", names)
    return np.where(np.isfinite(point.q), names, "unstable")


# Fixed points.

_SETTLED, _MOST = 1e-13, 20_000
_LARGEST = 1e12


def _fixed(phi: Elementwise, var_w: float, var_b: float, q: float) -> tuple[float, ...]:
    def step(q: float) -> float:
        return var_b + var_w * value_moments(phi, q)[1]

    def correlation(c: float) -> float:
        return (var_b + var_w * product_expectation(phi, q, min(c, 1.0))) / q

    q = _limit(step, q)
    if not np.isfinite(q):
        return (np.inf, np.nan, np.nan, np.nan, np.nan, False)
    chi = var_w * derivative_second_moment(phi, q)
    slope = _slope_of(step, q)
    if q == 0:
        return (0.0, chi, np.nan, _depth(slope), _depth(chi), slope <= 1 + 1e-6)
    c, rate = 1.0, chi
    if chi > 1 + 1e-9:
        c = min(_limit(correlation, 0.5), 1.0)
        rate = var_w * product_expectation(phi.derivative, q, c)
    return (q, chi, c, _depth(slope), _depth(rate), slope <= 1 + 1e-6)


def _limit(step: Callable[[float], float], x: float) -> float:
    """Iterates, with Aitken's jumps where they land close; 0 and infinity are ends."""
    for _ in range(_MOST):
        first = step(x)
        if abs(first - x) <= _SETTLED * max(abs(x), 1e-3):
            return first
        if not first < _LARGEST:
            return np.inf
        second = step(first)
        bend = second - 2 * first + x
        jump = x - (first - x) ** 2 / bend if bend else second
        close = abs(jump - second) < 0.5 * abs(second) and jump >= 0
        x = jump if close else second
        if x < 1e-12:
            return 0.0
    return x


def _slope_of(step: Callable[[float], float], q: float) -> float:
    width = 1e-4 * q if q > 0 else 1e-8
    if q == 0:
        return step(width) / width
    # Five points: an error of the fourth power of the width.
    f = [step(q + k * width) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * width)


def _depth(rate: float) -> float:
    rate = abs(rate)
    if rate == 0:
        return 0.0
    return np.inf if abs(rate - 1) < 1e-9 else abs(1 / np.log(rate))


def _over(function: Callable[..., float], q: np.ndarray, *rest: Any) -> np.ndarray:
    """The function at each second moment, over a broadcast grid."""
    grid = np.broadcast_arrays(q, *rest)
    points = zip(*(g.ravel().tolist() for g in grid), strict=True)
    flat = [function(*point) for point in points]
    return np.array(flat, np.float64).reshape(grid[0].shape)


def _checked(**values: Number) -> list[np.ndarray]:
    found = []
    for name, value in values.items():
        array = _numbers(name, value)
        if not (array >= 0).all() or not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be 0 or more and finite, got {value}.")
        found.append(array)
    return found


def _numbers(name: str, value: Number) -> np.ndarray:
    """A number or a grid of them as float64."""
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "bOSUc":
            return given.astype(np.float64)
    except (TypeError, ValueError):  # ragged lists, traced values
        pass
    raise TypeError(
        f"`{name}` must be a number or an array of numbers, got {shown(value)}."
    )
