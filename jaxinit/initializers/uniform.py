"""Independent uniform samples, whatever the shape."""

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_number
from jaxinit.initializers._value import Init, family, times


@family
def uniform(scale: Scalar = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    r"""Samples of :math:`U[0, \text{scale})`, as in jax: they are never negative.

    For zero-mean samples use :func:`symmetric_uniform`.

    Args:
      scale: the upper end of the interval, at least 0.
      dtype: the dtype of the result where the caller gives none; real.

    Returns:
      An initializer for any shape and a real dtype.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is not a real
        float dtype.

    Examples:
      >>> x = uniform(3.0)(jax.random.key(0), (1000,))
      >>> bool(x.min() >= 0), bool(x.max() < 3)
      (True, True)
    """
    scale = _draw.check_scale("scale", scale, "upper end of the interval")
    return _uniform(0.0, 1.0, "scale", scale, dtype)


@family
def uniform_between(
    low: float, high: float, dtype: DTypeLike | None = None
) -> Initializer:
    r"""Samples of :math:`U[\text{low}, \text{high})`.

    Args:
      low: the lower end of the interval.
      high: the upper end, above ``low``.
      dtype: the dtype of the result where the caller gives none; real.

    Returns:
      An initializer for any shape and a real dtype.

    Raises:
      ValueError: if the ends are not finite or not in order, or ``dtype`` is not a
        real float dtype.

    Examples:
      >>> x = uniform_between(1.0, 2.0)(jax.random.key(0), (1000,))
      >>> bool(x.min() >= 1), bool(x.max() < 2)
      (True, True)
    """
    low, high = (
        check_number(name, value, "It is an end of the interval.")
        for name, value in [("low", low), ("high", high)]
    )
    largest = float(np.finfo(np.float32).max)
    if not (low < high and high - low <= largest and max(-low, high) <= largest):
        raise ValueError(
            f"`low` must be below `high`, got low={low:g} and high={high:g}, and their "
            f"distance at most {largest:.3g}, the largest float32. Scale the samples "
            "of a smaller interval."
        )
    if not np.nextafter(np.float32(low), np.float32(high)) < high:
        raise ValueError(
            f"`low` and `high` must have a float32 between them, got low={low!r} and "
            f"high={high!r}. Use `constant`."
        )
    return _uniform(low, high, "scale", 1.0, dtype)


@family
def symmetric_uniform(bound: Scalar, dtype: DTypeLike | None = None) -> Initializer:
    r"""Samples of :math:`U[-b, b)`, of standard deviation :math:`b / \sqrt 3`.

    Args:
      bound: :math:`b \ge 0`.
      dtype: the dtype of the result where the caller gives none; real.

    Returns:
      An initializer for any shape and a real dtype.

    Raises:
      TypeError: if ``bound`` is not a number.
      ValueError: if ``bound`` is negative or not finite, or ``dtype`` is not a real
        float dtype.

    Examples:
      >>> x = symmetric_uniform(0.5)(jax.random.key(0), (1000,))
      >>> bool(abs(x).max() <= 0.5)
      True
    """
    bound = _draw.check_scale("bound", bound, "largest absolute value of the samples")
    return _uniform(-1.0, 1.0, "bound", bound, dtype)


def _uniform(
    low: float, high: float, name: str, scale: Scalar, dtype: DTypeLike | None
) -> Init:
    """``scale``, which the caller knows by ``name``, times samples of U[low, high)."""

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return _draw.uniform(key, shape, dtype, low, high, scale, sharding)

    return _draw.from_maker(
        make,
        dtype,
        check_shape=_draw.broadcasting(name, scale),
        kinds="real",
        law=times(scale, f"uniform, {low:g} to {high:g}"),
        refit=True,
    )
