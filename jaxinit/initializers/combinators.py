"""Initializers around another one: scaled, in another precision, masked, given."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike, DTypeLike

from jaxinit._typing import Initializer, Mask, Scalar
from jaxinit.initializers._call import call, call_rounded, default_dtype
from jaxinit.initializers._check import as_array, check_factor, shown
from jaxinit.initializers._draw import (
    broadcasting,
    check_dtype,
    from_maker,
    from_sampler,
    is_complex,
)
from jaxinit.initializers._value import family, law_of, refit_around, times
from jaxinit.initializers.constants import converted


@family
def scale(
    base: Initializer, factor: Scalar, dtype: DTypeLike | None = None
) -> Initializer:
    """``factor`` times the samples of ``base``, multiplied before they are rounded.

    In low precision a sample next to a bound of ``base`` may be rounded onto the bound.

    Args:
      base: the initializer to scale.
      factor: any finite number, or an array that broadcasts to the samples. The
        variance is multiplied by its square.
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
    factor = check_factor("factor", factor, "It multiplies the samples.")

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        samples = call(base, key, shape, dtype, sharding)
        if not isinstance(factor, jax.Array):
            return samples * factor
        return samples * jnp.broadcast_to(factor.astype(dtype), shape)

    return from_sampler(
        sampler,
        default_dtype(base, given=dtype),
        check_shape=broadcasting("factor", factor),
        law=times(factor, law_of(base)),
        refit=refit_around(base, lambda inner: scale(inner, factor, dtype)),
    )


@family
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
    inner = None if compute is None else check_dtype(compute, name="compute")

    def make(
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
        if inner is None:
            return call_rounded(base, key, shape, dtype, sharding)
        return call(base, key, shape, inner, sharding).astype(dtype)

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        law=law_of(base),
        refit=refit_around(base, lambda other: cast(other, compute, dtype)),
    )


@family
def masked(
    base: Initializer, mask: Mask, dtype: DTypeLike | None = None
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
    keep = _truth_values(mask)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        samples = call_rounded(base, key, shape, dtype, sharding)
        return jnp.where(
            jnp.broadcast_to(keep, shape), samples, jnp.zeros_like(samples)
        )

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        check_shape=broadcasting("mask", keep),
        law=f"{law_of(base)}, masked",
    )


@family
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
    values = array if isinstance(array, jax.Array) else as_array("array", array)
    inexact = jnp.issubdtype(values.dtype, jnp.inexact)
    if not (inexact or jnp.issubdtype(values.dtype, jnp.integer)):
        raise ValueError(
            f"`array` must hold numbers, got {shown(array)} of dtype {values.dtype}. "
            "Convert it first."
        )

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, shape, sharding
        known = not isinstance(values, jax.core.Tracer)
        return jnp.asarray(
            converted("array", np.asarray(values), dtype)
            if known
            else values.astype(dtype)
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        if shape != values.shape:
            raise ValueError(
                f"`shape` must be {values.shape}, the shape of the given array, got "
                f"{shape}. Flax flattens attention kernels: reshape the array so."
            )

    # float64 is numpy's default and so no wish; without x64 jax does not have it.
    if dtype is None and inexact and values.dtype != np.float64:
        dtype = jnp.asarray(np.zeros((), values.dtype)).dtype
    law = f"the given array of shape {values.shape}"
    return from_maker(make, dtype, check_shape=check_shape, kinds="any", law=law)


def _truth_values(mask: Mask) -> np.ndarray | jax.Array:
    """The mask as booleans; of a traced one, whatever is not zero is true."""
    if isinstance(mask, jax.core.Tracer):
        return mask.astype(bool)
    values = as_array("mask", mask)
    try:
        odd = ~np.isin(values, [0, 1])
    except TypeError:
        odd = np.ones(values.shape, bool)
    odd |= values.dtype.kind in "USO"
    if odd.any():
        raise ValueError(
            "`mask` must hold booleans, or zeros and ones only, got values such as "
            f"{values[odd].tolist()[0]}. Multiply by other factors "
            "with `scale`."
        )
    return values.astype(bool)
