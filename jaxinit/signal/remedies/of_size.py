"""What may mend signals and gradients that grow, fall or jump."""

import math
from dataclasses import replace

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.signal.remedies import laws
from jaxinit.signal.remedies.as_named import Found
from jaxinit.verdict.evidence import front, params, weight_gain
from jaxinit.verdict.remedies import common_activation, num_joins
from jaxinit.verdict.steps_of_size import LARGEST, SMALLEST

# Kernels are not drawn anew for a change of their mean square by less than this share.
_SMALL_CHANGE = 0.05


def of_size(report: Measured, finding: Finding) -> Found:
    """A signal or gradient that grows or falls: at one layer, or with depth."""
    one = laws.kernels_of(report, finding.row)
    if finding.metric == "second_moment" and math.isnan(finding.stderr):
        yield from _jump(report, finding, one)
    if finding.kind == "exploding":
        yield from _branches(report)
    names = laws.hidden(report)
    for law in laws.for_activation(common_activation(report)):
        yield laws.kernels(report, names, law)
    yield from _rescaled(report, finding)


def _jump(report: Measured, finding: Finding, names: list[str]) -> Found:
    """One layer that is off: its kernel, or an operation in front of it."""
    row = next((r for r in report.rows if r.name == finding.row), None)
    gain = None if row is None else weight_gain(report, row)
    if row is None or gain is None or not math.isfinite(finding.value):
        return
    if not SMALLEST < gain < LARGEST:
        off = [n for n in laws.having(report, "weight") if _is_off(report, n)]
        for law in laws.for_activation(row.activation):
            yield laws.kernels(report, names, law)
            yield laws.kernels(report, off, law)
        if any("exp" in front(report, r.name).get("by", ()) for r in report.rows):
            yield laws.drawn(report, off, "jaxinit.zeros")  # a flow starts as identity
    factor = 2.0 ** min(max(finding.value / 2, -60.0), 60.0)
    change = laws.changed(report, names, f"w / {factor:.3g}")
    line, _, where = (finding.remedy or "").partition("  # ")
    if line.startswith("h = "):
        yield replace(
            change,
            code=line,
            where=where,
            simulates=True,
        )
    else:
        yield change


def _is_off(report: Measured, name: str) -> bool:
    """Whether a kernel's mean square is far from what any scheme draws."""
    known = params(report)[name]
    square = known.get("mean_square", 0.0) * (known.get("fan_in") or 0)
    return not SMALLEST < square < LARGEST


def _branches(report: Measured) -> Found:
    """The ends of residual branches, smaller or zero."""
    joins, ends = num_joins(report), laws.having(report, "branch_end")
    if not joins or not ends:
        return
    yield laws.kernels(report, ends, laws.scaled(1 / joins))
    yield laws.drawn(report, ends, "jaxinit.zeros")


def _rescaled(report: Measured, finding: Finding) -> Found:
    """Kernels, or gains of kernels, times what was measured to be missing."""
    if not math.isfinite(finding.value) or math.isnan(finding.stderr):
        return
    bits = 2 * finding.value if finding.metric == "grad_rms" else finding.value
    square = 2.0 ** min(max(-bits, -60.0), 60.0)
    if abs(square - 1) < _SMALL_CHANGE:
        return
    names = laws.hidden(report)
    known = [params(report)[n] for n in names if params(report)[n].get("fan_in")]
    sizes = sorted(e["mean_square"] * e["fan_in"] for e in known if "mean_square" in e)
    gains = laws.having(report, "gain")
    if gains:
        rms = [math.sqrt(params(report)[n].get("mean_square", 1.0)) for n in gains]
        value = sorted(rms)[len(rms) // 2] * math.sqrt(square)
        yield laws.drawn(report, gains, f"jaxinit.constant({value:.3g})")
    if sizes:
        yield laws.kernels(report, names, laws.scaled(sizes[len(sizes) // 2] * square))
