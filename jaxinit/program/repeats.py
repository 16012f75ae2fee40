"""Blocks of a program that repeat, as one node each: a compiler sees each but once.

A repeat is a run of nodes that follows itself: the same equations, up to what they
read from outside, each time fed by the time before. Run as a loop over stacked values
it gives what the equations give one by one, and costs a compiler one block.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from jaxinit.program.program import Node, Operand, Region


class Inside(NamedTuple):
    """An operand made by a node of the same block."""

    node: int
    result: int


class Carried(NamedTuple):
    """An operand made by the block before; which of the carried values."""

    place: int


class Stacked(NamedTuple):
    """An operand from outside that differs from time to time; which of them."""

    place: int


class Outside(NamedTuple):
    """An operand from outside, the same each time; which of them."""

    place: int


@dataclass(frozen=True)
class Repeat:
    """One block of nodes, run many times.

    Attributes:
      start: where in its region it starts.
      nodes: the nodes of all times.
      times: how often the block is run.
      operands: of each node of the block.
      carried: results that the next block reads, and what the first block reads there.
      stacked: for each operand that differs, what is read each time.
      outside: each operand from outside that is the same each time.
      kept: results that are read behind the repeat, with the values of each time that
        are.
    """

    start: int
    nodes: tuple[Node, ...]
    times: int
    operands: tuple[tuple[Inside | Carried | Stacked | Outside, ...], ...]
    carried: tuple[tuple[Inside, Operand], ...]
    stacked: tuple[tuple[Operand, ...], ...]
    outside: tuple[Operand, ...]
    kept: tuple[tuple[Inside, tuple[tuple[int, int], ...]], ...]

    @property
    def period(self) -> int:
        return len(self.nodes) // self.times

    @property
    def stop(self) -> int:
        return self.start + len(self.nodes)

    @property
    def block(self) -> tuple[Node, ...]:
        """The nodes of the first time."""
        return self.nodes[: self.period]


@dataclass(frozen=True, eq=False)
class Rolled(Node):
    """A repeat as one node.

    It reads what the first block reads of the block before, then what differs from
    time to time, operand by operand, then what stays the same; it gives what is kept.
    """

    repeat: Repeat = field(kw_only=True)


def rolled(region: Region, repeats: Sequence[Repeat]) -> Region:
    """The region with its repeats as one node each."""
    nodes = list(region.nodes)
    for repeat in reversed(repeats):
        first = repeat.nodes[0]
        carried = tuple(operand for _, operand in repeat.carried)
        stacked = tuple(itertools.chain.from_iterable(repeat.stacked))
        results = tuple(value for _, later in repeat.kept for _, value in later)
        nodes[repeat.start : repeat.stop] = [
            Rolled(
                "repeat",
                first.equation,
                (*carried, *stacked, *repeat.outside),
                results,
                (True,) * len(results),
                first.at,
                repeat=repeat,
            )
        ]
    return replace(region, nodes=tuple(nodes))
