"""A function's program with statistics at chosen rows: what ``observe`` runs."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinit.layers.event import Event
from jaxinit.layers.taps import plan_taps
from jaxinit.models.arguments import Arguments, arguments
from jaxinit.models.split import Split
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.run import Hooks, Plan, Tap, replay
from jaxinit.roles.network import read_sites
from jaxinit.signal.inputs import batch_size
from jaxinit.signal.metrics import METRICS, Pool, Seen
from jaxinit.signal.records import Axes, size_record
from jaxinit.signal.statistics import Analysis, sample_axis
from jaxinit.signal.tabulate import Cell, find_cells

Array = jax.Array

_COUNT = 0


class Program(NamedTuple):
    """A traced function of variables, and what is watched in it.

    Attributes:
      analysis: the program and its layers.
      split: the variables.
      given: the other arguments.
      cells: the rows that are watched, in the order of data.
      events: the events behind them, by number.
      metrics: of activations.
    """

    analysis: Analysis
    split: Split
    given: Arguments
    cells: tuple[Cell, ...]
    events: dict[int, Event]
    metrics: tuple[str, ...]

    def values(self, params: Sequence[Any]) -> list[Any]:
        """The inputs of the program."""
        return [*params, *self.split.state, np.uint32(0), *self.given.inputs]


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
    sites = read_sites.__wrapped__(traced)  # type: ignore[attr-defined]
    batch = batch_size(given.shapes, sites.keys)
    analysis = Analysis(traced, sites, batch, None, False)
    if not sites.events:
        raise ValueError(
            f"no argument of {name} after the first reaches a parameter, so that there "
            "is no layer to watch. Pass the batch as an argument, not by closing over "
            "it: observed(variables, x)."
        )
    cells = _chosen(find_cells(analysis), rows, name)
    events = {cell.number: cell.event for cell in cells}
    return Program(analysis, split, given, cells, events, tuple(metrics))


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


def forward(
    program: Program, params: Sequence[Array], on: Array | None, probes: Any
) -> tuple[Any, list[Array], dict[str, Array]]:
    """Runs the function and takes the statistics of its activations.

    Args:
      program: the function.
      params: arrays in place of the variables that are trained.
      on: whether to take them, or ``None`` to.
      probes: by event, as for ``replay``; empty without gradients.

    Returns:
      The function's output, what it made of its state, and the statistics.
    """
    traced = program.analysis.traced
    numbers, events = list(program.events), list(program.events.values())
    if not any(METRICS[name].behind for name in program.metrics):
        events = [dataclasses.replace(event, activation=None) for event in events]
    plan = plan_taps(numbers, events) if program.metrics or probes else Plan()
    outputs, records = replay(
        traced.apply, program.values(params), plan, _hooks(program, on), probes
    )
    output, state = traced.output(outputs)
    return output, state, _tabulated(program, records)


def _hooks(program: Program, on: Array | None) -> Hooks:
    batch = program.analysis.batch

    def record(tap: Tap, value: Array) -> Array:
        event = program.events[tap.number]
        axes = Axes(
            sample_axis(event.shape, batch),
            () if event.masked and event.kind == "layer" else event.channels,
            event.masked,
        )
        here = [_point(event, name) == tap.point for name in program.metrics]

        def taken(x: Array) -> Array:
            seen = Seen(x, axes)
            found = [
                METRICS[name].compute(seen) if is_here else jnp.nan
                for name, is_here in zip(program.metrics, here, strict=True)
            ]
            fields = [jnp.asarray(field, jnp.float32) for field in (1.0, *found)]
            return jnp.stack(fields)

        value = lax.stop_gradient(value)
        measure = taken if on is None else _only(on, taken, len(here) + 1)
        found: Array = versions.summarized(measure, value)
        return found

    def passes(tap: Tap, value: Array, probe: Array | None) -> Array:
        del tap
        if probe is None or not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        return _watched(value, probe, jnp.float32(1) if on is None else on)

    return Hooks(record, passes, functools.partial(_merge, program.metrics))


def _only(
    on: Array, function: Callable[[Array], Array], size: int
) -> Callable[[Array], Array]:
    """``function`` where ``on``, else zeros, and then at no cost."""

    def nothing(x: Array) -> Array:
        return versions.vary_like(jnp.zeros(size, jnp.float32), x)

    return lambda x: lax.cond(on > 0, function, nothing, x)


def _point(event: Event, metric: str) -> str:
    """Where a metric of a row is taken."""
    behind = METRICS[metric].behind and event.activation is not None
    return "activation" if behind else "output"


def _merge(metrics: Sequence[str], earlier: Array, later: Array) -> Array:
    """Joins two steps of a loop of unknown length."""
    both = jnp.stack([earlier, later])
    counts = both[:, _COUNT]
    pooled = [
        _pooled(both[:, i], counts, METRICS[name].pool)
        for i, name in enumerate(metrics, 1)
    ]
    return jnp.stack([counts.sum(), *pooled])


def _pooled(values: Array, counts: Array, pool: Pool) -> Array:
    """One number of several steps `(steps,)`, as the report pools them.

    Steps that did not run, and those in which it is not defined, are left out.
    """
    if len(values) == 1:
        return values[0]
    ran = (counts > 0) & (True if pool == "max" else ~jnp.isnan(values))
    counts = jnp.where(ran, counts, 0)
    kept = jnp.where(ran, values, 0)
    if pool == "max":
        return jnp.max(kept)
    if pool == "rms":
        largest = jnp.max(kept)
        unit = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)
        return unit * jnp.sqrt(jnp.sum(counts * (kept / unit) ** 2) / jnp.sum(counts))
    return jnp.sum(counts * kept) / jnp.sum(counts)


@jax.custom_vjp
def _watched(value: Array, probe: Array, on: Array) -> Array:
    """``value``; the "gradient" of ``probe`` is the record of the value's gradient."""
    del probe, on
    return value


def _watched_forward(value: Array, probe: Array, on: Array) -> tuple[Array, Any]:
    return value, (probe, on)


def _watched_backward(kept: Any, gradient: Array) -> tuple[Array, Array, Array]:
    probe, on = kept
    measure = _only(on, _mean_size, 2)
    record = versions.summarized(measure, gradient)
    return gradient, versions.vary_like(record, probe), jnp.zeros_like(on)


_watched.defvjp(_watched_forward, _watched_backward)


def _mean_size(x: Array) -> Array:
    """A count, and the root of the mean square."""
    count, exponent, scaled = size_record(x).astype(jnp.float32)
    return jnp.stack([count, jnp.sqrt(scaled) * jnp.exp2(exponent)])


def empty_probes(program: Program) -> dict[int, Array]:
    """A zero record for each row whose gradient is wanted."""
    found = {}
    for number, event in program.events.items():
        if all(loop.kind != "while" for loop in event.loops):
            found[number] = jnp.zeros((*(lp.length for lp in event.loops), 2))
    return found


# From records to one number a row.


def _tabulated(program: Program, records: dict[Any, Array]) -> dict[str, Array]:
    pools = [METRICS[name].pool for name in program.metrics]
    points = {"output": [], "activation": []}  # type: dict[str, list[Array]]
    for point, columns in points.items():
        here = {t.number: r for t, r in records.items() if t.point == point}
        columns += _rows(program, here, pools)
    found = {}
    for i, name in enumerate(program.metrics):
        behind = [_point(c.event, name) == "activation" for c in program.cells]
        found[name] = jnp.where(
            np.array(behind, bool), points["activation"][i], points["output"][i]
        )
    return found


def backward(program: Program, records: dict[int, Array]) -> Array:
    """The root mean square of the gradient at each row, `(rows,)`."""
    return _rows(program, records, ["rms"])[0]


def _rows(
    program: Program, records: dict[int, Array], pools: Sequence[Pool]
) -> list[Array]:
    """For each field of the records an array `(rows,)`."""
    parts: list[Array] = []
    place: dict[tuple[int, tuple[int, ...]], int] = {}
    for number, event in program.events.items():
        lengths = [lp.length for lp in event.loops if lp.kind == "layers"]
        indices = list(itertools.product(*map(range, lengths)))
        for index in indices:
            place[number, index] = len(place)
        if number in records:
            parts.append(_of_event(records[number], event, pools))
        else:
            parts.append(jnp.full((len(indices), len(pools)), jnp.nan))
    if not parts:
        return [jnp.zeros(0) for _ in pools]
    order = np.array([place[cell.number, cell.layer] for cell in program.cells])
    table = jnp.concatenate(parts)
    return list(table.T if (order == np.arange(len(order))).all() else table[order].T)


def _of_event(record: Array, event: Event, pools: Sequence[Pool]) -> Array:
    """`(layers, fields)`: the steps of a layer's loops pooled."""
    loops = [loop for loop in event.loops if loop.kind != "while"]
    layers = [i for i, loop in enumerate(loops) if loop.kind == "layers"]
    moved = jnp.moveaxis(record, layers, range(len(layers)))
    count = math.prod(loops[i].length for i in layers)
    steps = moved.reshape(count, -1, record.shape[-1])
    counts = steps[..., _COUNT]
    columns = []
    for field, pool in enumerate(pools, 1):
        pooled = jax.vmap(lambda v, c, pool=pool: _pooled(v, c, pool))
        columns.append(pooled(steps[..., field], counts))
    table = jnp.stack(columns, -1) if columns else jnp.zeros((count, 0))
    ran = (
        jnp.max(counts, axis=1, keepdims=True) > 0 if steps.shape[1] > 1 else counts > 0
    )
    return jnp.where(ran, table, jnp.nan)
