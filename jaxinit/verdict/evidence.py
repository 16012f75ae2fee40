"""Reads a report's evidence: by row, by parameter, and as findings."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from jaxinit.report.findings import Finding, Kind
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import is_bias


def params(report: Measured) -> dict[str, dict[str, Any]]:
    """What each parameter does and what steps did to it; empty if not measured."""
    found: dict[str, dict[str, Any]] = report.evidence.get("params", {})
    return found


def of_param(report: Measured, name: str) -> dict[str, Any]:
    """The evidence about a parameter, or about the scan that holds it."""
    known = params(report)
    return known.get(name) or known.get(name.split("[")[0]) or {}


def curves(report: Measured, what: str) -> list[dict[str, Any]]:
    """The curves of one sort, in the order in which data meets them."""
    found = [c for c in report.evidence.get("curves", ()) if c["what"] == what]
    place = {row.name: i for i, row in enumerate(report.rows)}
    return sorted(found, key=lambda c: place.get(c["row"], len(place)))


def row_of(report: Measured, param: str) -> str | None:
    """The first row that a parameter acts in."""
    base = param.split("[")[0]
    for row in report.rows:
        if any(p == param or p.split("[")[0] == base for p in row.params):
            return row.name
    return None


def row_called(report: Measured, name: str | None) -> Row | None:
    """The row of a name that the evidence gives: of stacked layers the first."""
    for row in report.rows:
        if row.name == name or row.name.startswith(f"{name}["):
            return row
    return None


def has_role(report: Measured, row: Row, *roles: str) -> bool:
    """Whether one of the row's parameters does one of these things."""
    return any(
        set(roles) & set(of_param(report, name).get("roles", ())) for name in row.params
    )


def weight_gain(report: Measured, row: Row) -> float | None:
    """The mean square of a row's weight times its fan-in: what it does to a square."""
    for name in row.params:
        entry = of_param(report, name)
        if entry.get("fan_in") and "mean_square" in entry:
            return float(entry["mean_square"] * entry["fan_in"])
    return None


def fan_in(report: Measured, row: Row) -> int:
    """How many products a row's weight adds up, 0 if it has none."""
    fans = [of_param(report, name).get("fan_in") for name in row.params]
    return next((int(fan) for fan in fans if fan), 0)


def stored_gain(report: Measured, row: Row) -> float | None:
    """The same with the fan that an initializer reads off the stored shape.

    Layers with several axes of outputs flatten them before they draw.
    """
    for name in row.params:
        entry = of_param(report, name)
        if entry.get("fan_in") and "mean_square" in entry:
            shape = entry["shape"][len(entry["layers"]) :]
            several = entry.get("out_axes", 1) > 1
            fan = entry["fan_in"] if several else math.prod(shape[:-1])
            return float(entry["mean_square"] * fan)
    return None


def front(report: Measured, name: str) -> dict[str, Any]:
    """What lies in front of a row that multiplies by a weight; empty if not known."""
    found: dict[str, Any] = report.evidence.get("fronts", {}).get(name, {})
    return found


def entering(report: Measured, name: str) -> float | None:
    """The mean square of what a row's weight is multiplied by."""
    known = _by_name(report).entering.get(name)
    if known is not None:
        return known
    taken = front(report, name).get("inputs", ())
    if len(taken) != 1:
        return None
    fed = report.evidence["inputs"][taken[0]]
    return float(fed["mean"] ** 2 + fed["std"] ** 2)


def leaving(report: Measured, name: str) -> float | None:
    """The median over seeds of a row's second moment."""
    medians, place = _by_name(report).medians, place_of(report, name)
    if medians is None or place is None or not math.isfinite(medians[place]):
        return None
    return float(medians[place])


def place_of(report: Measured, name: str) -> int | None:
    """Where a row is among the rows; ``None`` if there is no such row."""
    return _by_name(report).places.get(name)


class _ByName(NamedTuple):
    """What is asked of a report row after row, found once.

    Attributes:
      places: where each row is.
      entering: the mean square of what each row's weight takes, where it was measured.
      medians: `(rows,)`, of the second moments over seeds, if they were measured.
    """

    places: dict[str, int]
    entering: dict[str, float]
    medians: np.ndarray | None


_known: WeakKeyDictionary[Measured, _ByName] = WeakKeyDictionary()


def _by_name(report: Measured) -> _ByName:
    found = _known.get(report)
    if found is None:
        inputs = [c for c in report.evidence.get("curves", ()) if c["what"] == "input"]
        values = report.forward.get("second_moment")
        found = _known[report] = _ByName(
            {name: place for place, name in enumerate(report.layers)},
            {c["row"]: float(c["mean_square"]) for c in reversed(inputs)},
            None if values is None else _medians(values),
        )
    return found


def _medians(values: np.ndarray) -> np.ndarray:
    """Over seeds, of ``(seeds, rows)``; NaN where one of them is."""
    ordered = np.sort(values, axis=0)  # NaN last
    half = len(ordered) // 2
    with np.errstate(over="ignore"):
        found = (ordered[half] + ordered[-1 - half]) / 2
    return np.where(np.isnan(ordered[-1]), math.nan, found)


def in_gated_cell(report: Measured, row: Row) -> bool:
    """Whether a row acts at each step of a model whose cells have gates."""
    return row.steps > 1 and any(c["gate"] for c in curves(report, "logistic"))


def scaled_down(report: Measured, names: Sequence[str]) -> list[int]:
    """Layers on residual branches, where small learned factors end these on purpose."""
    gains = [row for row in report.rows if has_role(report, row, "gain")]
    sizes = [
        of_param(report, name).get("mean_square", 1.0)
        for row in gains
        for name in row.params
    ]
    if not 0 < min(sizes, default=1.0) < SMALL_FACTOR**2:
        return []
    return [i for i, name in enumerate(names) if front(report, name).get("branch")]


ORDINARY = 10.0
"""A mean square below which a signal has an ordinary size."""


# LayerScale starts at 1e-4 or 1e-6, and at 0.1 in shallow nets.
SMALL_FACTOR = 1e-2


def is_added(report: Measured, name: str) -> bool:
    """Whether a parameter is added to data, rather than multiplied with it.

    By its roles; by the names that libraries give to biases where nothing was judged.
    """
    known = of_param(report, name).get("roles")
    return is_bias(name) if known is None else set(known) <= ADDED and bool(known)


ADDED = frozenset(
    "bias norm_bias gate_bias readout_bias forget_gate_bias position".split()
)
"""Roles of parameters that are added to data."""


def finding(
    kind: Kind,
    metric: str,
    row: str | None,
    value: float,
    message: str,
    remedy: str | None,
    share: float = 1.0,
) -> Finding:
    """A finding without a standard error."""
    return Finding(kind, metric, row, share, value, math.nan, message, remedy)
