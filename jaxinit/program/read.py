"""Reads a program: a domain says what an equation makes of what is known of values.

The order, the scopes and which equations are read at all are the same for all domains;
what is known (a color, a law, a number of a graph, an array) is theirs.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from jaxinit.program.program import Constant, Node, Region

T = TypeVar("T")


class Domain(Protocol[T]):
    """What is known of values, and how it is found out."""

    def constant(self, constant: Constant | None) -> T:
        """What is known of a constant; of ``None``, an output that is not wanted."""

    def node(self, node: Node, operands: list[T]) -> Sequence[T]:
        """What is known of a node's results; reads its bodies if that is needed."""


def read(region: Region, entry: Sequence[T], domain: Domain[T]) -> list[T]:
    """Reads a region node by node.

    Args:
      region: the region.
      entry: what is known of its inputs.
      domain: what to make of the nodes.

    Returns:
      What is known of its outputs.
    """
    known = dict(zip(region.inputs, entry, strict=True))
    for node in region.nodes:
        operands = [
            known[v] if isinstance(v, int) else domain.constant(v)
            for v in node.operands
        ]
        known.update(zip(node.results, domain.node(node, operands), strict=True))
    return [
        known[v] if isinstance(v, int) else domain.constant(v) for v in region.outputs
    ]
