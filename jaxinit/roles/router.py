"""Routers: weights whose output decides, or weighs, which of several paths is taken."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxinit.layers.fans import roles as axis_roles
from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, Flow, Node
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.attention import Labels, moved_labels

_CHOOSES = frozenset({"top_k", "approx_top_k", "argmax", "sort", "argsort"})
_PASSES = primitives.ELEMENTWISE | primitives.LAYOUT | {"split", "reduce_precision"}


class _Seen(NamedTuple):
    """A value that a weight layer's output goes into.

    Attributes:
      value: the value.
      axes: the layer's channels along each of its axes.
      exp: whether it is behind an exponential.
      share: whether it was divided by a sum of these.
    """

    value: int
    axes: Labels
    exp: bool
    share: bool


def find_routers(anchors: Anchors) -> list[int]:
    """The weight layers that choose among paths, in the order of events.

    A router's output goes, through elementwise functions and at most a softmax, into a
    choice (the largest few, the largest) whose outcome goes on with the data; or its
    softmax over its own channels multiplies what other weights make of the data. The
    scores of an attention are a product of data with data, and no router's; nor are
    those that a softmax over time weighs.
    """
    told = _tells(anchors)
    found = {
        number
        for index, number in anchors.weights.items()
        if any(value in told for value in anchors.flow.nodes[index].results)
        and _routes(anchors, index, told)
    }
    return anchors.in_order(found)


def _tells(anchors: Anchors) -> frozenset[int]:
    """The values that a choice or an exponential is taken of further down."""
    flow = anchors.flow
    ends = [n for n in flow.nodes if n.primitive in _CHOOSES or n.primitive == "exp"]
    return flow.before(
        {value for node in ends for value in node.operands},
        lambda index: (
            flow.nodes[index].primitive in _PASSES and index not in anchors.weights
        ),
    )


def _routes(anchors: Anchors, start: int, told: frozenset[int]) -> bool:
    flow = anchors.flow
    todo = [
        _Seen(value, _channels(anchors, start, value), False, False)
        for value in flow.nodes[start].results
    ]
    seen = set[_Seen]()
    weighs = over_channels = False
    while todo and not (weighs and over_channels):
        state = todo.pop()
        if state in seen or not (state.exp or state.value in told):
            continue
        seen.add(state)
        for index, position in flow.users[state.value]:
            node = flow.nodes[index]
            name = node.primitive
            if index in anchors.weights or name == CARRY:
                continue
            if state.exp and index in anchors.joins:
                continue  # a stream: what weighs paths did so before they were added
            if name in _CHOOSES:
                if any(flow.users[v] for v in node.results):
                    return True
                continue
            others = [
                v for p, v in enumerate(node.operands) if p != position and flow.data[v]
            ]
            if state.share and name in ("mul", "dot_general"):
                weighs |= any(_made_elsewhere(anchors, v, start) for v in others)
            if name in primitives.REDUCTIONS:
                over_channels |= state.exp and any(
                    state.axes[axis] for axis in node.params.get("axes", ())
                )
            elif name in _PASSES:
                todo += _passed(flow, state, node, position, bool(others))
    return weighs and over_channels


def _passed(
    flow: Flow, state: _Seen, node: Node, position: int, shared: bool
) -> Iterator[_Seen]:
    divides = node.primitive == "div" and position == 0 and shared
    for value in node.results:
        before, after = flow.values[state.value].shape, flow.values[value].shape
        axes = moved_labels(node, position, state.axes, before, after)
        exp = state.exp or node.primitive == "exp"
        yield _Seen(
            value, axes or ((),) * len(after), exp, state.share or (exp and divides)
        )


def _channels(anchors: Anchors, start: int, value: int) -> Labels:
    """Marks the axes of a weight layer's output that are channels."""
    flow = anchors.flow
    node = flow.nodes[start]
    found = [
        role.channels
        for position, operand in enumerate(node.operands)
        if flow.is_param(operand)
        and (role := axis_roles(node.equation, position)) is not None
    ]
    channels = {axis for axes in found for axis in axes}
    rank = len(flow.values[value].shape)
    return tuple((axis,) if axis in channels else () for axis in range(rank))


def _made_elsewhere(anchors: Anchors, value: int, start: int) -> bool:
    """Whether other weights than ``start``'s are the nearest to a value."""
    nearest = anchors.nearest_weights([value])
    return bool(nearest) and anchors.weights[start] not in nearest
