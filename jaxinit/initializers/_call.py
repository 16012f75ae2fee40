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
    sharding: NamedSharding | None,
) -> jax.Array:
    """``base`` by position, with the sharding if it is one of ours.

    Others may not take one, or only on meshes with explicit axes; their result is
    drawn whole and cut.
    """
    ours = getattr(base, "__module__", "").partition(".")[0] == "jaxinit"
    if sharding is None or not ours:
        return base(key, shape, dtype)
    return base(key, shape, dtype, sharding)
