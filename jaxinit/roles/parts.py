"""Fused kernels: which of a kernel's outputs are queries, keys, values or gates."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxinit.layers.fans import roles as axis_roles
from jaxinit.program import primitives
from jaxinit.program.axes import Layout, Shape, rearranged
from jaxinit.program.flow import Flow, Node
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.attention import Attention


class Part(NamedTuple):
    """Some of a fused kernel's outputs.

    Attributes:
      leaf: the kernel.
      axis: the axis of the leaf that numbers the parts.
      start, stop: the part's entries along it.
      role: ``"query"``, ``"key"``, ``"value"``; ``"gate"`` for what a nonlinearity
        makes a factor of, ``"gated"`` for what it multiplies.
    """

    leaf: int
    axis: int
    start: int
    stop: int
    role: str


class _Slice(NamedTuple):
    """Where some outputs of a kernel lie.

    Attributes:
      value: the value that holds them.
      axis: the value's axis that numbers them; ``None`` where only one is left.
      start, stop: which of the kernel's entries these are.
      bent: whether they went through the nonlinearity of a gate.
    """

    value: int
    axis: int | None
    start: int
    stop: int
    bent: bool = False


def find_parts(anchors: Anchors, attentions: Sequence[Attention]) -> tuple[Part, ...]:
    """The parts of fused kernels, by leaf and position.

    They are told apart where the kernel's output is split or sliced along the first
    axis of what numbers its outputs. Parts that lie in between those of other heads
    are not listed.

    Args:
      anchors: the program's events.
      attentions: its attentions.
    """
    found: dict[tuple[int, int], set[Part]] = {}
    targets: dict[int, set[str]] = {}
    for attention in attentions:
        for value, role in zip(
            attention.operands, ("query", "key", "value"), strict=True
        ):
            targets.setdefault(value, set()).add(role)
    for index, number in anchors.weights.items():
        axis, length = _first_output(anchors, index)
        uses = [u for u in anchors.events[number].uses if u.out_axis]
        if axis is None or len(uses) != 1:
            continue
        node = anchors.flow.nodes[index]
        start = _Slice(node.results[0], axis, 0, length)
        for part, role in _roles_of(anchors.flow, start, targets):
            key = uses[0].leaf, uses[0].out_axis[0]
            found.setdefault(key, set()).add(Part(*key, part.start, part.stop, role))
    return tuple(
        part for _, parts in sorted(found.items()) for part in sorted(_told(parts))
    )


_PROJECTIONS = frozenset({"query", "key", "value"})


def _told(parts: set[Part]) -> set[Part]:
    """The parts that are of one kind: an attention's, or a gate and what it opens.

    What a gate such as x * sigmoid(x) multiplies first is itself; rotary positions
    multiply queries and keys, and gate nothing.
    """
    roles = {part.role for part in parts}
    if roles & _PROJECTIONS:
        parts = {part for part in parts if part.role in _PROJECTIONS}
    elif "gate" in roles:
        parts = parts - {p._replace(role="gated") for p in parts if p.role == "gate"}
    else:
        return set()
    return parts if len({(part.start, part.stop) for part in parts}) > 1 else set()


def _first_output(anchors: Anchors, index: int) -> tuple[int | None, int]:
    """The axis of a layer's output along which its kernel's first output axis lies."""
    flow = anchors.flow
    node = flow.nodes[index]
    for position, operand in enumerate(node.operands):
        role = axis_roles(node.equation, position) if flow.is_param(operand) else None
        if role is not None and role.outputs:
            axis = role.channels[len(role.batch)]
            return axis, flow.values[operand].shape[role.outputs[0]]
    return None, 0


def _roles_of(
    flow: Flow, start: _Slice, targets: dict[int, set[str]]
) -> Iterator[tuple[_Slice, str]]:
    todo, seen = [start], set[_Slice]()
    whole = start.stop - start.start
    while todo:
        part = todo.pop()
        if part in seen:
            continue
        seen.add(part)
        some = part.stop - part.start < whole
        for role in targets.get(part.value, ()) if some else ():
            yield part, role
        for index, position in flow.users[part.value]:
            node = flow.nodes[index]
            data = [v for v in node.operands if flow.data[v]]
            if node.primitive == "mul" and len(data) == 2:
                if any(
                    s.value == node.operands[1 - position] and s[2:4] == part[2:4]
                    for s in seen
                ):  # x * sigmoid(x)
                    todo.append(part._replace(value=node.results[0], bent=True))
                    continue
                if some:
                    yield part, "gate" if part.bent else "gated"
            todo += _goes_on(flow, part, node, position)


_BENDS = frozenset({"logistic", "erf", "erfc", "clamp"})
_ALIKE = primitives.ELEMENTWISE - {"select_n"}


def _goes_on(flow: Flow, part: _Slice, node: Node, position: int) -> list[_Slice]:
    name, axis = node.primitive, part.axis
    before = flow.values[part.value].shape
    result = node.results[0]
    after = flow.values[result].shape
    if name == "split" and axis is not None and node.params["axis"] == axis:
        return list(_split(part, node, before[axis]))
    if name == "unstack" and axis is not None:
        return list(_unstacked(part, axis, node, before))
    if name == "slice" and position == 0 and axis is not None:
        unit = (part.stop - part.start) // before[axis]
        if node.params["strides"] not in (None, (1,) * len(before)):
            return []
        low, high = (
            node.params["start_indices"][axis],
            node.params["limit_indices"][axis],
        )
        at = part.start
        return [
            part._replace(value=result, start=at + low * unit, stop=at + high * unit)
        ]
    if name in _ALIKE and before == after:
        bent = part.bent or name in _BENDS
        return [part._replace(value=result, bent=bent)]
    if name == "split" or (name == "concatenate" and node.params["dimension"] != axis):
        return [part._replace(value=value) for value in node.results]
    if name not in primitives.LAYOUT or position:
        return []
    if axis is None:
        return [part._replace(value=result)]
    marked = Layout((), tuple((i,) for i in range(len(before))))
    moved = rearranged(node.equation, marked)
    places = [] if moved is None else [i for i, a in enumerate(moved.axes) if axis in a]
    if not places:
        return [part._replace(value=result, axis=None)] if before[axis] == 1 else []
    if moved is None or moved.axes[places[0]] != (axis,):
        return []
    return [part._replace(value=result, axis=places[0])]


def _split(part: _Slice, node: Node, size: int) -> Iterator[_Slice]:
    unit = (part.stop - part.start) // size
    low = part.start
    for value, width in zip(node.results, node.params["sizes"], strict=True):
        yield part._replace(value=value, start=low, stop=low + int(width) * unit)
        low += int(width) * unit


def _unstacked(part: _Slice, axis: int, node: Node, shape: Shape) -> Iterator[_Slice]:
    along = int(node.params["axis"])
    unit = (part.stop - part.start) // shape[axis]
    for number, value in enumerate(node.results):
        if along == axis:
            low = part.start + number * unit
            yield part._replace(value=value, axis=None, start=low, stop=low + unit)
        else:
            yield part._replace(value=value, axis=axis - (along < axis))
