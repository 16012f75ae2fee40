"""Random keys in the forms in which users have them."""

import jax
import jax.numpy as jnp
import numpy as np


def root_key(key: int | jax.Array) -> jax.Array:
    """A typed key: the one given, or made from an integer or from old-style data.

    Raises:
      TypeError: if ``key`` is neither.
    """
    if isinstance(key, int | np.integer):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == np.uint32 and key.ndim == 1:  # from jax.random.PRNGKey
            wrapped: jax.Array = jax.random.wrap_key_data(key)
            return wrapped
    raise TypeError(
        "`key` must be one jax key, as jax.random.key(0), or an integer that makes "
        f"one, got {key!r}."
    )
