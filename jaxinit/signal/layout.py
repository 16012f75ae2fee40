"""Where the records of a seed are in the one array that a program leaves."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit.signal.bundle import Bundle, Bundled, Raw


class Layout(NamedTuple):
    """The records, and their places in the array.

    On the host they come in the order of ``raw``, which does not hang on what is
    rolled: what one program keeps in a checkpoint another one reads.

    Attributes:
      raw: the records, with their shapes in place of them.
      order: where in the array each number of them is.
      dtype: of the array.
    """

    raw: Any
    order: np.ndarray
    dtype: Any

    def taken_apart(self, values: np.ndarray, loss: np.ndarray) -> Raw:
        """The records of some seeds.

        Args:
          values: `(seeds, fields)`, in order.
          loss: `(seeds,)`.

        Returns:
          The records by what they are of, with a leading axis over seeds.
        """
        shapes, structure = jax.tree.flatten(self.raw, lambda x: type(x) is tuple)
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        parts = np.split(values, ends[:-1], axis=-1)
        leaves = [
            part.reshape(part.shape[:-1] + shape)
            for part, shape in zip(parts, shapes, strict=True)
        ]
        raw: Raw = jax.tree.unflatten(structure, leaves)
        return raw._replace(loss=loss)


def layout_of(bundle: Bundle, bundled: Bundled, dtype: Any) -> Layout:
    """Finds the places of the records by taking apart the places themselves.

    Args:
      bundle: how records are bundled.
      bundled: those of one seed, whose leaves lie one after the other.
      dtype: of the array.
    """
    leaves, structure = jax.tree.flatten(bundled)
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    places = [
        part.reshape(1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)
    ]
    raw = bundle.taken_apart(jax.tree.unflatten(structure, places), None)
    order = np.concatenate([place.reshape(-1) for place in jax.tree.leaves(raw)])
    return Layout(jax.tree.map(lambda place: place.shape[1:], raw), order, dtype)
