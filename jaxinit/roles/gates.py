"""The gates of recurrent cells, and which entries of biases are whose."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from jaxinit.program import primitives
from jaxinit.program.axes import Layout, rearranged
from jaxinit.program.flow import SLICE, Flow, Node
from jaxinit.program.paths import Path
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.recurrence import carries_over_time
from jaxinit.roles.segments import segments_of

GateKind = Literal["input", "forget", "cell", "output", "other"]


class Gate(NamedTuple):
    """A part of a bias that one gate of a recurrent cell gets.

    Attributes:
      kind: ``"forget"`` multiplies the state that is kept, ``"input"`` what is added
        to it, ``"output"`` what the cell gives; ``"cell"`` is no gate but the
        candidate that is added; ``"other"`` gates something else (a GRU's reset).
      start, stop: the entries along the bias's last axis.
    """

    kind: GateKind
    start: int
    stop: int


class _Part(NamedTuple):
    """Entries of a value's last axis, by which entries of a sum of biases they are.

    Attributes:
      value: the value.
      start, stop: the entries of the biases' sum, all of which the value's last axis
        holds.
      squashed: the nonlinearity that it went through.
      flipped: whether it was subtracted from a constant after that.
    """

    value: int
    start: int
    stop: int
    squashed: str = ""
    flipped: bool = False


def find_gates(
    anchors: Anchors, added: dict[int, frozenset[int]]
) -> dict[int, tuple[Gate, ...]]:
    """The biases of gates in loops over time.

    Args:
      anchors: the program's events.
      added: for each node that adds a bias, the bias's leaves.

    Returns:
      For each leaf that is the bias of a gate, or of several laid side by side, which
      entries are whose.
    """
    flow = anchors.flow
    carries = {index: loop for index, loop, *_ in carries_over_time(anchors)}
    gates: dict[int, set[Gate]] = {}
    for index in added if carries else ():
        node = flow.nodes[index]
        param = next(v for v in node.operands if flow.is_param(v))
        segments = segments_of(flow, param)
        shape = flow.values[node.results[0]].shape
        if segments is None or not shape or not flow.values[param].shape:
            continue
        if flow.values[param].shape[-1] != shape[-1]:
            continue
        start = _Part(node.results[0], 0, shape[-1])
        for kind, part in _kinds(flow, start, carries):
            for leaf, first, last, offset in segments:
                low, high = max(part.start, first), min(part.stop, last)
                if low < high:
                    shift = int(offset - first)
                    gate = Gate(kind, int(low) + shift, int(high) + shift)
                    gates.setdefault(leaf, set()).add(gate)
    return {
        leaf: tuple(sorted(_strongest(found), key=lambda gate: gate.start))
        for leaf, found in sorted(gates.items())
        if any(gate.kind != "cell" for gate in found)
    }


def _kinds(
    flow: Flow, start: _Part, carries: dict[int, Path]
) -> Iterator[tuple[GateKind, _Part]]:
    seen: set[_Part] = set()
    todo = [start]
    while todo:
        part = todo.pop()
        if part in seen:
            continue
        seen.add(part)
        for index, position in flow.users[part.value]:
            node = flow.nodes[index]
            data = [v for v in node.operands if flow.data[v]]
            if node.primitive == "mul" and len(data) == 2 and part.squashed:
                kind = _kind(flow, part, node, position, carries)
                if kind is not None:
                    yield kind, part
            else:
                todo += _moved(flow, part, node, position, len(data))


_SAME_AXES = primitives.KEEPS_ELEMENTS - {"reshape", "transpose", "rev"}


def _moved(
    flow: Flow, part: _Part, node: Node, position: int, num_data: int
) -> list[_Part]:
    """The part as it comes out of a node, as one or as several parts."""
    name = node.primitive
    before = flow.values[part.value].shape
    size = before[-1] if before else 0
    result = node.results[0]
    after = flow.values[result].shape
    if name == "split" and node.params["axis"] == len(before) - 1:
        parts, low = [], part.start
        for value, width in zip(node.results, node.params["sizes"], strict=True):
            parts.append(part._replace(value=value, start=low, stop=low + width))
            low += width
        return parts
    if name == "slice":
        low, high = node.params["start_indices"][-1], node.params["limit_indices"][-1]
        if node.params["strides"] in (None, (1,) * len(before)):
            return [
                part._replace(
                    value=result, start=part.start + low, stop=part.start + high
                )
            ]
        return []
    if name == SLICE:
        return [part._replace(value=result)] if len(after) else []
    if name in ("reshape", "broadcast_in_dim", "transpose"):
        moved = rearranged(
            node.equation, Layout((), tuple((i,) for i in range(len(before))))
        )
        kept = moved is not None and after and moved.axes[-1] == (len(before) - 1,)
        return [part._replace(value=result)] if kept and after[-1] == size else []
    if name in _SAME_AXES and after == before:
        return [part._replace(value=result)]
    if name in ("add", "add_any") and not part.squashed:
        return [part._replace(value=result)]
    if name in ("mul", "div") and num_data == 1 and not part.squashed:
        return [part._replace(value=result)]
    if name == "sub" and num_data == 1 and part.squashed:
        return [part._replace(value=result, flipped=position == 1)]
    if name in ("logistic", "tanh", "max", "erf") and not part.squashed:
        return [part._replace(value=result, squashed=name)]
    return []


def _kind(
    flow: Flow, part: _Part, node: Node, position: int, carries: dict[int, Path]
) -> GateKind | None:
    """What a gate does by a product; none if it is no gate of a loop's state."""
    other = node.operands[1 - position]
    loops = {loop for loop in carries.values() if loop in node.loops}
    if not loops:
        return None
    kept = _carry_of(flow, other, carries)
    reached = _reached(flow, node.results[0], carries)
    if part.squashed != "logistic":
        return "cell" if any(sums for _, sums in reached) else None
    if kept is not None and any(index == kept for index, _ in reached):
        return "input" if part.flipped else "forget"
    if part.flipped:
        return None  # the gate's other factor tells
    if any(sums for _, sums in reached):
        return "input"
    return "output" if reached else "other"


def _carry_of(flow: Flow, value: int, carries: dict[int, Path]) -> int | None:
    """The carry that a value is, unchanged."""
    for index in flow.upstream(
        [value], lambda node, _: node.primitive in primitives.KEEPS_ELEMENTS
    ):
        if index in carries:
            return index
        if flow.nodes[index].primitive not in primitives.KEEPS_ELEMENTS:
            return None
    return None


def _reached(flow: Flow, value: int, carries: dict[int, Path]) -> set[tuple[int, bool]]:
    """The carries that a value is handed on to, and whether as one of several terms."""
    passes = primitives.KEEPS_ELEMENTS | {"select_n"}
    seen: set[tuple[int, bool]] = set()
    found: set[tuple[int, bool]] = set()
    todo = [(value, False)]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        value, sums = current
        for index, position in flow.users[value]:
            node = flow.nodes[index]
            if index in carries:
                if position == 1:
                    found.add((index, sums))
            elif node.primitive in passes:
                todo.append((node.results[0], sums))
            elif node.primitive in ("add", "sub", "add_any"):
                todo.append((node.results[0], True))
    return found


_STRENGTH: tuple[GateKind, ...] = ("forget", "output", "input", "other", "cell")


def _strongest(gates: set[Gate]) -> list[Gate]:
    """One gate for each stretch of a bias: what tells most about it."""
    chosen: dict[tuple[int, int], Gate] = {}
    for gate in sorted(gates, key=lambda gate: _STRENGTH.index(gate.kind)):
        chosen.setdefault((gate.start, gate.stop), gate)
    return list(chosen.values())
