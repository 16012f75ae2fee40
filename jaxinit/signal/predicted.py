"""Theory beside the measurement: what each row is expected to be, how far it is off."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxinit.draw.own_init import Draw
from jaxinit.moments.predict import Predicted, Squares, predict
from jaxinit.moments.trust import doubtful
from jaxinit.roles.network import Network
from jaxinit.signal.given import drawn
from jaxinit.signal.statistics import Analysis
from jaxinit.signal.tabulate import Cell, Tables, find_cells, suffix

Array = jax.Array


def predicted(
    network: Network,
    analysis: Analysis,
    draw: Draw,
    root: Array,
    inputs: Sequence[Array],
    seed: int,
    tables: Tables,
) -> tuple[dict[str, np.ndarray], str | None]:
    """Second moments and growth of gradients, and their distance from the measured.

    Args:
      network: the model, read.
      analysis: what was measured.
      draw: how weights are drawn.
      root: the root key.
      inputs: what the model was fed.
      seed: whose values parameters that are no kernels have.
      tables: what was measured.

    Returns:
      ``second_moment`` and ``chi``, `(rows,)`, and with ``_z`` behind the name the
      distance of the mean over seeds in standard errors; NaN where no law is known.
      And why theory ends, if it does.
    """
    key = jax.random.fold_in(root, seed)
    leaves = [np.asarray(x) for x in drawn(draw, seed, key, inputs)]
    squares = _squares(network, tables)
    found = predict(network, squares, leaves, inputs)
    rows = find_cells(analysis)
    doubt = doubtful(network.anchors.flow)
    moments = np.array([_moment(found, cell, doubt) for cell in rows])
    result = {"second_moment": moments}
    if "chi" in tables.backward:
        result["chi"] = np.array(
            [_growth(found, rows, i, doubt) for i in range(len(rows))]
        )
    for name, values in list(result.items()):
        group = tables.backward if name == "chi" else tables.forward
        result[f"{name}_z"] = _distance(group[name], values)
    return result, found.stopped


def _squares(network: Network, tables: Tables) -> Squares:
    """The mean squares of all parameters, over seeds, by stacked layer."""
    column = {name: i for i, name in enumerate(tables.params)}
    found: dict[int, dict[tuple[int, ...], float]] = {}
    for param in network.params:
        size = math.prod(param.shape) / max(math.prod(param.layers), 1)
        each = {
            index: column[param.name + suffix(index)]
            for index in np.ndindex(*param.layers)
            if param.name + suffix(index) in column
        }
        norms = tables.weights["weight_norm"]
        found[param.leaf] = {
            index: float(np.mean(norms[:, i] ** 2) / max(size, 1))
            for index, i in each.items()
        }
    return {leaf: each for leaf, each in found.items() if each}


def _moment(found: Predicted, cell: Cell, doubt: frozenset[Any]) -> float:
    values = found.second_moments.get(cell.number)
    if values is None or cell.event.at in doubt:
        return math.nan
    loops = cell.event.loops
    if not loops:
        return values[0] if len(values) == 1 else math.nan
    if all(loop.kind == "layers" for loop in loops):
        lengths = [loop.length for loop in loops]
        if len(values) != math.prod(lengths):
            return math.nan
        turned = tuple(
            loop.length - 1 - i if loop.reverse else i
            for loop, i in zip(loops, cell.layer, strict=True)
        )
        return float(values[np.ravel_multi_index(turned, lengths)])
    if len(loops) == 1 and loops[0].kind == "steps":
        missing = loops[0].length - len(values)  # like the last, once settled
        return float(np.mean([*values, *values[-1:] * max(missing, 0)]))
    return math.nan


def _growth(
    found: Predicted, rows: Sequence[Cell], i: int, doubt: frozenset[Any]
) -> float:
    """What the report calls chi: towards the next row of the same kind."""
    cell = rows[i]
    behind = next((c for c in rows[i + 1 :] if c.event.kind == cell.event.kind), None)
    known = found.growth.get(cell.number)
    if known is None or behind is None or known[0] != behind.number:
        return math.nan
    return math.nan if {cell.event.at, behind.event.at} & doubt else known[1]


# Integrals are exact to about as much, and norms divide by the root of v + 1e-6.
_EXACT = 1e-4


def _distance(measured: np.ndarray, theory: np.ndarray) -> np.ndarray:
    if len(measured) < 2:
        return np.full(len(theory), np.nan)
    error = measured.std(axis=0, ddof=1) / math.sqrt(len(measured))
    error = np.hypot(error, _EXACT * np.abs(theory))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (measured.mean(axis=0) - theory) / error
    return np.where(np.isfinite(far), far, np.nan)
