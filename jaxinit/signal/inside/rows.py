"""From the records of watched values to one number a row, inside the program."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.signal.inside.program import Program
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
        return unit * jnp.sqrt(jnp.sum(counts * (kept / unit) ** 2) / jnp.sum(counts))
    return jnp.sum(counts * kept) / jnp.sum(counts)


def tabulated(program: Program, records: dict[Any, Array]) -> dict[str, Array]:
    pools = [METRICS[name].pool for name in program.metrics]
    points = {"output": [], "activation": []}  # type: dict[str, list[Array]]
    for point, columns in points.items():
        here = {t.number: r for t, r in records.items() if t.point == point}
        columns += _rows(program, here, pools)
    found = {}
    for i, name in enumerate(program.metrics):
        behind = [at(c.event, name) == "activation" for c in program.cells]
        found[name] = jnp.where(
            np.array(behind, bool), points["activation"][i], points["output"][i]
        )
    return found


def gradient_rms(program: Program, records: dict[int, Array]) -> Array:
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
    counts = steps[..., COUNT]
    columns = [
        pooled(steps[..., field], counts, pool) for field, pool in enumerate(pools, 1)
    ]
    table = jnp.stack(columns, -1) if columns else jnp.zeros((count, 0))
    ran = (
        jnp.max(counts, axis=1, keepdims=True) > 0 if steps.shape[1] > 1 else counts > 0
    )
    return jnp.where(ran, table, jnp.nan)
