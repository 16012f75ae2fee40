"""The runs of a race over the processes of ``jax.distributed``: all know all."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxinit.roles.network import Network
from jaxinit.signal.placement import placed_by
from jaxinit.signal.processes import exchanged, is_mine
from jaxinit.train.cells import Cell, Cells

# Bytes of a reason.
_LETTERS = 1024


def is_shared(network: Network, seeds: Sequence[int]) -> bool:
    """Whether each process runs its share of the seeds.

    All run all of them where the model says itself where it lies, and one seed.
    """
    alone = jax.process_count() == 1 or len(seeds) == 1
    return not alone and not placed_by(network.traced, ())


def my_seeds(seeds: Sequence[int]) -> list[int]:
    """Those that this process runs."""
    return [seed for place, seed in enumerate(seeds) if is_mine(place)]


def shared(
    cells: Cells,
    interrupted: bool,
    shape: tuple[int, int, int, int],
    kept: int,
    leaves: Sequence[jax.ShapeDtypeStruct],
) -> tuple[Cells, bool]:
    """The runs of all processes, bit for bit, and whether one was interrupted.

    Args:
      cells: by scheme, rate and place of the seed, this process's runs.
      interrupted: whether it was stopped before all of them were done.
      shape: how many schemes, rates and seeds there are, and steps of a run.
      kept: of how many seeds, the first ones, solutions are kept.
      leaves: what the arrays of a solution are like.

    Raises:
      RuntimeError: if another process has ended.
    """
    schemes, rates, seeds, steps = shape
    mine = [place for place in range(seeds) if is_mine(place)]
    all_places, found = exchanged(
        mine,
        [
            np.full(len(mine), interrupted),
            *_packed(cells, (len(mine), schemes, rates), steps, mine),
        ],
        seeds,
    )
    stopped, ran, losses, accuracies, reasons = found
    everyones = Cells()
    for row, i, j in np.argwhere(ran):
        everyones[int(i), int(j), all_places[row]] = Cell(
            losses[row, i, j],
            accuracies[row, i, j],
            reasons[row, i, j].tobytes().rstrip(b"\0").decode(errors="replace"),
        )
    if kept:
        _with_solutions(everyones, cells, (schemes, rates, min(kept, seeds)), leaves)
    return everyones, bool(stopped.any())


def _packed(
    cells: Cells, shape: tuple[int, int, int], steps: int, places: Sequence[int]
) -> list[np.ndarray]:
    """Which runs are there, their losses, accuracies and reasons: a row for a seed."""
    ran = np.zeros(shape, bool)
    losses = np.full((*shape, steps), np.nan, np.float32)
    accuracies = losses.copy()
    reasons = np.zeros((*shape, _LETTERS), np.uint8)
    for (i, j, place), cell in cells.items():
        at = places.index(place), i, j
        text = np.frombuffer(cell.reason.encode()[:_LETTERS], np.uint8)
        ran[at], losses[at], accuracies[at] = True, cell.losses, cell.accuracies
        reasons[at][: len(text)] = text
    return [ran, losses, accuracies, reasons]


def _with_solutions(
    everyones: Cells,
    cells: Cells,
    shape: tuple[int, int, int],
    leaves: Sequence[jax.ShapeDtypeStruct],
) -> None:
    """Enters the parameters that runs of any process ended with."""
    schemes, rates, seeds = shape
    mine = [place for place in range(seeds) if is_mine(place)]
    has = np.zeros((len(mine), schemes, rates), bool)
    values = [np.zeros((*has.shape, *x.shape), x.dtype) for x in leaves]
    for (i, j, place), cell in cells.items():
        if cell.solution is not None:
            at = mine.index(place), i, j
            has[at] = True
            for array, leaf in zip(values, cell.solution, strict=True):
                array[at] = leaf
    places, (found, *arrays) = exchanged(mine, [has, *values], seeds)
    for row, i, j in np.argwhere(found):
        at = int(i), int(j), places[row]
        solution = tuple(array[row, i, j] for array in arrays)
        everyones[at] = everyones[at]._replace(solution=solution)
