"""Which additions are residual: a stream goes on, and a branch of it is added."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxinit.layers.event import Event
from jaxinit.program import primitives
from jaxinit.program.bits import bits
from jaxinit.program.flow import CARRY, STACK, Node
from jaxinit.roles.anchors import Anchors, is_weight
from jaxinit.roles.upstream import Upstream, keeps_zero


@dataclass(frozen=True)
class Residual:
    """A join that adds to a stream.

    Attributes:
      join: its number.
      fork: the events after which its two paths part.
      inside: the events of the branch.
    """

    join: int
    fork: frozenset[int]
    inside: frozenset[int]


class Unclear(NamedTuple):
    """A sum of two paths from one point, each with weights and a nonlinearity.

    Attributes:
      join: its number.
      ends: for both paths the weight layers nearest to the sum.
    """

    join: int
    ends: tuple[tuple[int, ...], tuple[int, ...]]


def residual_join(
    anchors: Anchors,
    upstream: Upstream,
    number: int,
    known: dict[int, Residual],
    said: Mapping[int, bool],
) -> Residual | Unclear | None:
    """What a join adds to a stream; ``None`` if it is no such addition.

    Args:
      anchors: the program's events.
      upstream: what its values come from.
      number: the join.
      known: the residual joins before it.
      said: for parameter leaves, whether the user says that they end a branch.
    """
    event = anchors.events[number]
    if event.shortcut is None or not event.skip:
        return None
    sides = _sides(anchors, number) if said else ((), ())
    for side in (0, 1):
        only = set(sides[side]) - set(sides[1 - side])
        uses = [use for n in only for use in anchors.events[n].uses]
        answers = [said[use.leaf] for use in uses if use.leaf in said]
        if answers:
            return _told(anchors, number, side, known) if any(answers) else None
    return _read_join(anchors, upstream, number, known)


def _sides(anchors: Anchors, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The weight layers nearest to a sum on both its paths, up to another sum."""

    def on(node: Node, position: int) -> bool:
        index = anchors.flow.values[node.results[0]].maker
        return index not in anchors.joins

    first, second = anchors.flow.nodes[anchors.nodes[number]].operands
    return (
        tuple(anchors.nearest_weights([first], on)),
        tuple(anchors.nearest_weights([second], on)),
    )


def _told(
    anchors: Anchors, number: int, side: int, known: dict[int, Residual]
) -> Residual:
    """A join whose branch the user has named: the operand ``side``."""
    event = anchors.events[number]
    if event.shortcut == side:
        event = replace(event, shortcut=1 - side, skip=event.branch, branch=event.skip)
        anchors.events[number] = event
    fork, _ = _paths(anchors, event, known)
    return Residual(number, fork, _branch(anchors, event, fork))


def _read_join(
    anchors: Anchors, upstream: Upstream, number: int, known: dict[int, Residual]
) -> Residual | Unclear | None:
    event = anchors.events[number]
    assert event.shortcut is not None
    node = anchors.flow.nodes[anchors.nodes[number]]
    skip, branch = node.operands[event.shortcut], node.operands[1 - event.shortcut]
    if upstream.are_logits(node.results[0]) or _is_gated(anchors, upstream, skip):
        return None
    if _is_log_of_sum(anchors, skip, branch):
        return None
    if any(loop.kind != "layers" for loop in event.loops[-1:]):
        if not _comes_back(anchors, skip, branch):
            return None
    fork, own = _paths(anchors, event, known)
    if not fork:
        return None
    if _is_step(anchors, own, anchors.ancestors(event.branch)):
        return None
    if any(is_weight(anchors.events[n]) for n in own):
        bends = upstream.bends(skip, branch), upstream.bends(branch, skip)
        if all(bends):
            return Unclear(number, _sides(anchors, number))
        if bends != (False, True):
            return None
    inside = _branch(anchors, event, fork)
    if not any(is_weight(anchors.events[n]) for n in inside):
        return None
    if event.skip < event.branch:  # the stream itself takes part in the branch
        ends = anchors.nearest_weights([branch], keeps_zero)
        if not _comes_back(anchors, skip, branch) or inside.isdisjoint(ends):
            return None
    aside = {n for n in inside if not anchors.events[n].above & bits(fork)}
    if _is_fed(anchors, event, skip, aside):
        return None
    return Residual(number, fork, inside)


def _paths(
    anchors: Anchors, event: Event, known: dict[int, Residual]
) -> tuple[frozenset[int], frozenset[int]]:
    """Where the two paths of a join part, and the layers of the skip's own."""
    above = anchors.ancestors(event.branch)
    if not bits(event.skip) & ~above:
        return event.skip, frozenset()
    return _fork(anchors, event.skip, above, known)


def _branch(anchors: Anchors, event: Event, fork: frozenset[int]) -> frozenset[int]:
    return _inside(anchors, event.branch, fork, anchors.ancestors(event.skip))


def _is_gated(anchors: Anchors, upstream: Upstream, value: int) -> bool:
    """Whether a skip was multiplied by what layers make of the data."""
    flow = anchors.flow

    def on(node: Node, position: int) -> bool:
        # What a loop over time gives is a layer's output, whatever gates are in it.
        return node.primitive != STACK and _stays_near(anchors, node, position)

    for index in flow.upstream([value], on):
        node = flow.nodes[index]
        if node.primitive in ("mul", "dot_general") and index not in anchors.weights:
            data = [v for v in node.operands if flow.data[v]]
            if len(data) == 2 and all(map(upstream.is_made, data)):
                # One factor may be a root of a reduction: a norm without parameters.
                if not any(map(upstream.is_rooted, node.operands)):
                    return True
    return False


_IN_A_SUM = primitives.LAYOUT | primitives.CONTRACTIONS | {"add", "mul", "reduce_sum"}


def _is_log_of_sum(anchors: Anchors, skip: int, branch: int) -> bool:
    """Whether a skip was taken off before an exponential, and then its logarithm.

    What is added there is the largest term, and the sum is the logarithm of a sum.
    """
    flow = anchors.flow

    def near(node: Node, position: int) -> bool:
        joins = flow.values[node.results[0]].maker in anchors.joins
        return node.primitive in primitives.LAYOUT | {"add", "sub"} and not joins

    def within(node: Node, position: int) -> bool:
        return node.primitive in _IN_A_SUM

    def operands(name: str, indices: Iterable[int]) -> list[int]:
        nodes = (flow.nodes[index] for index in indices)
        return [v for node in nodes if node.primitive == name for v in node.operands]

    def root(value: int) -> int:
        maker = flow.values[value].maker
        while maker is not None and flow.nodes[maker].primitive in primitives.LAYOUT:
            value = flow.nodes[maker].operands[0]
            maker = flow.values[value].maker
        return value

    sums = operands("log", flow.upstream([branch], near))
    terms = operands("exp", flow.upstream(sums, within))
    makers = [flow.values[value].maker for value in terms]
    taken = operands("sub", (maker for maker in makers if maker is not None))
    return root(skip) in {root(value) for value in taken}


def _is_step(anchors: Anchors, own: Iterable[int], above: int) -> bool:
    """Whether a skip is made by a kernel that the branch has used before.

    It is a step of a recurrence that is written out: what enters now is added to what
    is left of what entered earlier.
    """
    uses = (use for n in own for use in anchors.events[n].uses)
    return any(anchors.using[use.leaf] & above for use in uses)


def _is_fed(anchors: Anchors, join: Event, skip: int, aside: Iterable[int]) -> bool:
    """Whether a kernel that made the skip feeds the branch from aside as well.

    So it is with the state of a recurrence, as a loop over time or written out.
    """
    over_time = any(loop.kind != "layers" for loop in join.loops)
    again = {
        use.leaf
        for number in aside
        for use in anchors.events[number].uses
        if over_time or anchors.using[use.leaf].bit_count() > 1
    }
    made = anchors.nearest_weights([skip]) if again else ()
    return any(use.leaf in again for n in made for use in anchors.events[n].uses)


def _comes_back(anchors: Anchors, skip: int, branch: int) -> bool:
    """Whether, within one step of a loop, a branch starts at the very value it skips.

    What a step makes of its input and of its state are two things, even where one is
    upstream of the other.
    """
    flow = anchors.flow

    def near(node: Node, position: int) -> bool:
        return node.primitive in _SAME and flow.data[node.operands[position]]

    def within(node: Node, position: int) -> bool:
        return node.primitive != CARRY and flow.data[node.operands[position]]

    starts = {skip}
    for index in flow.upstream([skip], near):
        if flow.nodes[index].primitive in _SAME:
            starts.update(flow.nodes[index].operands)
    starts = {value for value in starts if flow.data[value]}
    return any(
        starts & set(flow.nodes[index].operands)
        for index in flow.upstream([branch], within)
        if flow.nodes[index].primitive != CARRY
    )


def _stays_near(anchors: Anchors, node: Node, position: int) -> bool:
    """Whether no event lies between a node's result and its operand."""
    flow = anchors.flow
    if not flow.data[node.operands[position]] or node.primitive == CARRY:
        return False
    return anchors.event_at(node.at) is None


def _fork(
    anchors: Anchors,
    skip: Iterable[int],
    above: int,
    known: dict[int, Residual],
) -> tuple[frozenset[int], frozenset[int]]:
    """Where a skip with layers of its own leaves the branch, and these layers.

    What was added to a stream in parallel is no part of the way along the stream.
    """
    fork, own, todo = set[int](), set[int](), list(skip)
    while todo:
        number = todo.pop()
        if above >> number & 1:
            fork.add(number)
        elif number not in own:
            event = anchors.events[number]
            if event.kind == "source":  # it starts elsewhere
                return frozenset(), frozenset()
            own.add(number)
            todo += known[number].fork if number in known else event.parents
    return frozenset(fork), frozenset(own)


_SAME = primitives.KEEPS_ELEMENTS | {"mul", "div", "neg"}


def _inside(
    anchors: Anchors,
    branch: Iterable[int],
    fork: frozenset[int],
    skip: int,
) -> frozenset[int]:
    """The events of a branch.

    They lie between the fork and the join. Of what comes in from the side (keys and
    values from an encoder), the weight layers nearest to the branch belong to it.
    """
    inside, seen, todo = set[int](), set[int](), list(branch)
    start = bits(fork)
    while todo:
        number = todo.pop()
        event = anchors.events[number]
        if number in seen or skip >> number & 1 or event.kind == "source":
            continue
        seen.add(number)
        if event.above & start:
            inside.add(number)
            todo += event.parents
        elif is_weight(event):
            inside.add(number)
        elif event.kind != "join":
            todo += event.parents
    return frozenset(inside)
