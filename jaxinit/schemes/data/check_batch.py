"""Whether a batch is one that statistics can be taken of."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LARGEST = 1e15
"""Squares, summed over a batch and over a fan-in, are finite in float32."""


def check_batch(inputs: Sequence[Any], names: Sequence[str]) -> None:
    """Raises unless each real input holds finite numbers of a sane size.

    An array that holds only zeros and huge negative numbers is a mask.

    Args:
      inputs: the model's inputs; what is traced is let through.
      names: what they are called.

    Raises:
      ValueError: if one is empty, not finite or too large.
    """
    for given, name in zip(inputs, names, strict=True):
        if isinstance(given, jax.core.Tracer) or jnp.issubdtype(
            given.dtype, jax.dtypes.prng_key
        ):
            continue
        problem = _problem(given)
        if problem:
            raise ValueError(
                f"`{name}` must hold finite numbers, for this scheme divides by "
                f"deviations of data, got {problem}. Pass a batch of real, whitened "
                "data."
            )


def _problem(given: Any) -> str:
    if not given.size:
        return f"an empty array of shape {tuple(given.shape)}"
    if not jnp.issubdtype(given.dtype, jnp.inexact):
        return ""
    values = np.asarray(given)
    if not np.issubdtype(values.dtype, np.inexact):  # bfloat16 and narrower
        values = values.astype(np.float32)
    if np.isnan(values).any():
        return f"{int(np.isnan(values).sum())} NaN"
    large = np.abs(values) > _LARGEST
    if not large.any():
        return ""
    if not np.iscomplexobj(values) and (values[large] < 0).all():
        if not values[~large].any():
            return ""
    infinite = int(np.isinf(values).sum())
    return f"{infinite} infinite" if infinite else f"{np.abs(values).max():.3g}"
