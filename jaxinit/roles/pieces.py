"""Kernels cut along their inputs: which pieces make one output together.

``a @ w[:3] + b @ w[3:]`` sums over all rows of ``w``, as ``concatenate([a, b]) @ w``
does. Pieces whose products are not added are kernels of their own, each with its fan.
"""

import numpy as np

from jaxinit.layers.event import Use
from jaxinit.layers.fans import roles as axis_roles
from jaxinit.program import primitives
from jaxinit.program.flow import Flow
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.slices import Slice, goes_on

_ADDS = frozenset({"add", "add_any", "sub"})
_Inputs = frozenset[int]


def find_pieces(anchors: Anchors) -> dict[int, tuple[_Inputs, ...]]:
    """For each leaf that is cut along its inputs, which of them are summed together.

    The inputs are numbered along the one axis of the leaf that they lie along. A leaf
    whose pieces overlap, or are used for more than one purpose, is left out.

    Args:
      anchors: the program's events.
    """
    used: dict[int, dict[_Inputs, list[int]]] = {}
    for index, number in anchors.weights.items():
        for use in anchors.events[number].uses:
            inputs = _inputs(anchors.flow, index, use)
            if inputs is not None:
                used.setdefault(use.leaf, {}).setdefault(inputs, []).append(index)
    found = {}
    for leaf, pieces in used.items():
        union = frozenset[int]().union(*pieces)
        if len(pieces) > 1 and sum(map(len, pieces)) == len(union):
            found[leaf] = tuple(_together(anchors, pieces))
    return found


def _inputs(flow: Flow, index: int, use: Use) -> _Inputs | None:
    """Which inputs of a leaf the product at a node sums over, if that is known."""
    if len(use.in_axis) != 1 or use.groups > 1:
        return None
    (axis,) = use.in_axis
    size = flow.values[use.leaf].shape[axis]
    cut = cut_before(flow, Slice(use.leaf, (axis,), np.arange(size)))
    node = flow.nodes[index]
    for position, operand in enumerate(node.operands):
        role = axis_roles(node.equation, position) if operand in cut else None
        if role is not None and cut[operand].axes == role.inputs:
            return cut[operand].members
    return None


def cut_before(flow: Flow, whole: Slice) -> dict[int, Slice]:
    """For values that a parameter is cut into before data meet it, what they hold."""
    found, todo = dict[int, Slice](), [whole]
    while todo:
        part = todo.pop()
        if part.value in found:
            continue
        found[part.value] = part
        for index, position in flow.users[part.value]:
            node = flow.nodes[index]
            if all(flow.is_param(value) for value in node.results):
                todo += goes_on(flow, part, node, position)
    return found


def _together(anchors: Anchors, pieces: dict[_Inputs, list[int]]) -> list[_Inputs]:
    """The pieces, those whose products are added as one, in the order of inputs."""
    groups: list[tuple[_Inputs, set[int]]] = []
    for inputs, nodes in pieces.items():
        sums = {total for node in nodes for total in _sums(anchors.flow, node)}
        for other in [group for group in groups if group[1] & sums]:
            groups.remove(other)
            inputs, sums = inputs | other[0], sums | other[1]
        groups.append((inputs, sums))
    return sorted((inputs for inputs, _ in groups), key=min)


def _sums(flow: Flow, index: int) -> set[int]:
    """The additions that a node's result comes to by itself."""
    found, todo = set[int](), list(flow.nodes[index].results)
    while todo:
        for user, _ in flow.users[todo.pop()]:
            node = flow.nodes[user]
            if user not in found and node.primitive in _ADDS | primitives.LAYOUT:
                found.add(user)
                todo += node.results
    return {user for user in found if flow.nodes[user].primitive in _ADDS}
