"""Routers: weights whose output decides, or weighs, which of several paths is taken."""

from jaxinit.program import primitives
from jaxinit.program.flow import CARRY
from jaxinit.roles.anchors import Anchors

_CHOOSES = frozenset({"top_k", "approx_top_k", "argmax", "sort", "argsort"})
_PASSES = primitives.ELEMENTWISE | primitives.LAYOUT | {"split", "reduce_precision"}


def find_routers(anchors: Anchors) -> list[int]:
    """The weight layers that choose among paths, in the order of events.

    A router's output goes, through elementwise functions and at most a softmax, into a
    choice (the largest few, the largest) whose outcome goes on with the data; or its
    softmax multiplies what other weights make of the data. The scores of an attention
    are a product of data with data, and no router's.
    """
    found = [
        number for index, number in anchors.weights.items() if _routes(anchors, index)
    ]
    return anchors.in_order(set(found))


def _routes(anchors: Anchors, start: int) -> bool:
    flow = anchors.flow
    # Of each value: whether it is behind an exponential, and behind its sum.
    todo = [(value, False, False) for value in flow.nodes[start].results]
    seen = set[tuple[int, bool, bool]]()
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        value, exp, share = state
        for index, position in flow.users[value]:
            node = flow.nodes[index]
            name = node.primitive
            if index in anchors.weights or name == CARRY:
                continue
            if name in _CHOOSES:
                if any(flow.users[v] for v in node.results):
                    return True
                continue
            others = [
                v for p, v in enumerate(node.operands) if p != position and flow.data[v]
            ]
            if share and name in ("mul", "dot_general") and others:
                if any(_made_elsewhere(anchors, v, start) for v in others):
                    return True
            if name in primitives.REDUCTIONS:
                continue
            if name in _PASSES:
                divides = name == "div" and position == 0 and bool(others)
                then = exp or name == "exp"
                todo += [(v, then, share or (then and divides)) for v in node.results]
    return False


def _made_elsewhere(anchors: Anchors, value: int, start: int) -> bool:
    """Whether other weights than ``start``'s are the nearest to a value."""
    nearest = anchors.nearest_weights([value])
    return bool(nearest) and anchors.weights[start] not in nearest
