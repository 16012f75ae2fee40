"""Inputs that are not normalized, and a model that does not normalize them."""

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import finding, has_role, weight_gain

# Images in [0, 1] have a mean of 2 deviations at most; a rms of 30 saturates what
# behind a kernel of LeCun's has a slope, and makes the first update 900 times as
# large.
MEAN, RMS = 5.0, 30.0


def judge_inputs(report: Measured) -> list[Finding]:
    """The input, if it is far from mean 0 and deviation 1 and no norm follows."""
    fed = report.evidence.get("inputs", ())
    weighted = [
        i
        for i, row in enumerate(report.rows)
        if row.kind == "layer" and weight_gain(report, row) is not None
    ]
    if len(fed) != 1 or not weighted:
        return []
    mean, std = fed[0]["mean"], fed[0]["std"]
    rms = (mean**2 + std**2) ** 0.5
    shifted = std > 0 and abs(mean) > MEAN * std
    if not shifted and rms < RMS:
        return []
    first = weighted[0]
    near = report.rows[: first + 2]
    if any(has_role(report, row, "norm_scale", "norm_bias") for row in near):
        return []
    gain = weight_gain(report, report.rows[first]) or 0.0
    reached = float(report.forward["second_moment"][:, first].mean())
    if reached < 0.03 * gain * rms**2:  # the model normalizes by itself
        return []
    row = report.rows[first]
    return [
        finding(
            "input",
            "second_moment",
            row.name,
            rms,
            f"The input has mean {compact(mean)} and deviation {compact(std)}, and "
            f"{row.name} takes it as it is; kernels are drawn for mean 0 and "
            "deviation 1.",
            "x = (x - x.mean()) / x.std()  # with the statistics of the training data",
        )
    ]
