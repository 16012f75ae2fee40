"""Initializers that draw nothing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike, DTypeLike

from jaxinit._typing import Initializer, OutSharding
from jaxinit.initializers._draw import compute_dtype, from_sampler, is_complex
from jaxinit.initializers._refit import refittable


def zeros(
    key: jax.Array,
    shape: Sequence[int],
    dtype: DTypeLike | None = None,
    out_sharding: OutSharding = None,
) -> jax.Array:
    """All zeros. This is itself an initializer: pass ``zeros``, not ``zeros()``.

    Right for biases, for a last layer, and for the end of a residual branch. Two zero
    kernels in a row get no gradient at all and stay zero.

    Args:
      key: ignored; it may be None.
      shape: any shape.
      dtype: a float or complex dtype; jax's default float if None.
      out_sharding: the sharding of the result.

    Returns:
      An array of zeros.

    Raises:
      ValueError: if the dtype is an integer or bool.

    Examples:
      >>> zeros(jax.random.key(0), (2, 2))
      Array([[0., 0.],
             [0., 0.]], dtype=float32)
    """
    return _ZEROS(key, shape, dtype, out_sharding)


def ones(
    key: jax.Array,
    shape: Sequence[int],
    dtype: DTypeLike | None = None,
    out_sharding: OutSharding = None,
) -> jax.Array:
    """All ones. This is itself an initializer: pass ``ones``, not ``ones()``.

    Right for the scales of normalization layers.

    Args:
      key: ignored; it may be None.
      shape: any shape.
      dtype: a float or complex dtype; jax's default float if None.
      out_sharding: the sharding of the result.

    Returns:
      An array of ones.

    Raises:
      ValueError: if the dtype is an integer or bool.

    Examples:
      >>> ones(jax.random.key(0), (2,))
      Array([1., 1.], dtype=float32)
    """
    return _ONES(key, shape, dtype, out_sharding)


def constant(value: ArrayLike, dtype: DTypeLike | None = None) -> Initializer:
    """A constant, or a given array broadcast to the shape.

    A kernel that is constant makes all units of its layer equal, and their gradients
    too, so that they stay equal: use it for biases and scales.

    Args:
      value: a number, or an array that broadcasts to the shape.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``value`` is not numeric.
      ValueError: if ``dtype`` is an integer or bool dtype; when called, if ``value``
        does not broadcast to the shape, or is complex while the dtype is real.

    Examples:
      >>> constant(0.1)(jax.random.key(0), (2,))
      Array([0.1, 0.1], dtype=float32)
      >>> constant([1.0, 2.0])(jax.random.key(0), (2, 2))
      Array([[1., 2.],
             [1., 2.]], dtype=float32)
    """
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == np.bool_):
        raise TypeError(
            f"`value` must be a number or a numeric array, got {value!r} of dtype "
            f"{array.dtype}."
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        if not _broadcasts(array.shape, shape):
            raise ValueError(
                f"`value` of shape {array.shape} does not broadcast to the shape "
                f"{shape}. Each of its last axes must be 1 or match."
            )

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        if is_complex(array.dtype) and not is_complex(dtype):
            raise ValueError(
                f"`value` is complex, but the dtype is {dtype.name}. Pass a complex "
                "dtype, or the real part of the value."
            )
        return jnp.broadcast_to(jnp.asarray(array, compute_dtype(dtype)), shape)

    init = from_sampler(sample, dtype, check_shape=check_shape)
    return refittable(init, law=f"constant {array}") if array.ndim == 0 else init


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    return len(small) <= len(large) and all(
        size in (1, target)
        for size, target in zip(reversed(small), reversed(large), strict=False)
    )


_ZEROS = constant(0.0)
_ONES = constant(1.0)
refittable(zeros, law="zeros")
refittable(ones, law="ones")
