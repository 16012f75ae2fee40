"""One layer of a plain chain that changes the signal's size by a jump."""

import math

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.numbers import compact
from jaxinit.report.report import Report
from jaxinit.verdict import remedies
from jaxinit.verdict.currents import comparable
from jaxinit.verdict.evidence import finding, has_role, weight_gain

# A kernel with a mean square of g/fan_in multiplies a square by g. Schemes lie between
# 1/3 (LeCun's uniform of PyTorch) and 2.8 (tanh's gain of 5/3, squared).
LARGEST, SMALLEST = 6.0, 1 / 8
# A jump of the second moment that no kernel explains: tenfold in rms.
JUMP = 100.0


def judge_sizes(report: Report) -> list[Finding]:
    """The first layer of a chain without joins and norms whose size is off."""
    rows = comparable(report)
    if not report.evidence or remedies.num_joins(report) or len(rows) < 2:
        return []
    if any(has_role(report, row, "norm_scale") for row in report.rows):
        return []
    if any(row.steps > 1 or len(row.params) > 2 for row in report.rows):
        return []
    with np.errstate(all="ignore"):
        sizes = np.median(report.forward["second_moment"], axis=0)
    before = _input(report)
    for place, i in enumerate(rows):
        row, size = report.rows[i], float(sizes[i])
        gain = weight_gain(report, row)
        last = place == len(rows) - 1
        if row.operation == "gather" or gain is None or not size > 0:
            before = size
            continue
        ratio = size / before if before else math.nan
        if gain > LARGEST and ratio > LARGEST:
            return [_kernel(report, row.name, gain, ratio, last)]
        if gain < SMALLEST and ratio < SMALLEST and gain > 0 and not last:
            return [_kernel(report, row.name, gain, ratio, last)]
        # A smaller kernel leaves the size to its bias.
        if place and gain > SMALLEST and ratio > JUMP * gain and math.isfinite(ratio):
            return [_between(report.rows[rows[place - 1]].name, row.name, ratio, gain)]
        before = size
    return []


def _input(report: Report) -> float | None:
    fed = report.evidence.get("inputs", ())
    if len(fed) != 1:
        return None
    square = fed[0]["mean"] ** 2 + fed[0]["std"] ** 2
    return float(square) or None


def _kernel(
    report: Report, name: str, gain: float, ratio: float, last: bool
) -> Finding:
    kind = "exploding" if gain > 1 else "vanishing"
    if last:
        kind = "loss-at-init"
    activation = remedies.common_activation(report)
    return finding(
        kind,  # type: ignore[arg-type]
        "second_moment",
        name,
        math.log2(ratio),
        f"The second moment changes by a factor of {compact(ratio)} at {name} alone: "
        f"its kernel has a mean square of {compact(gain)}/fan_in, and what keeps the "
        "signal lies between 1 and 2.",
        "kernel_init=jaxinit.lecun_normal()"
        if last
        else remedies.for_activation(activation),
    )


def _between(before: str, name: str, ratio: float, gain: float) -> Finding:
    return finding(
        "exploding",
        "second_moment",
        name,
        math.log2(ratio),
        f"The second moment changes by a factor of {compact(ratio)} from {before} to "
        f"{name}, whose kernel explains {compact(gain)}: an operation between them "
        "multiplies the signal.",
        f"h = h / {compact(math.sqrt(ratio))}  # between {before} and {name}",
    )
