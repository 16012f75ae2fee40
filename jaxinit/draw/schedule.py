"""In what order a block is drawn: one program derives the keys, then calls draw."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.draw.evaluate import read, run_group, stack
from jaxinit.draw.pieces import Piece, cut
from jaxinit.program.program import Operand, Region


@dataclass(frozen=True)
class Call:
    """Equal pieces, drawn by as many calls of one sampler.

    Attributes:
      pieces: the pieces.
      columns: for each input of a piece, what each of the pieces reads there.
      stacked: for each column, whether it is passed as a stack to pick from.
      sources: for each column, the input of the program that it is, if it is one.
      places: the place of each piece in the stacks.
    """

    pieces: tuple[Piece, ...]
    columns: tuple[tuple[Operand, ...], ...]
    stacked: tuple[bool, ...]
    sources: tuple[int | None, ...]
    places: tuple[jax.Array, ...]

    def arguments(self, given: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        """What to pass for each column: an input, or the next of ``rest``."""
        computed = iter(rest)
        return [next(computed) if s is None else given[s] for s in self.sources]


class Schedule(NamedTuple):
    """How to compute a block: ``groups`` in the first program, then the calls."""

    inputs: tuple[int, ...]
    groups: list[list[Piece]]
    calls: list[Call]
    early: list[Operand | None]  # the outputs that the first program makes

    def start(self, given: Sequence[Any]) -> tuple[list[Any], list[list[Any]]]:
        """The early outputs, and for each call the columns that must be computed."""
        env: dict[Operand, Any] = dict(zip(self.inputs, given, strict=True))
        for group in self.groups:
            run_group(group, env)
        columns = [
            [
                stack(env, column) if many else read(env, column[0])
                for column, many, source in zip(
                    call.columns, call.stacked, call.sources, strict=True
                )
                if source is None
            ]
            for call in self.calls
        ]
        return [read(env, output) for output in self.early], columns


def schedule(block: Region) -> Schedule:
    """Draws that nothing in the block reads come last, equal ones by one sampler."""
    groups, calls = [], []
    pieces = cut(block)
    needed = {
        operand for group in pieces for piece in group for operand in piece.inputs
    }
    drawn: set[Operand] = set()
    for group in pieces:
        last = [p.draws and not needed.intersection(p.outputs) for p in group]
        groups.append([p for p, late in zip(group, last, strict=True) if not late])
        late = tuple(itertools.compress(group, last))
        if late:
            calls.append(_call(block, late))
            drawn.update(value for piece in late for value in piece.outputs)
    early = [output for output in dict.fromkeys(block.outputs) if output not in drawn]
    return Schedule(block.inputs, groups, calls, early)


def _call(block: Region, pieces: tuple[Piece, ...]) -> Call:
    columns = tuple(zip(*(piece.inputs for piece in pieces), strict=True))
    stacked = tuple(len(set(column)) > 1 for column in columns)
    sources = tuple(
        block.inputs.index(column[0])
        if not many and column[0] in block.inputs
        else None
        for column, many in zip(columns, stacked, strict=True)
    )
    places = tuple(jnp.asarray(i, jnp.int32) for i in range(len(pieces)))
    return Call(pieces, columns, stacked, sources, places)
