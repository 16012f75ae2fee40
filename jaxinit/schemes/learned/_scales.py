"""One scale per tensor: of one layer, also where layers are stacked in one array."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array


def norms(params: Sequence[Array], stacked: Sequence[Sequence[int]]) -> list[Array]:
    """The Euclidean norm of each tensor, in float32 at least.

    Args:
      params: arrays.
      stacked: for each of them the axes along which it is several tensors.

    Returns:
      For each array one number per tensor; axes of one in place of the others.
    """
    return [
        jnp.sqrt(
            jnp.sum(
                jnp.square(jnp.abs(_wide(param))),
                axis=tuple(i for i in range(param.ndim) if i not in axes),
                keepdims=True,
            )
        )
        for param, axes in zip(params, stacked, strict=True)
    ]


def scaled(params: Sequence[Array], scales: Sequence[Array]) -> list[Array]:
    """Each tensor times its scale, in the dtype that it had."""
    return [
        (_wide(param) * scale).astype(param.dtype)
        for param, scale in zip(params, scales, strict=True)
    ]


def _wide(param: Array) -> Array:
    return param.astype(jnp.promote_types(param.dtype, jnp.float32))
