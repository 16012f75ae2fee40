"""What integers that a model is given are, by what it does with them."""

from typing import Literal

import numpy as np

from jaxinit.program import primitives
from jaxinit.program.flow import Flow, Node

Integers = Literal["mask", "positions"] | int | None

_COMPARE = frozenset("eq ne lt le gt ge".split())
_MOVES = primitives.LAYOUT | {"gather", "split", "unstack", "stack", "concatenate"}
_COUNTS = frozenset("add sub mul max min clamp rem".split())


def use_of_integers(flow: Flow, value: int) -> Integers:
    """What an input of integers is.

    Args:
      flow: the model's graph.
      value: the input, one of the graph's values.

    Returns:
      ``"mask"`` where it is compared with a constant, summed up along an axis, or
      multiplies data; ``"positions"`` where it is compared with itself or computed
      with as a number; the number of classes where it is compared with all of them;
      ``None`` where nothing tells.
    """
    found: list[Integers] = []

    def passes(index: int, position: int) -> bool:
        node = flow.nodes[index]
        use = _use(flow, node, position)
        if use is not None:
            found.append(use)
        return use is None and node.primitive in _MOVES | _COUNTS

    for _ in flow.downstream([value], passes):
        pass
    if "mask" in found:
        return "mask"
    return max((use for use in found if isinstance(use, int)), default=None) or (
        "positions" if found else None
    )


def _use(flow: Flow, node: Node, position: int) -> Integers:
    name, operand = node.primitive, node.operands[position]
    others = [v for i, v in enumerate(node.operands) if i != position]
    if name in _COMPARE:
        if flow.data[others[0]]:
            return "positions"
        classes = _classes(flow, others[0])
        return "mask" if classes is None else classes
    if name in ("cumsum", "reduce_sum", "and", "or", "not"):
        return "mask"
    if flow.values[operand].is_float:
        if name == "mul" and flow.data[others[0]] and flow.values[others[0]].is_float:
            return "mask"
        if name == "sub" and position == 1 and not flow.data[others[0]]:
            return "mask"
        return "positions" if name not in primitives.LAYOUT else None
    if (
        name == "convert_element_type"
        and np.dtype(node.params["new_dtype"]).kind == "b"
    ):
        return "mask"
    return None


def _classes(flow: Flow, value: int) -> int | None:
    """How many numbers integers are compared with; none if with a single one."""
    shape = flow.values[value].shape
    maker = flow.values[value].maker
    while maker is not None and flow.nodes[maker].primitive in primitives.LAYOUT:
        value = flow.nodes[maker].operands[0]
        shape = flow.values[value].shape
        maker = flow.values[value].maker
    largest = max(shape, default=1)
    return largest if largest > 1 else None
