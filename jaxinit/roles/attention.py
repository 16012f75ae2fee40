"""Attention: two products of data with data, the second over the axis of the keys."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxinit.layers.event import Loop
from jaxinit.layers.fans import roles as axis_roles
from jaxinit.program import primitives
from jaxinit.program.axes import Layout, Shape, rearranged
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Node
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.branches import positions

Labels = tuple[tuple[int, ...], ...]


class Attention(NamedTuple):
    """An attention, by its weight layers as numbered in ``Sites.ancestry``.

    Attributes:
      query, key, value: the weight layers nearest upstream of the three operands;
        the same one for a fused projection, none where an operand is taken as it is.
      output: the weight layers that take the attended values.
      cross: whether keys come from another stream than queries.
      loops: the loops over stacked layers around it, outermost first.
      numbers: its position among the network's attentions in the order of execution,
        for each layer of these loops.
      operands: the values of the graph that are queries, keys and values.
    """

    query: frozenset[int]
    key: frozenset[int]
    value: frozenset[int]
    output: frozenset[int]
    cross: bool
    loops: tuple[Loop, ...]
    numbers: np.ndarray
    operands: tuple[int, int, int]


class _Operands(NamedTuple):
    """The values that meet in an attention, and the node that gives its result."""

    query: int
    key: int
    value: int
    node: int


def find_attentions(
    anchors: Anchors, residual: frozenset[int]
) -> tuple[Attention, ...]:
    """The attentions of a program.

    The scores are a product of data with data; a later product with data sums over
    one of their axes. That axis came from the keys. In between, the scores may be
    scaled, masked, normalized, dropped out and rearranged.

    Args:
      anchors: the program's events.
      residual: numbers of the joins that add to a residual stream; no layer beyond
        them belongs to an attention.

    Returns:
      The attentions, in the order of the second products.
    """
    flow = anchors.flow
    found: dict[_Operands, None] = {}
    for index, node in enumerate(flow.nodes):
        if _is_product_of_data(anchors, index):
            for operands in _attended(anchors, index, node, residual):
                found[operands] = None
    loop_at = {
        loop.path: loop for event in anchors.events.values() for loop in event.loops
    }
    attentions = []
    places = []
    for operands in sorted(found, key=lambda operands: operands.node):
        layers = [
            _projections(anchors, value, residual)
            for value in (operands.query, operands.key, operands.value)
        ]
        if any(layer is None for layer in layers):
            continue
        query, key, value = (frozenset(layer or ()) for layer in layers)
        if not query | key:
            continue
        node = flow.nodes[operands.node]
        loops = tuple(
            loop_at[path]
            for path in node.loops
            if path in loop_at and loop_at[path].kind == "layers"
        )
        places.append((node.at, loops))
        attentions.append(
            Attention(
                query=query,
                key=key,
                value=value,
                output=_outputs(anchors, operands.node, residual),
                cross=_is_cross(anchors, query, key),
                loops=loops,
                numbers=np.zeros(0),
                operands=(operands.query, operands.key, operands.value),
            )
        )
    return tuple(
        attention._replace(numbers=numbers)
        for attention, numbers in zip(attentions, positions(places), strict=True)
    )


def _is_product_of_data(anchors: Anchors, index: int) -> bool:
    node = anchors.flow.nodes[index]
    return (
        node.primitive == "dot_general"
        and index not in anchors.weights
        and all(anchors.flow.data[v] for v in node.operands)
    )


# The two products.


def _attended(
    anchors: Anchors, index: int, node: Node, residual: frozenset[int]
) -> Iterable[_Operands]:
    """The attentions whose scores a product gives; no stream is scores."""
    flow = anchors.flow
    contracting, batch = node.params["dimension_numbers"]
    labels: list[tuple[int, ...]] = [()] * len(batch[0])
    side_of: dict[int, int] = {}
    for side, value in enumerate(node.operands):
        for axis in range(len(flow.values[value].shape)):
            if axis not in contracting[side] and axis not in batch[side]:
                side_of[len(labels)] = side
                labels.append((len(labels),))
    start = node.results[0]
    known: dict[int, tuple[Labels, bool]] = {start: (tuple(labels), False)}
    todo = [start]
    while todo:
        value = todo.pop(0)
        axes, bent = known[value]
        for user, position in flow.users[value]:
            then = flow.nodes[user]
            if then.primitive == "dot_general":
                if not _is_product_of_data(anchors, user):
                    continue
                summed = then.params["dimension_numbers"][0][position]
                sides = {side_of[label] for axis in summed for label in axes[axis]}
                if len(sides) == 1:
                    (side,) = sides
                    key, query = node.operands[side], node.operands[1 - side]
                    other = then.operands[1 - position]
                    along = contracting[side]
                    if not bent and _along_channels(anchors, key, along) is False:
                        # keys and values met first, over time: linear attention
                        query, other = other, query
                    yield _Operands(query, key, other, user)
                continue
            result = then.results[0]
            shape = flow.values[result].shape
            moved = moved_labels(then, position, axes, flow.values[value].shape, shape)
            stream = anchors.joins.get(user) in residual
            if result not in known and moved is not None and any(moved) and not stream:
                straight = primitives.LAYOUT | {
                    "mul",
                    "div",
                    "neg",
                    "select_n",
                    "add",
                    "sub",
                }
                known[result] = moved, bent or then.primitive not in straight
                todo.append(result)


_SAME_AXES = frozenset("concatenate pad cumsum copy".split())


def moved_labels(
    node: Node, position: int, axes: Labels, before: Shape, after: Shape
) -> Labels | None:
    """The labels of a result's axes; ``None`` where they are lost."""
    name = node.primitive
    if name == SLICE:
        return axes[1:]
    if name == STACK:
        return ((), *axes)
    if name == CHOICE:
        return axes if position else None
    if name in primitives.LAYOUT and position == 0:
        layout = rearranged(node.equation, Layout((), axes))
        return None if layout is None else layout.axes
    if name in primitives.ELEMENTWISE or name in _SAME_AXES:
        if before == after or name in _SAME_AXES:
            return axes
    return None


def _along_channels(anchors: Anchors, value: int, summed: Iterable[int]) -> bool | None:
    """Whether axes of a value are channels of the layer that it comes from.

    ``None`` where that cannot be told.
    """
    flow = anchors.flow
    axes = set(summed)
    while True:
        maker = flow.values[value].maker
        if maker is None:
            return None
        node = flow.nodes[maker]
        if maker in anchors.weights:
            for position, operand in enumerate(node.operands):
                if flow.is_param(operand):
                    found = axis_roles(node.equation, position)
                    if found is not None:
                        return bool(axes & set(found.channels))
            return None
        data = [v for v in node.operands if flow.data[v]]
        if not data:
            return None
        source = data[0]
        before = flow.values[source].shape
        marked = tuple((axis,) for axis in range(len(before)))
        alike = [v for v in data if flow.values[v].shape == flow.values[value].shape]
        if node.primitive in primitives.ELEMENTWISE and alike:
            source = alike[0]
        else:
            moved = moved_labels(
                node,
                node.operands.index(source),
                marked,
                before,
                flow.values[value].shape,
            )
            if moved is None:
                return None
            axes = {origin for axis in axes for origin in moved[axis]}
        value = source


# The layers around them.


def _projections(
    anchors: Anchors, value: int, residual: frozenset[int]
) -> list[int] | None:
    """The weight layers nearest upstream; ``None`` if nothing learned is there."""
    flow = anchors.flow
    alive = False

    def on(node: Node, position: int) -> bool:
        operand = node.operands[position]
        index = flow.values[node.results[0]].maker
        return (
            flow.data[operand]
            and flow.values[operand].is_float
            and node.primitive != CARRY
            and index not in anchors.weights
            and index not in anchors.lookups
            and (index is None or anchors.joins.get(index) not in residual)
        )

    found = set()
    for index in flow.upstream([value], on):
        node = flow.nodes[index]
        if index in anchors.weights:
            found.add(anchors.weights[index])
        alive |= index in anchors.lookups or node.primitive == CARRY
        alive |= anchors.joins.get(index) in residual
        alive |= any(
            flow.values[v].maker is None and flow.values[v].is_float and flow.data[v]
            for v in node.operands
        )
    alive |= flow.values[value].maker is None
    return anchors.in_order(found) if found or alive else None


def _outputs(anchors: Anchors, index: int, residual: frozenset[int]) -> frozenset[int]:
    """The weight layers nearest downstream, in the same residual branch."""
    flow = anchors.flow

    def on(user: int, position: int) -> bool:
        node = flow.nodes[user]
        return (
            user not in anchors.weights
            and anchors.joins.get(user) not in residual
            and node.primitive not in (CARRY, "dot_general")
            and flow.values[node.results[0]].is_float
        )

    return frozenset(
        anchors.weights[user]
        for user, _ in flow.downstream(flow.nodes[index].results, on)
        if user in anchors.weights
    )


def _is_cross(anchors: Anchors, query: frozenset[int], key: frozenset[int]) -> bool:
    """Whether queries and keys are made of different values."""
    first, second = _streams(anchors, query), _streams(anchors, key)
    return bool(first and second) and not first & second


def _streams(anchors: Anchors, layers: frozenset[int]) -> set[int]:
    """What layers work on, back through norms and gains."""
    found: set[int] = set()
    todo = [parent for n in layers for parent in anchors.events[n].parents]
    while todo:
        number = todo.pop()
        event = anchors.events[number]
        if event.kind == "tap" or (event.kind == "layer" and not event.uses):
            todo += event.parents
        else:
            found.add(number)
    return found
