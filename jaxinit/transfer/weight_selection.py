"""Smaller models begun with a part of a larger one's weights."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinit import _patterns
from jaxinit.transfer._fit import evenly
from jaxinit.transfer._leaves import placed_like, some, tree_of


def weight_selection(variables: Any, larger: Any, *, layers: Sequence[str] = ()) -> Any:
    r"""Every array from the array of the same name in a larger model.

    Along each axis of :math:`n` entries in place of :math:`N` it takes entries that
    are evenly apart: :math:`0, s, 2s, \dots` with :math:`s = N / n` where that is
    whole, else :math:`n` rounded steps from the first to the last. Axes of one size
    are selected alike, so that units stay together through the network. Of the
    layers, the first ones are taken: their names say so where each has its own, and
    ``layers`` says so for arrays that stack them.

    Args:
      variables: those of the smaller model, as it initializes itself: a pytree.
      larger: those of the pretrained model, a pytree of the same architecture.
      layers: patterns of names of arrays whose first axis counts the layers of a scan,
        of which the first are taken: ``["blocks/**"]``.

    Returns:
      New variables of the smaller model. Names, shapes, dtypes and shardings stay.

    Raises:
      TypeError: if ``layers`` is a single text.
      ValueError: if an array has no namesake of as many axes, each at least as long;
        or a pattern matches nothing.

    Examples:
      >>> small = {"Dense_0": {"kernel": jnp.zeros((1, 2))}}
      >>> large = {"Dense_0": {"kernel": jnp.arange(8.0).reshape(2, 4)}}
      >>> weight_selection(small, large)["Dense_0"]["kernel"]
      Array([[0., 2.]], dtype=float32)

    References:
      Xu et al., "Initializing Models with Larger Ones", 2024, section 3; uniform
      element selection.
    """
    if isinstance(layers, str):
        raise TypeError(
            f"`layers` must be a list of patterns, got the text {layers!r}. Write "
            f"[{layers!r}]."
        )
    tree = tree_of(variables)
    source = {leaf.name: leaf.value for leaf in tree_of(larger).leaves}
    stacks = [_patterns.compiled(pattern) for pattern in layers]
    for pattern, compiled in zip(layers, stacks, strict=True):
        if not any(compiled.fullmatch(leaf.name) for leaf in tree.leaves):
            raise ValueError(
                f"`layers` has the pattern {pattern!r}, which matches none of "
                f"{some([leaf.name for leaf in tree.leaves])}."
            )
    new: dict[int, Any] = {}
    for leaf in tree.leaves:
        shape = tuple(leaf.value.shape)
        value = source.get(leaf.name)
        before = () if value is None else tuple(value.shape)
        short = len(before) != len(shape) or any(
            n > m for n, m in zip(shape, before, strict=True)
        )
        if value is None or short:
            raise ValueError(
                f"`larger` must have {leaf.name!r} with at least the shape {shape}, "
                f"got {before if value is not None else 'none'}. It has "
                f"{some(list(source))}."
            )
        stacked = any(pattern.fullmatch(leaf.name) for pattern in stacks)
        taken = jnp.asarray(value)
        for axis, (count, total) in enumerate(zip(shape, before, strict=True)):
            first = stacked and axis == 0
            where = np.arange(count) if first else evenly(count, total)
            taken = jnp.take(taken, where, axis=axis)
        new[leaf.place] = placed_like(taken.astype(leaf.value.dtype), leaf.value)
    return tree.replaced(new)
