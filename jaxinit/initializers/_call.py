"""Calls of an initializer that somebody else gave."""

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxinit._typing import Initializer


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
    ours = getattr(base, "__module__", "").partition(".")[0] == "jaxinit"
    if sharding is None or not ours:
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
