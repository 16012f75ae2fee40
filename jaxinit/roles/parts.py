"""Fused kernels: which of a kernel's outputs are queries, keys, values or gates."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.layers.event import Use
from jaxinit.layers.fans import roles as axis_roles
from jaxinit.program import primitives
from jaxinit.program.flow import SLICE, Flow, Node
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.attention import Attention
from jaxinit.roles.pieces import cut_before
from jaxinit.roles.slices import Slice, goes_on

_PROJECTIONS = frozenset({"query", "key", "value"})
_Told = tuple[tuple[int, ...], frozenset[str]]

_MOST = 8
"""More pieces than that are heads or channels, not kernels."""


class Part(NamedTuple):
    """Some of a fused kernel's outputs: a kernel that lies in it beside others.

    Attributes:
      leaf: the kernel.
      outputs: which of its outputs, numbered over its output axes in the order of
        ``Use.out_axis``. Those of one part may lie in between those of others, as
        where each head has its own queries, keys and values side by side.
      roles: ``"query"``, ``"key"``, ``"value"``; ``"gate"`` for what a nonlinearity
        makes a factor of, ``"gated"`` for what it multiplies; none where the program
        does not tell.
    """

    leaf: int
    outputs: tuple[int, ...]
    roles: frozenset[str]


def find_parts(
    anchors: Anchors, attentions: Sequence[Attention]
) -> dict[int, tuple[Part, ...]]:
    """The parts of fused kernels, by leaf; kernels that are one have none.

    They are told apart where the kernel's output is cut up: what becomes queries is
    one part, however many pieces it is cut into, and so are keys and values; other
    outputs are cut where the model cuts them first. A kernel may also be cut before
    data meet it, and each piece may be.

    Args:
      anchors: the program's events.
      attentions: its attentions.
    """
    targets: dict[int, set[str]] = {}
    for attention in attentions:
        for value, role in zip(
            attention.operands, ("query", "key", "value"), strict=True
        ):
            targets.setdefault(value, set()).add(role)
    found: dict[int, list[_Told]] = {}
    cut: dict[int, dict[int, Slice]] = {}
    for index, number in anchors.weights.items():
        uses = [u for u in anchors.events[number].uses if u.out_axis]
        if len(uses) != 1 or uses[0].groups > 1:
            continue
        use = uses[0]
        known = found.setdefault(use.leaf, [])
        covered = {output for outputs, _ in known for output in outputs}
        if len(covered) == _count(anchors.flow, use):
            continue  # it is tied: used once more
        if use.leaf not in cut:
            cut[use.leaf] = _cut_before(anchors.flow, use)
        start = _outputs(anchors, index, use, cut[use.leaf])
        if start is not None and covered.isdisjoint(start.members):
            known += _parts(anchors, start, targets, _count(anchors.flow, use))
    return {
        leaf: tuple(Part(leaf, *part) for part in _together(parts))
        for leaf, parts in found.items()
        if len(_together(parts)) > 1
    }


def _together(told: Sequence[_Told]) -> list[_Told]:
    """The parts, those of one projection as one, in the order of their outputs.

    Where no part is a gate, none is gated.
    """
    merged: list[_Told] = []
    gates = any("gate" in roles for _, roles in told)
    for outputs, roles in told:
        roles = roles if gates else roles & _PROJECTIONS
        alike = [part for part in merged if roles & _PROJECTIONS and part[1] == roles]
        for part in alike:
            merged.remove(part)
            outputs = tuple(sorted({*part[0], *outputs}))
        merged.append((outputs, roles))
    return sorted(merged, key=lambda part: part[0])


def _count(flow: Flow, use: Use) -> int:
    """How many outputs a kernel has."""
    return math.prod(flow.values[use.leaf].shape[axis] for axis in use.out_axis)


def _cut_before(flow: Flow, use: Use) -> dict[int, Slice]:
    """For values that a kernel is cut into before data meet it, its outputs there."""
    sizes = [flow.values[use.leaf].shape[axis] for axis in use.out_axis]
    outputs = np.arange(math.prod(sizes)).reshape(sizes)
    order = np.argsort(use.out_axis)
    axes = tuple(use.out_axis[i] for i in order)
    # The program's inputs are the first of its values, parameters the first of these.
    return cut_before(flow, Slice(use.leaf, axes, np.transpose(outputs, order)))


def _outputs(
    anchors: Anchors, index: int, use: Use, cut: dict[int, Slice]
) -> Slice | None:
    """The outputs of the kernel that a node uses, in the node's result."""
    flow = anchors.flow
    node = flow.nodes[index]
    for position, operand in enumerate(node.operands):
        role = axis_roles(node.equation, position) if flow.is_param(operand) else None
        if role is not None and role.outputs:
            sizes = [flow.values[operand].shape[axis] for axis in role.outputs]
            axes = role.channels[len(role.batch) :]
            if len(axes) != len(sizes) or list(axes) != sorted(axes):
                return None
            outputs = np.arange(np.prod(sizes)).reshape(sizes)
            if outputs.size < _count(flow, use):
                if operand not in cut or cut[operand].axes != role.outputs:
                    return None
                outputs = cut[operand].outputs
            return Slice(node.results[0], tuple(axes), outputs)
    return None


def _parts(
    anchors: Anchors, start: Slice, targets: dict[int, set[str]], whole: int
) -> list[_Told]:
    """The parts that some of a kernel's outputs fall into, the first output's first."""
    roles = list(_roles_of(anchors.flow, start, targets, whole))
    pieces = _pieces(anchors, start) or [start.members]
    projections: dict[str, set[int]] = {}
    for part, role in roles:
        if role in _PROJECTIONS:
            projections.setdefault(role, set()).update(part.members)
    if projections:
        pieces = _by_projection(start.members, pieces, projections)
    told = []
    for piece in pieces:
        mine = {role for role, members in projections.items() if piece <= members}
        if not projections:
            mine = {role for part, role in roles if part.members <= piece}
            # What a gate such as x * sigmoid(x) multiplies first is itself.
            mine -= {"gated"} if "gate" in mine else set()
        told.append((tuple(sorted(piece)), frozenset(mine)))
    return sorted(told, key=lambda part: part[0])


def _by_projection(
    whole: frozenset[int],
    pieces: Sequence[frozenset[int]],
    projections: dict[str, set[int]],
) -> list[frozenset[int]]:
    """Queries, keys and values, and the pieces of what is none of them."""
    distinct = list({frozenset(members): None for members in projections.values()})
    known = frozenset[int]().union(*distinct)
    if sum(map(len, distinct)) > len(known):
        return list(pieces)  # they share some outputs
    rest = [piece - known for piece in pieces]
    return [*distinct, *(piece for piece in rest if piece)]


def _pieces(anchors: Anchors, part: Slice) -> list[frozenset[int]] | None:
    """The pieces that outputs are cut into before anything else happens to them."""
    flow, whole = anchors.flow, part.members
    slices = dict[frozenset[int], None]()
    for index, position in flow.users[part.value]:
        node = flow.nodes[index]
        if not _keeps(anchors, node):
            continue
        after = goes_on(flow, part, node, position)
        cut = [new.members for new in after if new.members != whole]
        if node.primitive == "slice":
            slices.update(dict.fromkeys(cut))
        elif 1 < len(cut) <= _MOST:
            return cut
        elif not cut:
            for new in after:
                found = _pieces(anchors, new)
                if found:
                    return found
    if 1 < len(slices) <= _MOST and sum(map(len, slices)) == len(whole):
        if frozenset[int]().union(*slices) == whole:
            return list(slices)
    return None


def _keeps(anchors: Anchors, node: Node) -> bool:
    """Whether a node gives what it takes, or pieces of it, up to a bias.

    Of a cell's two kernels, on its input and on its state, the sum is cut into gates.
    """
    flow = anchors.flow
    if node.primitive in ("add", "add_any"):
        data = [v for v in node.operands if flow.data[v]]
        return len(data) == 1 or all(_is_output(anchors, v) for v in data)
    kept = primitives.KEEPS_ELEMENTS - {"rev"}
    return node.primitive in kept | {"slice", "split", "unstack", "reshape", SLICE}


def _is_output(anchors: Anchors, value: int) -> bool:
    """Whether a value is what a kernel gives, up to a bias; also a step's of a loop."""
    flow = anchors.flow
    kept = primitives.KEEPS_ELEMENTS - {"rev"} | {"reshape", SLICE}
    while True:
        maker = flow.values[value].maker
        if maker is None or maker in anchors.weights:
            return maker is not None
        node = flow.nodes[maker]
        data = [v for v in node.operands if flow.data[v]]
        adds = node.primitive in ("add", "add_any") and len(data) == 1
        if not adds and node.primitive not in kept:
            return False
        value = data[0]


def _roles_of(
    flow: Flow, start: Slice, targets: dict[int, set[str]], whole: int
) -> Iterator[tuple[Slice, str]]:
    todo, seen = [start], dict[tuple[object, ...], Slice]()
    while todo:
        part = todo.pop()
        if part.name in seen:
            continue
        seen[part.name] = part
        some = part.outputs.size < whole
        for role in targets.get(part.value, ()):
            yield part, role
        for index, position in flow.users[part.value]:
            node = flow.nodes[index]
            data = [v for v in node.operands if flow.data[v]]
            if node.primitive == "mul" and len(data) == 2:
                if any(
                    s.value == node.operands[1 - position]
                    and np.array_equal(s.outputs, part.outputs)
                    for s in seen.values()
                ):  # x * sigmoid(x)
                    todo.append(part._replace(value=node.results[0], bent=True))
                    continue
                if some:
                    yield part, "gate" if part.bent else "gated"
            if some or len(data) == 1:  # a whole output goes on into a stream
                todo += goes_on(flow, part, node, position)
