"""From the records of watched values to one number a row, inside the watched."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.signal.inside.program import Watched
from jaxinit.signal.metrics import METRICS, Pool

Array = jax.Array

COUNT = 0
"""The field of a record that tells whether it was taken."""


def at(event: Event, metric: str) -> str:
    """Where a metric of a row is taken."""
    behind = METRICS[metric].behind and event.activation is not None
    return "activation" if behind else "output"


def pooled(values: Array, counts: Array, pool: Pool) -> Array:
    """One number of several steps `(..., steps)`, as the report pools them.

    Steps that did not run, and those in which it is not defined, are left out.
    """
    if values.shape[-1] == 1:
        return values[..., 0]
    ran = (counts > 0) & (True if pool == "max" else ~jnp.isnan(values))
    counts = jnp.where(ran, counts, 0)
    kept = jnp.where(ran, values, 0)
    if pool == "max":
        return jnp.max(kept, axis=-1)
    if pool == "rms":
        largest = jnp.max(kept, axis=-1, keepdims=True)
        unit = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)
        squares = jnp.sum(counts * (kept / unit) ** 2, axis=-1)
        return unit[..., 0] * jnp.sqrt(squares / jnp.sum(counts, axis=-1))
    return jnp.sum(counts * kept, axis=-1) / jnp.sum(counts, axis=-1)


def tabulated(watched: Watched, records: dict[Any, Array]) -> dict[str, Array]:
    pools = [METRICS[name].pool for name in watched.metrics]
    points = {"output": [], "activation": []}  # type: dict[str, list[Array]]
    for point, columns in points.items():
        here = {t.number: r for t, r in records.items() if t.point == point}
        columns += rows_of(watched, here, pools)
    found = {}
    for i, name in enumerate(watched.metrics):
        behind = [at(c.event, name) == "activation" for c in watched.cells]
        found[name] = jnp.where(
            np.array(behind, bool), points["activation"][i], points["output"][i]
        )
    return found


def gradient_rms(watched: Watched, records: dict[int, Array]) -> Array:
    """The root mean square of the gradient at each row, `(rows,)`."""
    return rows_of(watched, records, ["rms"])[0]


def rows_of(
    watched: Watched, records: dict[int, Array], pools: Sequence[Pool]
) -> list[Array]:
    """For each field of the records an array `(rows,)`.

    Args:
      watched: the program and its rows.
      records: by event, with leading axes over its loops: whether it ran, the fields.
      pools: how each field of several steps becomes one.
    """
    parts = [
        _of_event(records[number], event, pools)
        if number in records
        else jnp.full((_num_layers(event), len(pools)), jnp.nan)
        for number, event in watched.events.items()
    ]
    if not parts:
        return [jnp.zeros(0) for _ in pools]
    return list(in_order(watched, jnp.concatenate(parts)).T)


def in_order(watched: Watched, table: Array) -> Array:
    """What is ordered by events, and within these by layers, in the order of rows."""
    place: dict[tuple[int, tuple[int, ...]], int] = {}
    for number, event in watched.events.items():
        for index in itertools.product(*map(range, _layers(event))):
            place[number, index] = len(place)
    order = np.array([place[cell.number, cell.layer] for cell in watched.cells])
    same = len(order) == len(table) and (order == np.arange(len(order))).all()
    return table if same else table[order]


def by_layer(record: Array, event: Event) -> Array:
    """An event's record as `(layers, steps, fields)`."""
    loops = [loop for loop in event.loops if loop.kind != "while"]
    layers = [i for i, loop in enumerate(loops) if loop.kind == "layers"]
    moved = jnp.moveaxis(record, layers, range(len(layers)))
    return moved.reshape(_num_layers(event), -1, record.shape[-1])


def _layers(event: Event) -> list[int]:
    return [loop.length for loop in event.loops if loop.kind == "layers"]


def _num_layers(event: Event) -> int:
    return math.prod(_layers(event))


def _of_event(record: Array, event: Event, pools: Sequence[Pool]) -> Array:
    """`(layers, fields)`: the steps of a layer's loops pooled."""
    steps = by_layer(record, event)
    counts = steps[..., COUNT]
    columns = [
        pooled(steps[..., field], counts, pool) for field, pool in enumerate(pools, 1)
    ]
    table = jnp.stack(columns, -1) if columns else jnp.zeros((len(steps), 0))
    ran = (
        jnp.max(counts, axis=1, keepdims=True) > 0 if steps.shape[1] > 1 else counts > 0
    )
    return jnp.where(ran, table, jnp.nan)
