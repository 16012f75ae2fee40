"""Random keys in the forms in which users have them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def root_key(key: int | jax.Array) -> jax.Array:
    """A typed key: the one given, or made from an integer or from old-style data.

    Raises:
      TypeError: if ``key`` is neither.
      ValueError: if it is an integer of more than 64 bits, or of no key's size.
    """
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        if not -(2**63) <= key < 2**63:
            raise ValueError(
                "`key` must be an integer of at most 64 bits, or one jax key, as "
                f"jax.random.key(0), got {key!r:.80}."
            )
        return jax.random.key(int(key))
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == np.uint32 and key.ndim == 1:  # from jax.random.PRNGKey
            return _wrapped(key)
    raise TypeError(
        "`key` must be one jax key, as jax.random.key(0), or an integer that makes "
        f"one, got {_got(key)}."
    )


def _got(value: Any) -> str:
    """An array by its kind, as its values would fill the screen."""
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array, {value.dtype}{list(value.shape)}"
    return f"{value!r:.200}"


def _wrapped(data: jax.Array | np.ndarray) -> jax.Array:
    try:
        key: jax.Array = jax.random.wrap_key_data(jnp.asarray(data))
    except TypeError as error:
        raise ValueError(
            "`key` must be the data of one jax key, as jax.random.PRNGKey(0), got "
            f"shape {data.shape}."
        ) from error
    return key
