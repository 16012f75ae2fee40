"""Layers as users name them, and the axes of their arrays."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from jaxinit.transfer._leaves import Leaf

Layers: TypeAlias = str | Sequence[str]
Layout: TypeAlias = Literal["flax", "torch"]


def is_kernel(leaf: Leaf) -> bool:
    return len(leaf.value.shape) >= 2 and leaf.last != "bias"


def unit_axis(layout: Layout) -> int:
    return -1 if layout == "flax" else 0


def layer_names(argument: str, layers: Layers) -> tuple[str, ...]:
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    if not names and argument != "per_channel":
        raise ValueError(f"`{argument}` must name a layer.")
    if len(set(names)) < len(names):
        raise ValueError(f"`{argument}` names a layer twice: {names}.")
    return names
