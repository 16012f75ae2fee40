"""Recurrent kernels: the layers between a carry of a loop over time and its next."""

from collections.abc import Iterator

from jaxinit.program.bits import union
from jaxinit.program.flow import CARRY, Node
from jaxinit.program.paths import Path
from jaxinit.roles.anchors import Anchors


def recurrent_layers(anchors: Anchors) -> frozenset[int]:
    """The weight layers on a way from a loop's carry back to that carry.

    Args:
      anchors: the program's events.

    Returns:
      Their events' numbers.
    """
    flow = anchors.flow
    after, before = [0] * len(flow.values), [0] * len(flow.values)
    mine: dict[Path, int] = {}
    for bit, (_, loop, start, back) in enumerate(carries_over_time(anchors)):
        after[start] |= 1 << bit
        before[back] |= 1 << bit
        mine[loop] = mine.get(loop, 0) | 1 << bit

    def within(node: Node) -> int:
        return union(mine[loop] for loop in node.loops if loop in mine)

    inner = [(i, n) for i, n in enumerate(flow.nodes) if n.primitive != CARRY]
    met = dict[int, int]()
    for index, node in inner if mine else ():
        here = union(after[value] for value in node.operands)
        if index in anchors.weights:
            met[index] = here
        for value in node.results:
            after[value] |= here & within(node)
    found = set[int]()
    for index, node in reversed(inner) if mine else ():
        here = union(before[value] for value in node.results)
        if here & met.get(index, 0):
            found.add(anchors.weights[index])
        for value in node.operands:
            before[value] |= here & within(node)
    return frozenset(found)


def carries_over_time(anchors: Anchors) -> Iterator[tuple[int, Path, int, int]]:
    """Each carry of a loop over time: its node, its loop, and both its values."""
    flow = anchors.flow
    over_time = {
        loop.path
        for event in anchors.events.values()
        for loop in event.loops
        if loop.kind in ("steps", "while")
    }
    for index, node in enumerate(flow.nodes):
        if node.primitive == CARRY and node.loops[-1] in over_time:
            result = node.results[0]
            if flow.data[result] and flow.values[result].is_float:
                yield index, node.loops[-1], result, node.operands[1]
