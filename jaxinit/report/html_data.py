"""What the script of a page draws: curves of every metric, facts of every row."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.report.rows import USUAL
from jaxinit.report.summary import has_log, middle
from jaxinit.report.text import visible

# Always drawn, seed by seed.
_PANELS = (
    ("forward", "second_moment", "Second moment of the signal", "signal"),
    ("backward", "grad_rms", "Gradient rms", "grad"),
)
_BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)

# What is a share or a cosine looks flat within a tenth.
_FLAT = 0.1


def page_data(report: Measured, columns: int) -> dict[str, Any]:
    """Everything that the script needs to know, of JSON's types.

    Args:
      report: what is shown.
      columns: how many the table has.

    Returns:
      ``rows``; ``panels``, with the logarithm of each seed; ``more``, the other
      metrics, with quantiles over seeds; ``columns``.
    """
    problems: dict[str | None, list[str]] = {}
    for finding in report.findings:
        if finding.is_problem:
            problems.setdefault(finding.row, []).append(finding.kind)
    norms = report.weights.get("weight_norm")
    weights = (
        {} if norms is None else dict(zip(report.params, middle(norms), strict=True))
    )
    rows = [
        {
            "name": visible(row.name),
            "kind": row.kind,
            "module": visible(row.name.rpartition("/")[0]),
            "finding": ", ".join(dict.fromkeys(problems.get(row.name, []))),
            "facts": list(_facts(report, i, row, weights)),
            **_histogram(report, row.name),
        }
        for i, row in enumerate(report.rows)
    ]
    panels = [
        _panel(report, metric, values, title, kind)
        | {"logs": _rounded(_scaled(values, True).T, True)}
        for group, metric, title, kind in _PANELS
        for values in [getattr(report, group).get(metric)]
        if values is not None
    ]
    return {
        "rows": rows,
        "panels": panels,
        "more": list(_more(report)),
        "columns": columns,
    }


def pickable(report: Measured) -> list[str]:
    """Metrics of rows that can be drawn besides: first those that were asked for."""
    drawn = {metric for _, metric, _, _ in _PANELS}
    known = [
        metric
        for metric, values in (report.forward | report.backward).items()
        if metric not in drawn and np.isfinite(values).any()
    ]
    asked = asked_for(report)
    return sorted(known, key=lambda metric: metric not in asked)


def asked_for(report: Measured) -> list[str]:
    """Metrics of rows that not every report has, where a row has a value."""
    return [
        metric
        for metric, values in report.forward.items()
        if metric not in USUAL and not np.isnan(values).all()
    ]


def _facts(
    report: Measured, i: int, row: Row, weights: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    shape = "x".join(map(str, row.shape)) or "scalar"
    yield "operation", visible(f"{row.operation}, {row.dtype} {shape}")
    if row.fan_in is not None:
        yield "fans", f"in {row.fan_in}, out {row.fan_out}"
    if row.role:
        yield "role", visible(row.role)
    if row.activation:
        yield "activation", visible(row.activation)
    for name in row.params[:4]:
        norm = f", norm {compact(float(weights[name]))}" if name in weights else ""
        yield "weights", visible(name) + norm
    for metric, values in report.predicted.items():
        away = report.predicted.get(f"{metric}_z")
        if away is not None and not math.isnan(values[i]):
            off = "" if math.isnan(away[i]) else f", measured {away[i]:+.1f} stderr off"
            yield "theory", visible(metric) + f" {compact(float(values[i]))}{off}"


def _histogram(report: Measured, row: str) -> dict[str, list[float]]:
    """Shares of its values by sign and exponent, the mean over seeds."""
    shares = report.histograms.get(row)
    if shares is None:
        return {}
    mean = np.nan_to_num(np.nan_to_num(shares).mean(axis=0))
    return {"exponents": [round(share, 4) for share in mean.tolist()]}


def _more(report: Measured) -> Iterator[dict[str, Any]]:
    """Panels of the metrics that can be picked."""
    for metric in pickable(report):
        values = (report.forward | report.backward)[metric]
        kind = "grad" if metric in report.backward else "signal"
        scaled = _scaled(values, has_log(metric))
        bands = np.full((len(_BANDS), values.shape[1]), np.nan)
        known = ~np.isnan(scaled).all(axis=0)
        if known.any():
            bands[:, known] = np.nanquantile(scaled[:, known], _BANDS, axis=0)
        panel = _panel(report, metric, values, visible(metric), kind)
        yield panel | {"bands": _rounded(bands.T, has_log(metric))}


def _panel(
    report: Measured, metric: str, values: np.ndarray, title: str, kind: str
) -> dict[str, Any]:
    log = has_log(metric)
    reached = ~np.isnan(values).all(axis=0)
    finite = values[np.isfinite(values)]
    small = not finite.size or np.abs(finite).max() <= 1
    panel = {
        "title": title,
        "kind": kind,
        "log": log,
        "least": 1 if log else _FLAT * small,
        "zero": (values == 0).sum(axis=0).tolist() if log else [0] * values.shape[1],
        "broken": (~np.isfinite(values) & report.ran & reached).sum(axis=0).tolist(),
    }
    expected = report.predicted.get(metric)
    if expected is not None:
        (panel["expected"],) = _rounded(_scaled(expected[None], log), log)
    return panel


def _scaled(values: np.ndarray, log: bool) -> np.ndarray:
    """Decimal logarithms, where they are drawn; NaN for what cannot be drawn."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(values > 0, np.log10(values), np.nan) if log else values
    return np.where(np.isfinite(scaled), scaled, np.nan)


def _rounded(values: np.ndarray, log: bool) -> list[list[float | None]]:
    """Logarithms to three places, other numbers to four digits; null for NaN."""
    return [
        [
            None if math.isnan(v) else round(v, 3) if log else float(f"{v:.4g}")
            for v in line
        ]
        for line in values.tolist()
    ]
