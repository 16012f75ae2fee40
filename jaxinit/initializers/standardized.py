"""Initializers whose samples have an exact mean or standard deviation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers._call import call, default_dtype
from jaxinit.initializers._check import check_number
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import family, law_of
from jaxinit.initializers.fans import as_axes, normalize_axes

# Below it the negative correlation between the weights of one output, -1/(n-1), is
# no longer small.
_MIN_FAN_IN = 8


@family
def centered(
    base: Initializer,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Samples of ``base`` whose sum over every output's incoming weights is zero.

    The mean over the fan-in is subtracted and the rest multiplied by
    :math:`\sqrt{n/(n-1)}`, which restores the variance. The layer then ignores the
    mean of its inputs, so use the gain ``calculate_gain(activation, "variance")``.

    Args:
      base: the initializer to center.
      out_axis: the axes of the outputs. The mean is taken over all others.
      batch_axis: axes along which independent kernels are stacked; kept as well.
      dtype: the dtype of the result where none is given. A narrow one is rounded
        last, so that the sum is zero only up to its precision.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: when called, if an axis is out of range or the fan-in :math:`n`
        below 8.

    Examples:
      >>> w = centered(jax.nn.initializers.he_normal())(jax.random.key(0), (16, 2))
      >>> bool(jnp.allclose(w.sum(axis=0), jnp.zeros(2), atol=1e-6))
      True

    References:
      Huang et al., "Centered Weight Normalization in Accelerating Training of Deep
      Neural Networks", 2017, section 3.
    """
    kept = (*as_axes(out_axis), *as_axes(batch_axis))

    def fan_in_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
        found = normalize_axes("out_axis", kept, shape)
        return tuple(axis for axis in range(len(shape)) if axis not in found)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        samples = call(base, key, shape, dtype)
        axes = fan_in_axes(shape)
        n = math.prod(shape[axis] for axis in axes)
        return _centered(samples, math.sqrt(n / (n - 1)), axes)

    def check_shape(shape: tuple[int, ...]) -> None:
        n = math.prod(shape[axis] for axis in fan_in_axes(shape))
        if 0 not in shape and n < _MIN_FAN_IN:
            raise ValueError(
                f"`centered` needs a fan-in of at least {_MIN_FAN_IN}, got {n} from "
                f"the shape {shape} with `out_axis` {out_axis}. Use the plain "
                "initializer for so few inputs."
            )

    return from_sampler(
        sampler,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, centered",
    )


@family
def normalized(
    base: Initializer,
    stddev: float,
    axis: Axes | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Samples of ``base`` divided by their realized standard deviation.

    The sampling noise of the scale is gone: ``std(w)`` is ``stddev`` to the precision
    of the dtype. Samples that do not vary (a constant, a single element) stay as they
    are, since no factor gives them a deviation.

    Args:
      base: the initializer to normalize.
      stddev: the standard deviation about the mean that the result has.
      axis: the axes over which it is exact; all of them by default, or those of the
        fan-in for every output by itself.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable or ``stddev`` not a number.
      ValueError: if ``stddev`` is negative, or, when called, if ``axis`` is out of
        range.

    Examples:
      >>> w = normalized(jax.nn.initializers.normal(), 0.5)(jax.random.key(0), (8, 8))
      >>> round(float(w.std()), 6)
      0.5
    """
    advice = "It is the standard deviation of the result."
    stddev = check_number("stddev", stddev, advice, low=0, closed=True)
    axes = None if axis is None else as_axes(axis)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        samples = call(base, key, shape, dtype)
        over = None if axes is None else normalize_axes("axis", axes, shape)
        return _normalized(samples, stddev, over)

    def check_shape(shape: tuple[int, ...]) -> None:
        normalize_axes("axis", axes or (), shape)

    return from_sampler(
        sampler,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, std exactly {stddev:.4g}",
    )


@jit("axes")
def _centered(samples: jax.Array, factor: float, axes: tuple[int, ...]) -> jax.Array:
    rest = samples - jnp.mean(samples, axis=axes, keepdims=True)
    return jnp.asarray(rest * factor)


@jit("axes")
def _normalized(
    samples: jax.Array, stddev: float, axes: tuple[int, ...] | None
) -> jax.Array:
    # Without the largest magnitude, tiny samples would have a square of zero.
    largest = jnp.max(jnp.abs(samples), axis=axes, keepdims=True)
    unit = samples / jnp.where(largest > 0, largest, 1).astype(samples.dtype)
    deviation = jnp.std(unit, axis=axes, keepdims=True)
    varies = deviation > 8 * np.finfo(samples.dtype).eps
    factor = stddev / jnp.where(varies, deviation, 1)
    return jnp.where(varies, unit * factor.astype(samples.dtype), samples)
