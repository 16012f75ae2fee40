"""Calls of an initializer that somebody else gave."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._dtype import check_dtype, compute_dtype
from jaxinit.initializers._value import Init


def call(
    base: Initializer,
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """``base`` by position, with the sharding if it is one of ours.

    Others may not take one, or only on meshes with explicit axes; their result is
    drawn whole and cut.

    Raises:
      TypeError: if the result is not an array, such as the box of a partitioning
        wrapper, or the initializer of a factory that was not called.
      ValueError: if it does not have the shape that was asked for.
    """
    if sharding is None or not isinstance(base, Init):
        x = base(key, shape, dtype)
    else:
        x = base(key, shape, dtype, sharding)
    if not isinstance(x, jax.Array):
        raise TypeError(
            f"`base` must return an array, got {type(x).__name__}. Put a partitioning "
            "wrapper around the whole, with_partitioning(scale(base, 2.0), ...), and "
            "call factories: he_normal(), not he_normal."
        )
    if x.shape != shape:
        raise ValueError(
            f"`base` returned the shape {x.shape} where {shape} was asked for. Give an "
            "initializer that returns the shape it is called with."
        )
    return x


def call_rounded(
    base: Initializer,
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """As :func:`call`, for the values as they are, in the dtype of the result.

    Ours round so that samples stay within their bounds; others may draw in the dtype
    that they are asked for, so they are asked for a full one.
    """
    if isinstance(base, Init):
        return call(base, key, shape, dtype, sharding)
    return call(base, key, shape, compute_dtype(dtype), sharding).astype(dtype)


def default_dtype(*bases: Initializer, given: DTypeLike | None) -> DTypeLike | None:
    """The dtype that ``bases`` would choose by themselves, unless one is given.

    Those of other libraries tell it by the default of their parameter ``dtype``.
    """
    if given is not None:
        return given
    own = [_own_dtype(base) for base in bases]
    if all(dtype is None for dtype in own):
        return None
    resolved = [check_dtype(dtype) for dtype in own]
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, resolved)


def _own_dtype(base: Initializer) -> DTypeLike | None:
    if isinstance(base, Init):
        return base.dtype
    try:
        parameter = inspect.signature(base).parameters["dtype"]
        found = None if parameter.default is parameter.empty else parameter.default
        return None if found is None else np.dtype(jax.dtypes.canonicalize_dtype(found))
    except (KeyError, TypeError, ValueError):
        return None
