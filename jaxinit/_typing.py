"""The types that the whole package shares. This module imports nothing of ours."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

Axes: TypeAlias = int | Sequence[int]
"""One axis of an array or several."""

OutSharding: TypeAlias = NamedSharding | PartitionSpec | None
"""Where an initializer's result lives; a bare spec needs ``jax.set_mesh``."""

Scalar: TypeAlias = float | jax.Array
"""A number, or a scalar array (which may be traced)."""


Numbers: TypeAlias = ArrayLike | Sequence[Any]
"""A number, an array, or nested lists, of which only the values count."""

Mask: TypeAlias = ArrayLike | Sequence[bool]
"""Booleans, or zeros and ones."""


@runtime_checkable
class Initializer(Protocol):
    """A function from a key, a shape and a dtype to an array.

    It agrees with ``jax.nn.initializers.Initializer``: Flax calls it by position as
    ``(key, shape)`` or ``(key, shape, dtype)``.
    """

    def __call__(
        self,
        key: jax.Array,
        shape: Sequence[int],
        dtype: DTypeLike | None = None,
        out_sharding: OutSharding = None,
    ) -> jax.Array:
        """Returns an array of the given shape and dtype.

        Args:
          key: a PRNG key, typed or raw; the only source of randomness.
          shape: the shape of the array.
          dtype: a float or complex dtype. ``None`` means the initializer's own
            default, or else jax's default float.
          out_sharding: the sharding of the result. A ``PartitionSpec`` refers to the
            mesh of ``jax.set_mesh``. ``None`` leaves the placement to jax.
        """
        ...
