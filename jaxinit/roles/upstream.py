"""What is upstream of a program's values, found once for all who ask."""

import functools

from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Node
from jaxinit.roles.anchors import Anchors

LINEAR = primitives.STRAIGHT | {SLICE, STACK, CHOICE}
LINEAR |= {"concatenate", "pad", "gather", "split"}
_TO_LOGITS = primitives.LAYOUT | {"add", "sub", "mul", "div", "select_n", "max"}
_TO_ROOT = primitives.LAYOUT | {"mul", "add", "max", "div", "rsqrt", "sqrt"}

# Functions of 0 that are 0, by the operands for which this holds.
_KEEPS_ZERO = LINEAR - {"rsqrt"} | frozenset(
    "tanh sin sinh asin asinh atan atanh erf abs cbrt max min expm1 log1p sign "
    "reduce_max reduce_min reduce_window_max reduce_window scatter-add scatter "
    "dynamic_update_slice reduce_precision".split()
)


def keeps_zero(node: Node, position: int) -> bool:
    """Whether a node gives 0 where its operand at ``position`` is 0."""
    if node.primitive == "div":
        return position == 0
    if node.primitive in ("select_n", CHOICE):
        return position > 0
    return node.primitive in _KEEPS_ZERO


class Upstream:
    """Facts of values that depend on all that they are computed from.

    Args:
      anchors: the program's events.
    """

    def __init__(self, anchors: Anchors) -> None:
        self._anchors = anchors
        self._flow = anchors.flow

    def bends(self, value: int, other: int) -> bool:
        """Whether a nonlinearity is upstream of a value but not of another.

        What statistics of the data pass through on the way to a norm does not count.
        """
        return bool(self._bent[value] & ~self._bent[other])

    def is_made(self, value: int) -> bool:
        """Whether a weight or a loop's carry is upstream of a value."""
        return bool(self._made[value])

    def is_rooted(self, value: int) -> bool:
        """Whether it is a root, or the like, but for sums and products."""
        return bool(self._rooted[value])

    def are_logits(self, value: int) -> bool:
        """Whether they are the scores of a softmax: no stream, whatever was added."""
        return value in self._logits

    def _moves(self, node: Node, position: int) -> bool:
        return self._flow.data[node.operands[position]]

    @functools.cached_property
    def _bent(self) -> list[int]:
        flow, statistics = self._flow, self._statistics
        bent = [i for i, node in enumerate(flow.nodes) if node.primitive not in LINEAR]
        return flow.gathered(
            {index: 1 << bit for bit, index in enumerate(bent)},
            lambda node, position: (
                self._moves(node, position) and not statistics[node.operands[position]]
            ),
        )

    @functools.cached_property
    def _made(self) -> list[int]:
        anchors = self._anchors
        carries = (i for i, n in enumerate(self._flow.nodes) if n.primitive == CARRY)
        makers = (*anchors.weights, *anchors.lookups, *carries)
        return self._flow.gathered(dict.fromkeys(makers, 1), self._moves)

    @functools.cached_property
    def _rooted(self) -> list[int]:
        nodes = self._flow.nodes
        roots = (i for i, n in enumerate(nodes) if n.primitive in ("rsqrt", "sqrt"))
        return self._flow.gathered(
            dict.fromkeys(roots, 1), lambda node, _: node.primitive in _TO_ROOT
        )

    @functools.cached_property
    def _logits(self) -> frozenset[int]:
        """Values that come to an exponential, of which sums are taken."""
        flow = self._flow
        scores = {
            value
            for node in flow.nodes
            if node.primitive == "exp" and self._are_summed(node)
            for value in node.operands
        }
        return flow.before(
            scores,
            lambda index: (
                flow.nodes[index].primitive in _TO_LOGITS
                and index not in self._anchors.weights
            ),
        )

    def _are_summed(self, node: Node) -> bool:
        users = self._flow.users[node.results[0]]
        return any(self._flow.nodes[i].primitive == "reduce_sum" for i, _ in users)

    @functools.cached_property
    def _statistics(self) -> list[bool]:
        """For each value, whether it is computed from reductions of data alone."""
        flow = self._flow
        found = [False] * len(flow.values)
        for index, node in enumerate(flow.nodes):
            moving = [v for v in node.operands if flow.data[v]]
            if not moving or index in self._anchors.weights:
                continue
            reduces = node.primitive in primitives.REDUCTIONS
            for value in node.results:
                found[value] = reduces or all(found[v] for v in moving)
        return found
