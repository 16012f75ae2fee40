"""Theory beside the measurement: what each row is expected to be, how far it is off."""

import math
from collections.abc import Sequence

import jax
import numpy as np

from jaxinit.draw.own_init import Draw
from jaxinit.layers.event import Event
from jaxinit.moments.growth import ratio
from jaxinit.moments.predict import Predicted, Squares, Start, predict
from jaxinit.roles.network import Network
from jaxinit.signal.cells import Cell, find_cells, suffix
from jaxinit.signal.given import drawn
from jaxinit.signal.statistics import Analysis
from jaxinit.signal.tabulate import Tables

Array = jax.Array

# Names in a note, at most.
SHOWN = 5


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
      ``second_moment``, ``cos`` and ``chi``, `(rows,)`, and with ``_z`` behind the
      name the distance of the mean over seeds in standard errors; NaN where no law is
      known. And what to say of where theory ends and goes on, if it does.
    """
    key = jax.random.fold_in(root, seed)
    leaves = [np.asarray(x) for x in drawn(draw, seed, key, inputs)]
    rows = find_cells(analysis)
    found = predict(
        network,
        _squares(network, tables),
        leaves,
        inputs,
        _starts(rows, tables),
        analysis.batch,
        analysis.loss is not None,
    )
    result = {
        "second_moment": np.array([_of(found.second_moments, c) for c in rows]),
        "cos": np.array([_of(found.cosines, c) for c in rows]),
    }
    if "chi" in tables.backward:
        chi = [_growth(found, rows, i) for i in range(len(rows))]
        result["chi"] = np.array(chi)
    for name, values in list(result.items()):
        group = tables.backward if name == "chi" else tables.forward
        width = [_EXACT * abs(x) for x in values]
        if name == "cos":
            width = [1 / max(_width(cell.event), 1) for cell in rows]
        if name == "chi":
            pairs = zip(rows, values, strict=True)
            width = [abs(x) / max(_width(cell.event), 1) for cell, x in pairs]
        result[f"{name}_z"] = _distance(group[name], values, np.array(width))
    return result, _said(found, rows)


def _said(found: Predicted, rows: Sequence[Cell]) -> str | None:
    """Where no law is known, and where theory goes on from what was measured."""
    notes = []
    if found.stopped is not None:
        notes.append(f"Predictions end where no law is known: {found.stopped}")
    if found.starts:
        names = [cell.name for cell in rows if cell.number in found.starts]
        more = "" if len(names) <= SHOWN else f" and {len(names) - SHOWN} more"
        notes.append(
            f"Predictions behind {', '.join(names[:SHOWN])}{more} rest on the moments "
            "that were measured there: no law is known of what these layers take."
        )
    return " ".join(notes) or None


def _starts(rows: Sequence[Cell], tables: Tables) -> dict[int, list[Start]]:
    """What was measured, by event, in the order in which its layers run."""
    names = "second_moment", "mean", "cos"
    means = [_mean(tables.forward.get(name), len(rows)) for name in names]
    found: dict[int, list[tuple[tuple[int, ...], Start]]] = {}
    for cell, *values in zip(rows, *means, strict=True):
        loops = cell.event.loops
        if any(loop.kind != "layers" for loop in loops):
            continue
        turned = tuple(
            loop.length - 1 - i if loop.reverse else i
            for loop, i in zip(loops, cell.layer, strict=True)
        )
        found.setdefault(cell.number, []).append((turned, Start(*values)))
    return {n: [start for _, start in sorted(each)] for n, each in found.items()}


def _mean(values: np.ndarray | None, count: int) -> list[float]:
    if values is None:
        return [math.nan] * count
    return [float(x) for x in values.mean(axis=0)]


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


def _of(found: dict[int, list[float]], cell: Cell) -> float:
    """What is known of a row: of all times that its event ran, its own."""
    values = found.get(cell.number)
    if values is None:
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


def _growth(found: Predicted, rows: Sequence[Cell], i: int) -> float:
    """What the report calls chi: towards the next row of the same kind."""
    cell = rows[i]
    behind = next((c for c in rows[i + 1 :] if c.event.kind == cell.event.kind), None)
    if behind is None:
        return math.nan
    return ratio(*(found.gradients.get(c.number) for c in (cell, behind)))


# Integrals are exact to about as much, and norms divide by the root of v + 1e-6.
_EXACT = 1e-4


def _width(event: Event) -> int:
    """Theory is that of wide layers: the next order is one over the width.

    So it is of cosines, and of gradients; second moments are exact without norms.
    """
    return math.prod(event.shape[axis] for axis in event.channels or (-1,))


def _distance(
    measured: np.ndarray, theory: np.ndarray, exact: np.ndarray
) -> np.ndarray:
    """How many standard errors, and errors of theory, the mean over seeds is off."""
    if len(measured) < 2:
        return np.full(len(theory), np.nan)
    error = measured.std(axis=0, ddof=1) / math.sqrt(len(measured))
    error = np.hypot(error, exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (measured.mean(axis=0) - theory) / error
    return np.where(np.isfinite(far), far, np.nan)
