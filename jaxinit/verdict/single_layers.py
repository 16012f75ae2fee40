"""Troubles of single layers: non-finite, dead, saturated, collapsed, out of range.

Each function looks for one trouble and returns at most a finding or two: the first
layer that has it, since what follows is its consequence.
"""

import math

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.verdict import remedies
from jaxinit.verdict.currents import comparable
from jaxinit.verdict.evidence import finding, front, has_role
from jaxinit.verdict.zeros import is_zero

# A layer is dead if three quarters of its channels are in most seeds. Half would not
# do: behind many layers all samples look alike, and under ReLU half of the channels
# are then negative for all of them, without harm.
DEAD_CHANNELS = 0.75
# With N values per channel a unit that is positive half of the time looks dead with
# probability 2^-N. Below 8 values (0.4%) `dead` says nothing.
MIN_SAMPLES = 8
# Seeds in which a whole layer is dead, born dead: a tenth of them is too many.
BORN_DEAD_SEEDS = 0.1
# All of them, but for rounding: n times 1/n is not always 1.
ENTIRELY = 1 - 1e-6

# Pre-activations beyond which the slope is below a hundredth of its maximum:
# tanh' = 1 - tanh^2, logistic' = s (1 - s) with maximum 1/4.
_SATURATION = {"tanh": 2.993, "logistic": 5.986, "sigmoid": 5.986}
SATURATED = 0.5

# Cosines between samples: collapsed if from below 0.9 they come within 1e-3 of 1.
COLLAPSED, DISTINCT = 1e-3, 0.1

# dtype -> smallest normal and largest number.
_RANGES = {
    "float8_e4m3fn": (2.0**-6, 448.0),
    "float8_e5m2": (2.0**-14, 57344.0),
    "float16": (2.0**-14, 65504.0),
    "bfloat16": (2.0**-126, (2 - 2.0**-7) * 2.0**127),
    "float32": (2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": (2.0**-1022, (2 - 2.0**-52) * 2.0**1023),
}


def judge_layers(report: Measured) -> list[Finding]:
    """All findings about single layers."""
    return [
        *_non_finite(report),
        *_dead(report),
        *_saturated(report),
        *_rank_collapsed(report),
        *_dtype_range(report),
    ]


def _non_finite(report: Measured) -> list[Finding]:
    forward = report.forward.get("frac_nonfinite")
    backward = report.backward.get("grad_rms")
    hits: list[tuple[str, np.ndarray, str]] = []
    if forward is not None:
        with np.errstate(invalid="ignore"):
            hits.append(("frac_nonfinite", forward > 0, "The output"))
    if backward is not None:
        # Not defined is no trouble: NaN in every seed (no gradient reaches the row),
        # or where the row did not run (a branch of cond that the seed skips).
        defined = ~np.isnan(backward).all(axis=0) & report.ran
        hits.append(("grad_rms", ~np.isfinite(backward) & defined, "The gradient"))
    for metric, broken, what in hits:
        columns = np.flatnonzero(broken.any(axis=0))
        if not columns.size:
            continue
        where = int(columns[-1] if metric == "grad_rms" else columns[0])
        share = float(broken.any(axis=1).mean())
        first = where == 0 and metric != "grad_rms"
        return [
            finding(
                "non-finite",
                metric,
                report.rows[where].name,
                float(broken[:, where].mean()),
                f"{what} of {report.rows[where].name} holds NaN or infinity in "
                f"{share:.0%} of the seeds; it is the first such layer.",
                "assert jnp.isfinite(x).all()  # look at the input first"
                if first
                else remedies.for_activation(remedies.common_activation(report)),
                share,
            )
        ]
    return []


def _dead(report: Measured) -> list[Finding]:
    dead = report.forward.get("dead")
    if dead is None:
        return []
    # Dropout sets to zero what is alive.
    fronts = [front(report, row.name) for row in report.rows]
    dropped = {name for f in fronts if f.get("random") for name in f["after"]}
    for i, row in enumerate(report.rows):
        if row.samples < MIN_SAMPLES or row.kind != "layer" or is_zero(report, i):
            continue
        if row.name in dropped or has_role(report, row, "readout"):
            continue
        with np.errstate(invalid="ignore"):
            mostly = float((dead[:, i] >= DEAD_CHANNELS).mean())
            entirely = float((dead[:, i] > ENTIRELY).mean())
        many = row.channels > 1
        if mostly <= 0.5 and not (many and entirely >= BORN_DEAD_SEEDS):
            continue
        share = mostly if mostly > 0.5 else entirely
        limit = f"{DEAD_CHANNELS:.0%} or more" if mostly > 0.5 else "all"
        return [
            finding(
                "dead",
                "dead",
                row.name,
                float(np.nanmedian(dead[:, i])),
                f"In {share:.0%} of the seeds {limit} of the channels of {row.name} "
                f"are never positive (N = {row.samples} values per channel; median "
                f"seed {np.nanmedian(dead[:, i]):.0%}).",
                "bias_init=jaxinit.zeros  # and an input with mean 0 and variance 1",
                share,
            )
        ]
    return []


def _saturated(report: Measured) -> list[Finding]:
    moment = report.forward.get("second_moment")
    if moment is None:
        return []
    for i, row in enumerate(report.rows):
        edge = _SATURATION.get(row.activation or "")
        if edge is None or row.kind != "layer":
            continue
        # Share of a normal pre-activation beyond the edge, seed by seed.
        shares = np.array(
            [math.erfc(edge / math.sqrt(2 * q)) if q > 0 else 0.0 for q in moment[:, i]]
        )
        seeds = float((shares > SATURATED).mean())
        if seeds <= 0.5:
            continue
        median = float(np.median(shares))
        return [
            finding(
                "saturated",
                "second_moment",
                row.name,
                median,
                f"{row.activation} after {row.name} has lost 99% of its slope for "
                f"{median:.0%} of the values (were they normal with the measured rms "
                f"{compact(float(np.sqrt(np.median(moment[:, i]))))}).",
                remedies.for_activation(row.activation),
                seeds,
            )
        ]
    return []


def _rank_collapsed(report: Measured) -> list[Finding]:
    cosines = report.forward.get("cos")
    rows = comparable(report)
    if cosines is None or len(rows) < 6:
        return []
    with np.errstate(invalid="ignore"):
        distance = 1 - cosines[:, rows]
        collapsed = distance < COLLAPSED
        share = float(
            ((distance[:, 0] > DISTINCT) & collapsed[:, -3:].all(axis=1)).mean()
        )
    if share < 0.9:
        return []
    where = int(np.argmax((distance < COLLAPSED).mean(axis=0) > 0.5))
    name = report.rows[rows[where]].name
    start, left = (float(np.median(distance[:, i])) for i in (0, -1))
    return [
        finding(
            "rank-collapsed",
            "cos",
            name,
            1 - left,
            f"All samples give nearly the same activations from {name} on: 1 - cosine "
            f"falls from {compact(start)} to {compact(left)}.",
            remedies.apart(report),
            share,
        )
    ]


def _dtype_range(report: Measured) -> list[Finding]:
    largest, rms = report.forward.get("absmax"), report.forward.get("rms")
    for i, row in enumerate(report.rows):
        if row.dtype not in _RANGES:
            continue
        smallest, highest = _RANGES[row.dtype]
        with np.errstate(invalid="ignore"):
            high = 0.0 if largest is None else _too_large(largest[:, i], highest)
            low = (
                0.0
                if rms is None
                else ((rms[:, i] > 0) & (rms[:, i] < smallest)).mean()
            )
        if max(high, low) <= 0.5:
            continue
        if high > 0.5 and largest is not None:
            metric, value = "absmax", float(np.median(largest[:, i]))
            what = (
                f"reaches {compact(value)}, above half {compact(highest)}, the largest"
            )
        else:
            assert rms is not None
            metric, value = "rms", float(np.median(rms[:, i]))
            what = (
                f"has rms {compact(value)}, below {compact(smallest)}, the least normal"
            )
        return [
            finding(
                "dtype-range",
                metric,
                row.name,
                value,
                f"The output of {row.name} {what} number of {row.dtype}.",
                "dtype=jnp.bfloat16  # or float32: both reach from 1e-38 to 1e38",
                float(max(high, low)),
            )
        ]
    return []


def _too_large(largest: np.ndarray, highest: float) -> float:
    """Share of seeds near the end of the range; the very end is a mask's constant."""
    return float(((largest > highest / 2) & (largest != highest)).mean())
