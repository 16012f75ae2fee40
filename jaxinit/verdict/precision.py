"""What the model's own dtype cannot hold: swallowed branches, vanishing losses."""

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import finding, has_role

# Half the distance from 1 to the next number: what is smaller is lost when added.
_HALF_STEP = {"bfloat16": 2.0**-9, "float16": 2.0**-12, "float32": 2.0**-25}
# Squares of gradients below the root of float32's smallest number are zero, and
# Adam's 1e-8 is far above all of them.
SMALLEST_GRADIENT = 1e-20


def judge_precision(report: Measured) -> list[Finding]:
    """Branches that a join swallows, and a loss whose gradients are out of range."""
    return _swallowed(report) or _tiny(report)


def _swallowed(report: Measured) -> list[Finding]:
    place = {row.name: i for i, row in enumerate(report.rows)}
    rms = report.forward.get("rms")
    if rms is None:
        return []
    for row in report.rows:
        half = _HALF_STEP.get(row.dtype)
        skip = [place[n] for n in row.skip if n in place]
        branch = [place[n] for n in row.branch if n in place]
        if row.kind != "join" or half is None or not skip or not branch:
            continue
        if row.dtype == "float32" and _is_gained(report, branch):
            continue  # ConvNeXt's 1e-6: small by design, and its own gradient is not
        with np.errstate(all="ignore"):
            ratio = float(
                np.median(rms[:, branch].max(axis=1) / rms[:, skip].max(axis=1))
            )
        if 0 < ratio < half:
            return [
                finding(
                    "dtype-range",
                    "rms",
                    row.name,
                    ratio,
                    f"{row.name} swallows its branch: it is {compact(ratio)} of the "
                    f"stream, below half a step of {row.dtype} ({compact(half)}), so "
                    "that x + h == x.",
                    "x = x.astype(jnp.float32) + h  # keep the stream in float32, or "
                    "scale it down",
                )
            ]
    return []


def _is_gained(report: Measured, rows: list[int]) -> bool:
    """Whether a learned factor ends one of the rows, as in LayerScale and ReZero."""
    return any(has_role(report, report.rows[i], "gain") for i in rows)


def _tiny(report: Measured) -> list[Finding]:
    gradients = report.weights.get("wgrad_rms")
    if gradients is None or not gradients.size:
        return []
    with np.errstate(all="ignore"):
        known = np.where(np.isfinite(gradients), gradients, 0.0)
    largest = float(np.median(known.max(axis=1)))
    if not 0 < largest < SMALLEST_GRADIENT:
        return []
    return [
        finding(
            "dtype-range",
            "wgrad_rms",
            report.rows[-1].name if report.rows else None,
            largest,
            f"The largest gradient of all parameters has a rms of {compact(largest)}: "
            "its square underflows, and optimizers take it for zero.",
            "loss=lambda y: loss(y) / scale  # scale the loss to about 1",
        )
    ]
