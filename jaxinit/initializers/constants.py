"""Initializers that draw nothing."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Numbers
from jaxinit.initializers._check import as_array, shown
from jaxinit.initializers._draw import broadcasts, from_maker, is_complex
from jaxinit.initializers._value import Init, family


@family
def zeros_init(dtype: DTypeLike | None = None) -> Initializer:
    """All zeros: the initializer ``zeros`` with a dtype of its own.

    Right for biases, for a last layer, and for the end of a residual branch. Two zero
    kernels in a row get no gradient at all and stay zero.

    Args:
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for any shape and dtype. It does not use its key.

    Examples:
      >>> zeros(jax.random.key(0), (2, 2))
      Array([[0., 0.],
             [0., 0.]], dtype=float32)
      >>> zeros == zeros_init()
      True
    """
    return _filled(0, dtype, "zeros")


@family
def ones_init(dtype: DTypeLike | None = None) -> Initializer:
    """All ones: the initializer ``ones`` with a dtype of its own.

    Right for the scales of normalization layers.

    Args:
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for any shape and dtype. It does not use its key.

    Examples:
      >>> ones(jax.random.key(0), (2,))
      Array([1., 1.], dtype=float32)
    """
    return _filled(1, dtype, "ones")


@family
def constant(value: Numbers, dtype: DTypeLike | None = None) -> Initializer:
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
      ValueError: if ``value`` is not finite; when called, if it does not broadcast to
        the shape, or the dtype cannot hold it.

    Examples:
      >>> constant(0.1)(jax.random.key(0), (2,))
      Array([0.1, 0.1], dtype=float32)
      >>> constant([1.0, 2.0])(jax.random.key(0), (2, 2))
      Array([[1., 2.],
             [1., 2.]], dtype=float32)
    """
    array = value if isinstance(value, jax.Array) else as_array("value", value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == np.bool_):
        raise TypeError(
            f"`value` must be a number or a numeric array, got {shown(value)} of dtype "
            f"{array.dtype}."
        )
    if not isinstance(array, jax.core.Tracer) and not np.isfinite(array).all():
        raise ValueError(f"`value` must be finite, got {shown(value)}.")
    if array.ndim == 0 and not isinstance(array, jax.Array):
        return _filled(array, dtype, f"constant {array}")
    return _broadcast(array, dtype)


def _filled(value: Any, dtype: DTypeLike | None, law: str) -> Init:
    """One number everywhere."""
    number = np.asarray(value)

    @functools.lru_cache(maxsize=32)
    def filler(dtype: np.dtype) -> np.ndarray:
        return converted("value", number, dtype)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        return jax.lax.full(shape, filler(dtype), dtype)

    return from_maker(make, dtype, kinds="any", law=law, refit=True)


def _broadcast(array: np.ndarray | jax.Array, dtype: DTypeLike | None) -> Init:
    """An array everywhere, or a number that is on a device."""

    def check_shape(shape: tuple[int, ...]) -> None:
        if not broadcasts(array.shape, shape):
            raise ValueError(
                f"`value` of shape {array.shape} does not broadcast to the shape "
                f"{shape}. Each of its last axes must be 1 or match."
            )

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        known = not isinstance(array, jax.core.Tracer)
        values = converted("value", np.asarray(array), dtype) if known else array
        return jnp.broadcast_to(jnp.asarray(values, dtype), shape)

    words = f"the given array of shape {array.shape}" if array.ndim else "constant"
    return from_maker(
        make,
        dtype,
        check_shape=check_shape,
        kinds="any",
        law=words,
        refit=array.ndim == 0,
    )


def converted(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in a dtype that can hold them."""
    if is_complex(values.dtype) and not is_complex(dtype):
        raise ValueError(
            f"`{name}` is complex, but the dtype is {dtype.name}. Pass a complex "
            "dtype, or the real part."
        )
    if jnp.issubdtype(dtype, jnp.inexact):
        return values.astype(dtype)
    with np.errstate(invalid="ignore"):
        found = values.astype(dtype)
    if not np.array_equal(found, values):
        raise ValueError(
            f"`{name}` must be whole and within the range of {dtype.name}, got "
            f"{shown(values if values.ndim else values.item())}. Pass a float dtype."
        )
    return found


zeros, ones = zeros_init(), ones_init()
