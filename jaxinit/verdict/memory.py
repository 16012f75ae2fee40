"""Gradients through the steps of a recurrence: forgotten or blown up."""

import math
import warnings

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import finding, has_role, row_called
from jaxinit.verdict.trend import line

# Bits per step back in time, the row, and how many steps there are.
Found = tuple[float, Row, int]

MIN_STEPS = 8
# An LSTM whose forget gate starts half open keeps 0.5 per step and 1.4 steps.
SHORTEST = 1.35
# The gradient's growth over the whole sequence, in bits.
GROWTH = math.log2(30)
# Bits per step: 1.4%, which a long sequence may add up to more.
STEADY = 0.02


def judge_memory(report: Measured) -> list[Finding]:
    """The recurrent layer with the steepest profile, if it is too steep."""
    found = []
    for row in report.rows:
        profile = report.profiles.get(row.name, {}).get("grad_rms")
        if profile is None or profile.shape[1] < MIN_STEPS:
            continue
        if row.kind != "layer":
            continue
        slope = _slope(profile)
        if slope is not None:
            found.append((slope, row, profile.shape[1]))
    return _exploding(report, found) or _vanishing(report, found)


def _exploding(report: Measured, found: list[Found]) -> list[Finding]:
    if not found:
        return []
    slope, row, steps = max(found, key=lambda f: f[0])
    if slope * (steps - 1) > GROWTH and slope > STEADY:
        return [
            finding(
                "time-exploding",
                "grad_rms",
                row.name,
                slope,
                f"The gradient at {row.name} grows by a factor of "
                f"{compact(2.0**slope)} per time step back, "
                f"{compact(2.0 ** min(slope * (steps - 1), 1000))} over {steps} steps.",
                _radius(report),
            )
        ]
    return []


def _vanishing(report: Measured, found: list[Found]) -> list[Finding]:
    read_out = _read_out(report)
    known = [read_out.get(f[1].name, f) for f in found]
    found = [f for f in known if f[1].name not in _iterating(report)]
    if not found:
        return []
    slope, row, steps = min(found, key=lambda f: f[0])
    length = math.inf if slope >= 0 else -1 / (slope * math.log(2))
    if length > SHORTEST:
        return []
    gated = any(
        has_role(report, other, "gate_bias", "forget_gate_bias")
        for other in report.rows
    )
    return [
        finding(
            "time-vanishing",
            "grad_rms",
            row.name,
            slope,
            f"The gradient at {row.name} falls to {compact(2.0**slope)} per time step "
            f"back: a memory of {length:.1f} steps where the sequence has {steps}.",
            "bias_init=jaxinit.ones  # of the forget gate: it starts open"
            if gated
            else _radius(report),
        )
    ]


def _read_out(report: Measured) -> dict[str, Found]:
    """By row the slope of what the last step depends on, where all are read out.

    The last step itself is left out: it depends on its own values directly.
    """
    found = {}
    for name, facts in report.evidence.get("recall", {}).items():
        profile = np.array(facts["profile"], np.float64)[:, :-1]
        row = row_called(report, name)
        if row is None or profile.shape[1] < MIN_STEPS - 1:
            continue
        slope = _slope(profile)
        if slope is not None:
            found[row.name] = (slope, row, profile.shape[1] + 1)
    return found


def _iterating(report: Measured) -> set[str]:
    """Rows at each of whose steps the same data comes in: fixed points."""
    recalled = report.evidence.get("recall", {})
    return {name for name, facts in recalled.items() if facts["again"]}


def _radius(report: Measured) -> str:
    """The remedy for a state that is multiplied by a matrix, or entry by entry."""
    if any(has_role(report, row, "recurrent") for row in report.rows):
        return "recurrent_kernel_init=jaxinit.orthogonal(1.0)  # a radius of 1"
    return (
        "a = jnp.linspace(0.9, 0.999, width)  # the decays of the state: memories of "
        "10 to 1000 steps"
    )


def _slope(profile: np.ndarray) -> float | None:
    """Bits per step back in time, over the half of the steps nearest to the end."""
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        logs = np.log2(profile)
        logs[~np.isfinite(logs)] = np.nan
        curve = np.nanmedian(logs, axis=0)[::-1]
    known = np.flatnonzero(np.isfinite(curve))
    if len(known) < 4:
        return None
    known = known[: max(len(known) // 2, 4)]
    return line(known.astype(np.float64), curve[known])[0]
