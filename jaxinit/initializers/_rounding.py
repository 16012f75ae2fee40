"""Rounding that keeps samples inside the interval of their law."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def rounded_inside(
    x: jax.Array,
    factor: jax.Array,
    bounds: tuple[float, float],
    dtype: np.dtype,
    *,
    closed_below: bool,
) -> jax.Array:
    """``x`` in ``dtype``, between the bounds times ``factor``; open above.

    Rounding to nearest carries what lies within half a unit of a bound onto it or past
    it. Such values go to the nearest one inside, if the dtype has any.

    Args:
      x: samples, in the compute dtype.
      factor: a factor of at least 0, without axes or with those of ``x``.
      bounds: the ends of the interval before it is scaled, which may be infinite.
      dtype: the dtype of the result.
      closed_below: whether the lower bound itself is allowed.

    Returns:
      The rounded samples.
    """
    y = x.astype(dtype).astype(x.dtype)
    low, high = (x.dtype.type(bound) * factor for bound in bounds)
    if math.isfinite(bounds[1]):
        y = jnp.where(y >= high, -_above(-y, dtype), y)
    if math.isfinite(bounds[0]):
        y = jnp.where((y < low) if closed_below else (y <= low), _above(y, dtype), y)
    # No samples are left between bounds that meet.
    if math.isfinite(bounds[0]):
        y = jnp.where(factor > 0, y, low)
    return y.astype(dtype)


def _above(y: jax.Array, dtype: np.dtype) -> jax.Array:
    """The next larger value that ``dtype`` has, for values that it has.

    A positive value grows by three quarters of its unit at most and of half a unit at
    least, which rounds up; a negative one lies within half a unit below the next, or
    exactly there.
    """
    info, wide = jnp.finfo(dtype), np.finfo(y.dtype)  # type: ignore[no-untyped-call,unused-ignore]
    share = jnp.where(y >= 0, 0.75, 0.5).astype(y.dtype) * float(info.eps)
    least = max(float(info.smallest_subnormal), float(wide.tiny))
    up = y + jnp.maximum(jnp.abs(y) * share, y.dtype.type(least))
    return up.astype(dtype).astype(y.dtype)
