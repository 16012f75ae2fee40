"""Independent uniform samples, whatever the shape."""

import math

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._refit import refittable, shown


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
    _draw.check_scale("scale", scale, "upper end of the interval")
    return _uniform(0.0, 1.0, scale, dtype)


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
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"`low` must be below `high`, both finite, got low={low}, high={high}."
        )
    return _uniform(float(low), float(high), 1.0, dtype)


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
    _draw.check_scale("bound", bound, "largest absolute value of the samples")
    return _uniform(-1.0, 1.0, bound, dtype)


def _uniform(
    low: float, high: float, scale: Scalar, dtype: DTypeLike | None
) -> Initializer:
    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return _draw.uniform(key, shape, dtype, low, high, scale, sharding)

    init = _draw.from_maker(make, dtype, allow_complex=False)
    law = f"uniform, {low:g} to {high:g}"
    return refittable(
        init,
        law=law
        if isinstance(scale, float) and scale == 1
        else f"{shown(scale)} * ({law})",
    )
