"""Initializers around another one: scaled, in another precision, masked, given."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike, DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._call import call
from jaxinit.initializers._check import check_initializer, check_number
from jaxinit.initializers._draw import check_dtype, from_sampler, is_complex
from jaxinit.initializers._refit import refittable_as


def scale(
    base: Initializer, factor: float, dtype: DTypeLike | None = None
) -> Initializer:
    """``factor`` times the samples of ``base``, multiplied before they are rounded.

    Args:
      base: the initializer to scale.
      factor: any finite number. The variance is multiplied by its square.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable or ``factor`` not a number.
      ValueError: if ``factor`` is not finite.

    Examples:
      >>> scale(jax.nn.initializers.ones, 0.5)(jax.random.key(0), (1, 2))
      Array([[0.5, 0.5]], dtype=float32)
    """
    check_initializer("base", base)
    factor = check_number("factor", factor, "It multiplies the samples.")

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return call(base, key, shape, dtype, sharding) * factor

    return refittable_as(
        base,
        lambda inner: scale(inner, factor, dtype),
        from_sampler(sampler, dtype),
        f"{factor:.4g} * ({{}})",
    )


def cast(
    base: Initializer,
    compute: DTypeLike | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Samples of ``base`` drawn in the dtype ``compute``, then rounded.

    Every initializer here draws in float32 already. This mends those of other
    libraries that draw in the dtype of the parameter, of which bfloat16 has 128
    distinct uniform values.

    Args:
      base: the initializer to call.
      compute: the dtype that ``base`` is called with. By default float32, or that of
        the result if it is float64 or complex.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: if ``compute`` is not a float or complex dtype, or, when called, if
        it is complex and the result is to be real.

    Examples:
      >>> init = cast(jax.nn.initializers.orthogonal())
      >>> init(jax.random.key(0), (2, 2), jnp.bfloat16).dtype
      dtype(bfloat16)
    """
    check_initializer("base", base)
    inner = None if compute is None else check_dtype(compute)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        if inner is not None and is_complex(inner) and not is_complex(dtype):
            raise ValueError(
                f"`dtype` must be complex to hold samples drawn in {inner.name}, got "
                f"{dtype.name}. Give a real `compute` to `cast`."
            )
        return call(base, key, shape, inner or dtype, sharding).astype(dtype)

    return refittable_as(
        base, lambda other: cast(other, compute, dtype), from_sampler(sampler, dtype)
    )


def masked(
    base: Initializer, mask: ArrayLike, dtype: DTypeLike | None = None
) -> Initializer:
    """Samples of ``base`` where ``mask`` is true, exact zeros elsewhere.

    The scale of ``base`` is kept, so a column with half of its weights masked passes
    on half the variance; :func:`scale` makes up for it.

    Args:
      base: the initializer to mask.
      mask: booleans, or zeros and ones, of a shape that broadcasts to the array's.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: if ``mask`` holds anything but truth values, or, when called, if it
        does not broadcast to the shape.

    Examples:
      >>> causal = masked(jax.nn.initializers.ones, np.tri(2))
      >>> causal(jax.random.key(0), (2, 2))
      Array([[1., 0.],
             [1., 1.]], dtype=float32)
    """
    check_initializer("base", base)
    values = np.asarray(mask)
    if not np.isin(values, [0, 1]).all():
        raise ValueError(
            "`mask` must hold booleans, or zeros and ones only, got values such as "
            f"{values[~np.isin(values, [0, 1])].flat[0]}. Multiply by other factors "
            "with `scale`."
        )
    keep = values.astype(bool)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        samples = call(base, key, shape, dtype, sharding)
        return jnp.where(
            jnp.broadcast_to(keep, shape), samples, jnp.zeros_like(samples)
        )

    return from_sampler(
        sampler, dtype, check_shape=functools.partial(_broadcasts, keep.shape, "mask")
    )


def from_array(array: ArrayLike, dtype: DTypeLike | None = None) -> Initializer:
    """The given values, whatever the key: pretrained weights, a fixed matrix.

    Args:
      array: the values, of exactly the shape that will be asked for.
      dtype: the dtype of the result where none is given. Without it, the dtype of
        ``array``, or jax's default float if that is float64 or an integer.

    Returns:
      An initializer.

    Raises:
      ValueError: when called, if the shape is another one, or if ``array`` is complex
        and the result is to be real.

    Examples:
      >>> from_array([[1, 2]])(jax.random.key(0), (1, 2))
      Array([[1., 2.]], dtype=float32)
    """
    values = np.asarray(array)
    inexact = jnp.issubdtype(values.dtype, jnp.inexact)
    if not (inexact or np.issubdtype(values.dtype, np.integer)):
        raise ValueError(
            f"`array` must hold numbers, got dtype {values.dtype}. Convert it first."
        )

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, shape, sharding
        if is_complex(values.dtype) and not is_complex(dtype):
            raise ValueError(
                f"`dtype` must be complex, as the given array is, got {dtype.name}. "
                "Pass its real part for a real parameter."
            )
        return jnp.asarray(values.astype(dtype))

    def check_shape(shape: tuple[int, ...]) -> None:
        if shape != values.shape:
            raise ValueError(
                f"`shape` must be {values.shape}, the shape of the given array, got "
                f"{shape}. Flax flattens attention kernels: reshape the array so."
            )

    # float64 is numpy's default and so no wish; without x64 jax does not have it.
    if dtype is None and inexact and values.dtype != np.float64:
        dtype = jnp.asarray(np.zeros((), values.dtype)).dtype
    return from_sampler(sampler, dtype, check_shape=check_shape)


def _broadcasts(given: tuple[int, ...], name: str, shape: Sequence[int]) -> None:
    """Raises unless an array of the shape ``given`` broadcasts to ``shape``."""
    try:
        fits = np.broadcast_shapes(given, tuple(shape)) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` has shape {given}, which does not broadcast to the shape "
            f"{tuple(shape)}. Give one entry, or a single one, for each axis."
        )
