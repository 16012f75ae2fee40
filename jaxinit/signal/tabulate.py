"""From the records of many seeds to the report's arrays, on the host in float64."""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxinit.layers.names import param_name
from jaxinit.report.measured import Row
from jaxinit.signal import records as moments
from jaxinit.signal.cells import Cell, find_cells, rows_of, suffix
from jaxinit.signal.statistics import Analysis, Raw, float_outputs

Arrays = dict[str, np.ndarray]


class Tables(NamedTuple):
    """The report's arrays; see ``Report`` for what each holds."""

    rows: tuple[Row, ...]
    forward: Arrays
    backward: Arrays
    params: tuple[str, ...]
    weights: Arrays
    profiles: dict[str, Arrays]


def tabulate(analysis: Analysis, raw: Raw) -> Tables:
    """Unpacks records, pools time steps, and names rows.

    Args:
      analysis: what was analyzed.
      raw: the records, each with a leading axis over seeds.

    Returns:
      The tables, with scanned layers one row each.
    """
    cells = find_cells(analysis)
    measured = _by_cell(cells, raw.forward, _forward)
    behind = _by_cell(cells, raw.dead, _dead)
    gradients = _by_cell(cells, raw.backward, _gradient)
    forward: list[Arrays] = []
    backward: list[np.ndarray] = []
    counts: list[int] = []
    profiles: dict[str, Arrays] = {}
    for place, cell in enumerate(cells):
        steps = measured[place] | behind.get(place, {})
        gradient = gradients.get(place)
        count = int(np.max(steps["count"].sum(axis=1), initial=1))
        counts.append(max(count // cell.event.copies, 1))
        forward.append(_pooled(steps))
        backward.append(
            _mean(gradient["second_moment"])
            if gradient is not None
            else np.full(len(steps["mean"]), np.nan)
        )
        if any(loop.kind == "steps" for loop in cell.event.loops):
            profile = {name: steps[name] for name in PROFILED}
            if gradient is not None:
                profile["grad_rms"] = np.sqrt(gradient["second_moment"])
            profiles[cell.name] = profile
    rows = rows_of(analysis, cells, counts)
    params, weights = _weights(analysis, raw)
    return Tables(
        rows,
        {name: _stack([f[name] for f in forward]) for name in FORWARD},
        _backward(analysis, raw, rows, backward),
        params,
        weights,
        profiles,
    )


FORWARD = (
    "mean",
    "var",
    "second_moment",
    "rms",
    "chan_sq_mean",
    "chan_var",
    "cos",
    "absmax",
    "frac_zero",
    "frac_nonfinite",
    "dead",
)
PROFILED = FORWARD


def _by_cell(
    cells: Sequence[Cell],
    records: Mapping[int, Any],
    fields: Callable[[np.ndarray], Arrays],
) -> dict[int, Arrays]:
    """For the cells that have records, by their place: each field, `(seeds, steps)`.

    Those with as many steps are taken together: of a thousand cells one by one the
    calls of NumPy would take longer than the model.
    """
    alike: dict[int, dict[int, np.ndarray]] = {}
    for place, cell in enumerate(cells):
        if cell.number in records:
            steps = _per_step(records[cell.number], cell)
            alike.setdefault(steps.shape[1], {})[place] = steps
    found: dict[int, Arrays] = {}
    for group in alike.values():
        together = fields(np.stack(list(group.values())))
        for i, place in enumerate(group):
            found[place] = {name: values[i] for name, values in together.items()}
    return found


def _per_step(records: Any, cell: Cell) -> np.ndarray:
    """A cell's records as ``(seeds, steps, fields)``."""
    x = np.asarray(records, np.float64)
    axis, layer = 1, 0
    for loop in cell.event.loops:
        if loop.kind == "layers":
            x = np.take(x, cell.layer[layer], axis=axis)
            layer += 1
        elif loop.kind != "while":
            axis += 1
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _forward(records: np.ndarray) -> Arrays:
    """Fields in their own units; NaN for steps that did not run."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fields = moments.statistics(records)
    count, unit = fields["count"], np.exp2(fields.pop("exponent"))
    for name, power in moments.POWER.items():
        fields[name] = fields[name] * unit**power
    fields["second_moment"] = fields["chan_sq_mean"] + fields["chan_var"]
    fields["rms"] = np.sqrt(fields["second_moment"])
    return {"count": count} | {name: _executed(count, fields[name]) for name in FORWARD}


def _dead(records: np.ndarray) -> Arrays:
    return {"dead": _executed(records[..., 0], records[..., 1])}


def _gradient(records: np.ndarray) -> Arrays:
    return {"second_moment": _second_moment(records)}


def _second_moment(records: Any) -> np.ndarray:
    count, exponent, scaled = np.moveaxis(np.asarray(records, np.float64), -1, 0)
    return _executed(count, scaled * np.exp2(2 * exponent))


def _executed(count: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(count > 0, values, np.nan)


def _pooled(steps: Arrays) -> Arrays:
    """Statistics over all steps; see ``moments.merge`` for what is exact."""
    pooled = {name: _mean(steps[name]) for name in FORWARD}
    if steps["mean"].shape[1] == 1:
        return pooled
    pooled["var"] = pooled["var"] + _mean(
        np.square(steps["mean"] - pooled["mean"][:, None])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all steps NaN: NaN
        pooled["absmax"] = np.nanmax(steps["absmax"], axis=1)
    nonfinite = pooled["frac_nonfinite"] > 0
    pooled["absmax"] = np.where(
        nonfinite, np.max(steps["absmax"], axis=1), pooled["absmax"]
    )
    pooled["rms"] = np.sqrt(pooled["second_moment"])
    return pooled


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean over steps that ran; a step that did not is NaN throughout."""
    if x.shape[1] == 1:
        return x[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(x, axis=1))


def _backward(
    analysis: Analysis,
    raw: Raw,
    rows: Sequence[Row],
    second_moments: Sequence[np.ndarray],
) -> Arrays:
    if not raw.backward:
        return {}
    delta2 = _stack(second_moments)
    outputs = float_outputs(analysis.traced)
    sizes = np.array(
        [math.prod(analysis.traced.apply.jaxpr.outvars[i].aval.shape) for i in outputs]
    )
    out2 = np.stack([_second_moment(raw.backward[-1 - i]) for i in outputs], axis=1)
    out2 = (out2 * sizes).sum(axis=1, keepdims=True) / sizes.sum()
    chi = np.full_like(delta2, np.nan)
    last: dict[str, int] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for column in reversed(range(len(rows))):
            following = last.get(rows[column].kind)
            if following is not None:
                chi[:, column] = delta2[:, column] / delta2[:, following]
            last[rows[column].kind] = column
        relative = np.sqrt(delta2 / out2)
    backward = {"grad_rms": np.sqrt(delta2), "grad_rel": relative, "chi": chi}
    if analysis.loss is None:
        elements = np.array([math.prod(row.shape) * row.steps for row in rows])
        backward["apjn"] = delta2 * elements / sizes.sum()
    return backward


def _weights(analysis: Analysis, raw: Raw) -> tuple[tuple[str, ...], Arrays]:
    names: list[str] = []
    sizes: list[float] = []
    weights: list[np.ndarray] = []
    gradients: list[np.ndarray] = []
    shapes = [v.aval.shape for v in analysis.traced.apply.jaxpr.invars]
    all_parts = analysis.traced.params
    for leaf in analysis.sites.leaf_order(len(all_parts)):
        weight: Any = raw.weights[leaf]
        gradient: Any = raw.gradients[leaf]
        if gradient is None:
            gradient = np.full_like(weight, np.nan)
        split = weight.shape[1:-1]
        size = math.prod(shapes[leaf]) / max(math.prod(split), 1)
        for index in itertools.product(*map(range, split)):
            names.append(param_name(all_parts[leaf]) + suffix(index))
            sizes.append(size)
            weights.append(weight[(slice(None), *index)])
            gradients.append(gradient[(slice(None), *index)])
    size = np.array(sizes)
    norm = np.sqrt(_second_moment(_stack(weights)) * size)
    if not any(g is not None for g in raw.gradients):
        return tuple(names), {"weight_norm": norm}
    rms = np.sqrt(_second_moment(_stack(gradients)))
    gradient_norm = rms * np.sqrt(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(norm > 0, gradient_norm / norm, np.nan)
    return tuple(names), {
        "weight_norm": norm,
        "wgrad_norm": gradient_norm,
        "wgrad_rms": rms,
        "wgrad_rel": relative,
    }


def _stack(columns: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))
