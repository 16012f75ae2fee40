"""How much of the model's output is due to each residual branch, by cutting it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.program import versions
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.signal.cells import Cell
from jaxinit.signal.statistics import float_outputs

Array = jax.Array


def skip_attribution(
    network: Network, cells: Sequence[Cell], values: Sequence[Any]
) -> Array:
    r"""The share of the output that is lost without a branch, `(rows,)`.

    With :math:`f` the model's output and :math:`f_j` that of the same model in which
    the join :math:`j` passes on its skip alone, :math:`E|f - f_j|^2 / E|f|^2`. NaN for
    rows that are no joins of a skip and a branch. One forward pass for each.
    """
    traced = network.traced
    events = {
        cell.number: cell.event for cell in cells if cell.event.shortcut is not None
    }
    plan = Plan()
    for number, event in events.items():
        if event.start is not None:
            plan.at(event.start, Tap(number, "operands"))
    outputs = float_outputs(traced)
    rows = [i for i, cell in enumerate(cells) if cell.number in events]
    nan = jnp.full(len(cells), jnp.nan)
    if not rows or not outputs:
        return nan

    def passes(tap: Tap, value: Any, probe: Array | None) -> Array:
        shortcut = events[tap.number].shortcut
        result: Array = value[-1]
        if probe is None or shortcut is None:
            return result
        return jnp.where(probe[0] > 0, value[shortcut].astype(result.dtype), result)

    hooks = Hooks(
        lambda tap, value: jnp.zeros(1),
        passes,
        lambda earlier, later: later,
    )

    def run(probes: dict[Any, Array]) -> Array:
        found, _ = replay(traced.forward, values, plan, hooks, probes)
        return _flat(found, outputs)

    whole = _flat(versions.evaluate(traced.apply, list(values)), outputs)
    cuts = {
        number: jnp.asarray(np.stack([_cut(event, cells[i], number) for i in rows]))
        for number, event in events.items()
        if all(loop.kind != "while" for loop in event.loops)
    }
    lost = jax.lax.map(lambda p: jnp.mean((whole - run(p)) ** 2), cuts)
    return nan.at[np.array(rows)].set(lost / jnp.mean(whole**2))


def _cut(event: Event, cell: Cell, number: int) -> np.ndarray:
    """Ones in the steps of the loops in which a join's branch is cut for a row."""
    marks = np.zeros([*(loop.length for loop in event.loops), 1], np.float32)
    if cell.number == number:
        layers = iter(cell.layer)
        places = [
            next(layers) if loop.kind == "layers" else slice(None)
            for loop in event.loops
        ]
        marks[tuple(places)] = 1
    return marks


def _flat(outputs: Sequence[Array], chosen: Sequence[int]) -> Array:
    return jnp.concatenate([outputs[i].astype(jnp.float32).ravel() for i in chosen])
