"""LAPACK on a CPU, one matrix at a time where batches of them may never end.

Before 0.12 jaxlib cuts a batch of matrices into parts for the threads of XLA's pool,
and waits for them on such a thread. Two batches at once, of one program or of two, may
each hold a thread that the other waits for; with few cores they do.
"""

import functools
from collections.abc import Callable

import jax

MAY_HANG = jax.__version_info__ < (0, 12)
"""Whether two batches of matrices at once may wait for each other forever."""


def one_by_one(
    function: Callable[[jax.Array], jax.Array],
) -> Callable[[jax.Array], jax.Array]:
    """``function`` of matrices, each by itself, also under ``jax.vmap``.

    Args:
      function: of an array ``(..., rows, columns)`` to one with the same leading axes.
    """
    if not MAY_HANG:
        return function
    single = jax.custom_batching.sequential_vmap(function)

    @functools.wraps(function)
    def mapped(matrices: jax.Array) -> jax.Array:
        stack = matrices.reshape(-1, *matrices.shape[-2:])
        alone: Callable[[jax.Array], jax.Array] = single
        made = alone(matrices) if matrices.ndim == 2 else jax.lax.map(alone, stack)
        return made.reshape(*matrices.shape[:-2], *made.shape[-2:])

    return mapped
