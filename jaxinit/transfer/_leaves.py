"""The arrays of a pytree of variables by name, whatever library made the tree."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._keys import root_key
from jaxinit.models.model import path_parts


class Leaf(NamedTuple):
    """One array of a tree.

    Attributes:
      place: its index among all leaves of the tree.
      name: ``"Dense_0/kernel"``, ``"batch_stats/BatchNorm_0/mean"``.
      layer: the name of the folder, without a collection: ``"BatchNorm_0"``.
      last: the last part of the name: ``"kernel"``.
      collection: of linen variables, the collection: ``"params"``; otherwise ``""``.
      value: the array, or its shape and dtype.
    """

    place: int
    name: str
    layer: str
    last: str
    collection: str
    value: Any


class Tree(NamedTuple):
    """A pytree taken apart.

    Attributes:
      leaves: its arrays of numbers. Random keys, functions and the like are not here.
      flat: all leaves.
      structure: what puts the leaves together again.
    """

    leaves: tuple[Leaf, ...]
    flat: tuple[Any, ...]
    structure: Any

    def replaced(self, new: Mapping[int, Any]) -> Any:
        """The tree with other values at some of its leaves, given by their place."""
        flat = [new.get(place, value) for place, value in enumerate(self.flat)]
        return jax.tree.unflatten(self.structure, flat)


def tree_of(variables: Any) -> Tree:
    """Takes a pytree apart.

    Names are as in reports: the key path without the box that holds an array
    (``nn.Partitioned``, ``nnx.Variable``), and without the collection ``params`` of
    linen variables. Other collections stay: ``batch_stats/BatchNorm_0/mean``.

    Args:
      variables: any pytree.

    Returns:
      The leaves and the structure.

    Raises:
      ValueError: if two variables hold the same array, as in an nnx module with tied
        layers: as a plain pytree it would come apart; or if two have the same name.
    """
    pairs, structure = jax.tree_util.tree_flatten_with_path(variables)
    paths = [path for path, _ in pairs]
    children = Counter(path[:-1] for path in paths)
    parts = [
        path_parts(path[:-1] if _is_box(path) and children[path[:-1]] == 1 else path)
        for path in paths
    ]
    _check_not_tied(pairs)
    is_linen = _has_collections(variables)
    leaves = []
    for index, (where, (_, value)) in enumerate(zip(parts, pairs, strict=True)):
        if not is_numeric(value):
            continue
        collection, inner = (where[0], where[1:]) if is_linen else ("", where)
        shown = where if collection not in ("", "params") else inner
        leaves.append(
            Leaf(
                index,
                "/".join(shown),
                "/".join(inner[:-1]),
                inner[-1] if inner else "",
                collection,
                value,
            )
        )
    twice = [name for name, n in Counter(x.name for x in leaves).items() if n > 1]
    if twice:
        raise ValueError(
            f"Two arrays of the pytree have the name {twice[0]!r}: its keys contain "
            "slashes. Rename one."
        )
    return Tree(tuple(leaves), tuple(value for _, value in pairs), structure)


def _has_collections(variables: Any) -> bool:
    """Whether its first keys are collections: of linen variables, a ``TrainState``.

    A ``TrainState`` that was saved comes back as a dict; both have the same names.
    """
    if isinstance(variables, Mapping):
        return "params" in variables
    return hasattr(variables, "params") and hasattr(variables, "opt_state")


def is_numeric(value: Any) -> bool:
    """Whether a leaf is an array of numbers, or the shape and dtype of one."""
    dtype = getattr(value, "dtype", None)
    return (
        hasattr(value, "shape")
        and dtype is not None
        and not jnp.issubdtype(dtype, jax.dtypes.prng_key)
    )


def is_float(value: Any) -> bool:
    """Whether a leaf holds real or complex numbers."""
    return bool(jnp.issubdtype(value.dtype, jnp.inexact))


def key_of(key: int | jax.Array, name: str) -> jax.Array:
    """The key of the leaf ``name``, whatever else the tree holds."""
    return jax.random.fold_in(root_key(key), zlib.crc32(name.encode()))


def layer_leaves(tree: Tree, layer: str, argument: str) -> list[Leaf]:
    """The arrays of a layer, in all collections.

    Args:
      tree: the tree.
      layer: the layer's name.
      argument: the name of the argument that named the layer, for the error.

    Returns:
      The leaves, at least one.

    Raises:
      ValueError: if the tree has no such layer.
    """
    found = [leaf for leaf in tree.leaves if leaf.layer == layer]
    if not found:
        layers = dict.fromkeys(leaf.layer for leaf in tree.leaves)
        raise ValueError(
            f"`{argument}` names the layer {layer!r}, which holds no array. The layers "
            f"are {some(list(layers))}."
        )
    return found


def placed_like(value: Any, target: Any) -> Any:
    """``value`` where ``target`` lives.

    A concrete array that was put somewhere keeps its sharding as far as the shape of
    ``value`` can be divided by it; NumPy arrays stay NumPy arrays.

    Args:
      value: an array.
      target: the array, or the shape and dtype, whose place counts.

    Returns:
      The array.
    """
    if isinstance(target, np.ndarray):
        return np.asarray(value)
    if isinstance(target, jax.core.Tracer) or isinstance(value, jax.core.Tracer):
        return jnp.asarray(value)
    sharding = getattr(target, "sharding", None)
    # Where neither was put anywhere, jax keeps the freedom to move the result.
    committed = getattr(target, "committed", True) or getattr(value, "committed", False)
    if sharding is None or not committed:
        return jnp.asarray(value)
    try:
        sharding.shard_shape(tuple(value.shape))
    except ValueError:
        return jnp.asarray(value)
    return jax.device_put(value, sharding)


def some(names: Sequence[str], limit: int = 8) -> str:
    """The first few names, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def _is_box(path: tuple[Any, ...]) -> bool:
    """Whether the last entry of a key path is that of a box around an array."""
    last = path[-1] if path else None
    return isinstance(last, jax.tree_util.GetAttrKey) and last.name == "value"


def _check_not_tied(pairs: Sequence[tuple[tuple[Any, ...], Any]]) -> None:
    seen: dict[int, str] = {}
    for path, value in pairs:
        if not isinstance(value, jax.Array) or not _is_box(path):
            continue
        if not isinstance(path[0], jax.tree_util.GetAttrKey):
            continue  # a state, which holds each variable once
        name = "/".join(path_parts(path[:-1]))
        if id(value) in seen:
            raise ValueError(
                f"`variables` holds one array twice, as {seen[id(value)]!r} and "
                f"{name!r}. As a pytree, a module that shares a variable comes apart: "
                "pass its state, nnx.state(model), and nnx.update(model, new_state)."
            )
        seen[id(value)] = name
