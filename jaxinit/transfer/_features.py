"""The sizes that a module's layers state beside their arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("out_features", "out_channels", "features", "num_features", "channels")
INPUTS = ("in_features", "in_channels")


def resize(tree: Any, layer: str, names: Sequence[str], old: int, new: int) -> None:
    """Has a layer of a new module state its new size.

    Args:
      tree: a module that nobody else holds; a mere tree of arrays states nothing.
      layer: the layer's name.
      names: the attributes that may state the size.
      old: the size before.
      new: the size now.
    """
    found = _child(tree, layer.split("/") if layer else [])
    if found is None or isinstance(found, Mapping):
        return
    for name in names:
        if _stated(found, name) == old:
            object.__setattr__(found, name, new)
    kernel = getattr(found, "kernel", None)
    if kernel is not None and isinstance(_stated(found, "kernel_shape"), tuple):
        object.__setattr__(found, "kernel_shape", tuple(kernel.shape))


def _stated(module: Any, name: str) -> Any:
    return getattr(module, "__dict__", {}).get(name)


def _child(tree: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif part.isdigit() and hasattr(tree, "__getitem__"):
            tree = tree[int(part)]
        else:
            tree = getattr(tree, part, None)
    return tree
