"""Runs the cells of a race, a scheme at a time, a chunk of rates and seeds at once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._progress import Bar
from jaxinit.signal.interrupts import as_interrupts
from jaxinit.train.batches import Batch, DataRanOut, Source, stacked
from jaxinit.train.cells import Cell, Cells, Store, hash_of
from jaxinit.train.drawing import draw_of, seed_keys
from jaxinit.train.programs import Group, Programs
from jaxinit.train.sharing import my_seeds, shared
from jaxinit.train.training import Training

# Batches of this many steps are on the device at once.
_SEGMENT = 64


class Course(NamedTuple):
    """What all runs of a race have in common.

    Attributes:
      training: the model, the loss and the optimizer.
      source: gives the batches.
      first: the first batch.
      steps: how many steps a run takes.
      root: the root key.
      chunk: how many runs are drawn, and trained, at once.
      group: how many of them are one product; 0 if each is trained by itself.
      solutions: how many seeds' final parameters are kept.
      store: where finished runs are kept.
      shared: whether each process runs a share of the seeds.
    """

    training: Training
    source: Source
    first: Batch
    steps: int
    root: jax.Array
    chunk: int
    group: int
    solutions: int
    store: Store
    shared: bool


Place = tuple[float, int]
"""The rate and the seed of a run."""


def run_all(
    course: Course,
    programs: Programs,
    schemes: Mapping[str, Any],
    rates: Sequence[float],
    seeds: Sequence[int],
    bar: Bar,
) -> tuple[Cells, bool]:
    """All runs, or those that are done if it is interrupted; which of the two, too.

    Of several processes each runs its share of the seeds, and all return all.

    Args:
      course: what runs have in common.
      programs: as ``programs`` gives.
      schemes: by name.
      rates: those that are tried.
      seeds: likewise.
      bar: is told of the progress.

    Raises:
      RuntimeError: if another process has ended.
    """
    kept = frozenset(seeds[: course.solutions])
    mine = my_seeds(seeds) if course.shared else seeds
    # All rates of a seed are neighbours: its weights are then drawn once.
    places = [(rate, seed) for seed in mine for rate in rates]
    total, cells, interrupted = len(schemes) * len(places), Cells(), False
    try:
        with as_interrupts():
            for i, (name, scheme) in enumerate(schemes.items()):
                bar.phase(name)
                for place, cell in run_scheme(course, programs, scheme, places, kept):
                    where = (i, rates.index(place[0]), seeds.index(place[1]))
                    cells[where] = cell
                    bar.count(len(cells), total, "runs")
    except KeyboardInterrupt:
        interrupted = True
    if course.shared:
        shape = len(schemes), len(rates), len(seeds), course.steps
        kinds = course.training.kinds[: len(course.training.network.params)]
        return shared(cells, interrupted, shape, course.solutions, kinds)
    return cells, interrupted


def run_scheme(
    course: Course,
    programs: Programs,
    scheme: Any,
    places: Sequence[Place],
    kept: frozenset[int],
) -> Iterator[tuple[Place, Cell]]:
    """Trains one scheme, yielding runs as they finish; those on disk come first.

    A chunk that raises ends its own runs, with the reason.

    Args:
      course: what runs have in common.
      programs: as ``programs`` gives, shared by all schemes.
      scheme: how weights are drawn.
      places: the runs.
      kept: seeds whose solutions are kept.
    """
    network, store = course.training.network, course.store
    inputs = tuple(jnp.asarray(x) for x in course.first[0])
    try:
        draw = draw_of(network, scheme)
        weights = ""
        if store.keeps and places:  # of one seed's, by the program that draws them all
            probe = seed_keys(course.root, [0] * _most_seeds(course, places))
            weights = hash_of([leaf[0] for leaf in draw.batched(probe, *inputs)])
    except Exception as error:
        yield from ((place, _failed(course, error)) for place in places)
        return
    todo = []
    for place in places:
        found = store.read(weights, *place)
        if found is None or (place[1] in kept and found.solution is None):
            todo.append(place)
        else:
            yield place, found
    # As many seeds are drawn for each chunk, so that one program serves them all.
    draws = max(_most_seeds(course, places), _most_seeds(course, todo))
    if todo:
        store.check(weights, *todo[0])
        _compile_ahead(course, programs, draws)
    for chunk in _chunks(course, todo):
        given = chunk, draws, kept, inputs
        for place, cell in _run_chunk(course, programs, draw, *given):
            if not cell.reason:
                store.write(weights, *place, cell)
            yield place, cell


def _chunks(course: Course, places: Sequence[Place]) -> list[Sequence[Place]]:
    """The runs, as many together as are trained at once."""
    size = course.chunk
    return [places[begin : begin + size] for begin in range(0, len(places), size)]


def _most_seeds(course: Course, places: Sequence[Place]) -> int:
    """Of how many seeds one chunk is at most; 0 without runs."""
    chunks = _chunks(course, places)
    return max((len({seed for _, seed in chunk}) for chunk in chunks), default=0)


def _run_chunk(
    course: Course,
    programs: Programs,
    draw: Any,
    places: Sequence[Place],
    draws: int,
    kept: frozenset[int],
    inputs: tuple[Any, ...],
) -> Iterator[tuple[Place, Cell]]:
    # The last chunk is filled up, so that it has the shape of the others.
    missing = course.chunk - len(places)
    padded = [*places, *[places[-1]] * missing]
    rates = np.asarray([rate for rate, _ in padded], np.float32)
    # The variables of a seed are drawn once for all rates.
    seeds = list(dict.fromkeys(seed for _, seed in padded))
    where = np.asarray([seeds.index(seed) for _, seed in padded], np.int32)
    try:
        keys = seed_keys(course.root, seeds + seeds[-1:] * (draws - len(seeds)))
        drawn = draw.batched(keys, *inputs)
        groups = programs.begin(drawn, keys, where, rates)
        groups, losses, accuracies, reason = _train(course, programs, groups, rates)
        leaves = programs.params(groups) if kept else []
    except Exception as error:
        yield from ((place, _failed(course, error)) for place in places)
        return
    for i, place in enumerate(places):
        solution = tuple(leaf[i] for leaf in leaves) if place[1] in kept else None
        yield place, Cell(losses[i], accuracies[i], reason, solution)


def _train(
    course: Course, programs: Programs, groups: list[Group], rates: Any
) -> tuple[list[Group], np.ndarray, np.ndarray, str]:
    """All steps, or as many as there are data for, or as long as a run is finite."""
    length, done, reason = segment_length(course.steps), 0, ""
    curves: list[tuple[np.ndarray, np.ndarray]] = []
    while done < course.steps and not reason:
        steps = range(done, min(done + length, course.steps))
        try:
            batches = stacked(course.source, steps, course.first)
        except DataRanOut as error:
            reason = f"the data ran out after {error.number} of {course.steps} steps"
            if error.number <= done:
                break
            steps = range(done, error.number)
            batches = stacked(course.source, steps, course.first)
        groups, seen = programs.segment(groups, jnp.int32(done), batches)
        curves.append(seen)
        done = steps.stop
        if not np.isfinite(curves[-1][0][..., -1]).any():
            break  # nothing finite comes of it
    shape = (len(rates), course.steps)
    losses, accuracies = np.full(shape, np.nan, "f4"), np.full(shape, np.nan, "f4")
    if curves:
        losses[..., :done] = np.concatenate([c[0] for c in curves], -1)
        accuracies[..., :done] = np.concatenate([c[1] for c in curves], -1)
    return groups, losses, accuracies, reason


def _compile_ahead(course: Course, programs: Programs, draws: int) -> None:
    """Has segments of all lengths compiled while weights are drawn."""
    length = segment_length(course.steps)
    lengths = {length, course.steps % length} - {0}

    def many(number: int) -> Batch:
        return jax.tree.map(  # type: ignore[no-any-return]
            lambda leaf: jax.ShapeDtypeStruct(
                (number, *leaf.shape), jax.dtypes.canonicalize_dtype(leaf.dtype)
            ),
            course.first,
        )

    rates = jax.ShapeDtypeStruct((course.group,) * bool(course.group), np.float32)
    batches = [many(number) for number in sorted(lengths, reverse=True)]
    programs.compile_ahead(draws, course.root, rates, batches)


def segment_length(steps: int) -> int:
    """A divisor of the number of steps near 64, so that one program serves; or 64."""
    sizes = [n for n in range(_SEGMENT, _SEGMENT // 4, -1) if steps % n == 0]
    return min(steps, sizes[0] if sizes else _SEGMENT)


def _failed(course: Course, error: Exception) -> Cell:
    empty = np.full(course.steps, np.nan, np.float32)
    lines = str(error).splitlines() or [""]
    return Cell(empty, empty, f"{type(error).__name__}: {lines[0]}"[:300])
