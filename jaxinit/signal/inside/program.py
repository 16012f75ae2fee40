"""A function of variables as a program, and which of its rows are watched."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.models.arguments import Arguments, arguments
from jaxinit.models.split import Split
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.roles.network import find_layers
from jaxinit.signal.cells import Cell, find_cells
from jaxinit.signal.inputs import batch_size
from jaxinit.signal.statistics import Analysis


class Watched(NamedTuple):
    """A program, and what is watched in it.

    Attributes:
      analysis: the program and its layers.
      cells: the rows that are watched, in the order of data.
      metrics: of activations.
    """

    analysis: Analysis
    cells: tuple[Cell, ...]
    metrics: tuple[str, ...]

    @property
    def events(self) -> dict[int, Event]:
        """The events behind the rows, by number."""
        return {cell.number: cell.event for cell in self.cells}


class Program(NamedTuple):
    """A traced function of variables, and what is watched in it.

    Attributes:
      watched: the program and its rows.
      split: the variables.
      given: the other arguments.
    """

    watched: Watched
    split: Split
    given: Arguments

    def values(self, params: Sequence[Any]) -> list[Any]:
        """The inputs of the program."""
        return [*params, *self.split.state, np.uint32(0), *self.given.inputs]

    def output(self, outputs: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The function's output, and what it made of its state."""
        found: tuple[Any, list[Any]] = self.watched.analysis.traced.output(outputs)
        return found


def read(
    split: Split,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    rows: Sequence[str] | None,
    metrics: Sequence[str],
) -> Program:
    """Traces a function on its arguments and finds the rows to watch.

    Raises:
      ValueError: if there is no layer, or no row has one of the names.
    """
    given = arguments(args, kwargs)

    def run(params: list[Any], state: list[Any], key: Any, values: list[Any]) -> Any:
        del key
        return split.call(params, state, *given.call(values))

    program, shapes = versions.trace(
        run, split.params, split.state, np.uint32(0), list(given.inputs)
    )
    traced = Traced(
        name=name,
        draws=False,
        init=None,
        init_eagerly=lambda *_: [],
        apply=program,
        params=split.paths,
        num_state=len(split.state),
        num_inputs=len(given.inputs),
        structure=None,
        output_structure=jax.tree.structure(shapes),
        assemble=lambda variables: variables,
    )
    sites = find_layers(traced)
    batch = batch_size(given.shapes, sites.keys)
    analysis = Analysis(traced, sites, batch, None, False)
    if not sites.events:
        raise ValueError(
            f"no argument of {name} after the first reaches a parameter, so that there "
            "is no layer to watch. Pass the batch as an argument, not by closing over "
            "it: observed(variables, x)."
        )
    cells = _chosen(find_cells(analysis), rows, name)
    return Program(Watched(analysis, cells, tuple(metrics)), split, given)


def _chosen(
    cells: Sequence[Cell], rows: Sequence[str] | None, name: str
) -> tuple[Cell, ...]:
    if rows is None:
        return tuple(cells)
    for pattern in rows:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            known = ", ".join(repr(cell.name) for cell in cells[:8])
            raise ValueError(
                f"`rows` holds {pattern!r}, which no row of {name} is called. Its "
                f"{len(cells)} rows begin with {known or 'none'}."
            )
    return tuple(c for c in cells if any(fnmatchcase(c.name, p) for p in rows))
