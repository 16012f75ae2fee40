"""Independent samples of a given standard deviation, whatever the shape."""

import math

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import as_number, shown
from jaxinit.initializers._cut_normal import truncated_std as truncated_std
from jaxinit.initializers._value import family, number_of


@family
def normal(stddev: Scalar = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    r"""Samples of :math:`N(0, \sigma^2)`.

    Complex samples have independent parts of variance :math:`\sigma^2 / 2`.

    Args:
      stddev: standard deviation :math:`\sigma \ge 0`.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for any shape.

    Raises:
      TypeError: if ``stddev`` is not a number.
      ValueError: if ``stddev`` is negative or not finite, or ``dtype`` is an integer
        dtype.

    Examples:
      >>> normal(0.02)(jax.random.key(0), (2, 3)).shape
      (2, 3)
    """
    stddev = _draw.check_scale("stddev", stddev, "standard deviation of the samples")

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return _draw.normal(key, shape, dtype, stddev, sharding)

    return _draw.from_maker(
        make,
        dtype,
        check_shape=_draw.broadcasting("stddev", stddev),
        law=f"normal, std {number_of(stddev)}",
        refit=True,
    )


@family
def truncated_normal(
    stddev: Scalar = 1e-2,
    dtype: DTypeLike | None = None,
    lower: float = -2.0,
    upper: float = 2.0,
    *,
    corrected: bool = False,
) -> Initializer:
    r"""Samples of :math:`\sigma z` with :math:`z \sim N(0, 1)` given
    :math:`\text{lower} < z < \text{upper}`.

    The bounds are in units of :math:`\sigma`, as in jax: at the default :math:`\pm 2`
    the samples have a standard deviation of :math:`0.8796\,\sigma`. (PyTorch's bounds
    are absolute: its default of :math:`\pm 2` hardly ever cuts a std of 0.02.)

    Complex samples, for which the bounds must be symmetric, are complex normal with a
    modulus below ``upper``.

    Args:
      stddev: standard deviation :math:`\sigma \ge 0`, before truncation.
      dtype: the dtype of the result where the caller gives none.
      lower: the lower bound, in standard deviations.
      upper: the upper bound, in standard deviations.
      corrected: whether to divide by the standard deviation of the truncated
        :math:`z`, so that ``stddev`` is the standard deviation of the samples. The
        bounds of the samples grow by the same factor.

    Returns:
      An initializer for any shape.

    Raises:
      TypeError: if ``stddev`` is not a number.
      ValueError: if ``stddev`` is negative or not finite, the bounds are not in
        order, or they leave nothing that float32 can tell apart; when called, if the
        dtype is complex and the bounds are not symmetric.

    Examples:
      >>> x = truncated_normal(1.0)(jax.random.key(0), (1000,))
      >>> bool(abs(x).max() < 2)
      True

    References:
      Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions", volume 1,
      1994, section 13.10.1, for the variance.
    """
    stddev = _draw.check_scale("stddev", stddev, "standard deviation before truncation")
    bounds = _bounds(lower, upper)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        if not _draw.is_complex(dtype):
            scale = stddev / truncated_std(*bounds) if corrected else stddev
            return _draw.truncated_normal(key, shape, dtype, scale, *bounds, sharding)
        limit = bounds[1]
        if bounds[0] != -limit or math.isinf(limit):
            raise ValueError(
                f"`lower` and `upper` must be opposite and finite for {dtype.name}, "
                f"got lower={lower}, upper={upper}: they bound the modulus."
            )
        scale = stddev / complex_truncated_std(limit) if corrected else stddev
        return _draw.complex_disk(key, shape, dtype, scale, limit, sharding)

    cut = f"{bounds[0]:g} to {bounds[1]:g}{' and rescaled' if corrected else ''}"
    return _draw.from_maker(
        make,
        dtype,
        check_shape=_draw.broadcasting("stddev", stddev),
        law=f"normal, std {number_of(stddev)}, cut at {cut}",
        refit=True,
    )


def _bounds(lower: float, upper: float) -> tuple[float, float]:
    """The bounds as floats, between which float32 must have a value."""
    advice = "The bounds are in standard deviations; the default is -2 to 2."
    found = []
    for name, value in [("lower", lower), ("upper", upper)]:
        number = as_number(value)
        if number is None:
            raise TypeError(f"`{name}` must be a number, got {shown(value)}. {advice}")
        found.append(number)
    low, high = found
    # Written so that a NaN fails.
    if not (low < high and np.nextafter(np.float32(low), np.float32(high)) < high):
        raise ValueError(
            "`lower` must lie below `upper` and leave something that float32 can "
            f"resolve, got lower={lower}, upper={upper}. {advice}"
        )
    return low, high


def complex_truncated_std(limit: float) -> float:
    r"""The root mean square of a complex standard normal with modulus below ``limit``.

    :math:`|w|^2` is exponential, cut at :math:`a^2`, so
    :math:`E|w|^2 = 1 - a^2 e^{-a^2} / (1 - e^{-a^2})`.

    Args:
      limit: the bound of the modulus, :math:`a > 0`.

    Returns:
      The root mean square modulus.

    Examples:
      >>> round(complex_truncated_std(2.0), 10)
      0.961961828
    """
    return math.sqrt(1 + limit**2 * math.exp(-(limit**2)) / math.expm1(-(limit**2)))
