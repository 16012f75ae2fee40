"""What a few gradient steps left as it was: trapped, unreached and equal parameters."""

from functools import partial
from typing import Any

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import some
from jaxinit.verdict.evidence import finding, is_added, params, row_of

# Units that differ by less than rounding are equal.
EQUAL = 1e-5


def judge_steps(report: Measured) -> list[Finding]:
    """All findings that rest on the simulated steps and on the graph."""
    return [
        *_symmetric(report),
        *_trapped(report),
        *_unreached(report),
        *_broken_off(report),
    ]


def step_remarks(report: Measured) -> list[str]:
    """Zeros that the steps unlock and cuts that were written on purpose."""
    known = params(report)
    notes = []
    late = [n for n, e in known.items() if e.get("moved") and not e["moved_first"]]
    if late:
        notes.append(
            f"Unlocked by the first updates: the gradient of {some(late)} is exactly "
            "zero at initialization and not after a few simulated steps."
        )
    cut = [n for n, e in known.items() if _is_cut(e) and e.get("stopped", True)]
    if cut:
        notes.append(
            f"Cut off on purpose: {some(cut)} reach the output only through what has "
            "no derivative (stop_gradient)."
        )
    return notes


def zero_params(report: Measured) -> list[str]:
    """Parameters that are exactly zero, other than what is added."""
    return [
        n
        for n, e in params(report).items()
        if e.get("mean_square") == 0 and e["roles"] and not is_added(report, n)
    ]


def _is_cut(entry: dict[str, Any]) -> bool:
    still = entry.get("moved") == 0
    return still and entry["reached"] and not entry["differentiable"]


def _still(report: Measured) -> list[str]:
    """Parameters with a path to the output along which no gradient ever comes."""
    return [
        n
        for n, e in params(report).items()
        if e.get("moved") == 0 and e["differentiable"] and not e["nonfinite"]
    ]


def _symmetric(report: Measured) -> list[Finding]:
    equal = [
        n
        for n, e in params(report).items()
        if e.get("units_before", 1.0) < EQUAL
        and e.get("units_after", 1.0) < EQUAL
        and e.get("moved")
    ]
    if not equal:
        return []
    return [
        finding(
            "symmetric",
            "units",
            row_of(report, equal[0]),
            0.0,
            f"All units of {some(equal)} are equal, and still are after "
            "a few gradient steps: the layer has one unit, however wide it is.",
            "kernel_init=jaxinit.he_normal()  # random, so that units differ",
        )
    ]


def _trapped(report: Measured) -> list[Finding]:
    still = _still(report)
    if not still:
        return []
    underflown = [n for n in still if params(report)[n]["underflow"]]
    if underflown:
        return [
            finding(
                "dtype-range",
                "wgrad_rms",
                row_of(report, underflown[-1]),
                0.0,
                f"The gradient of {some(underflown)} is zero in this dtype and not "
                "for a loss 2**24 times as large: it is too small for the dtype.",
                "dtype=jnp.bfloat16  # or scale the loss up and the gradients down, "
                "by 2**12 or more",
            )
        ]
    zero = [n for n in zero_params(report) if n in still]
    if not zero:
        return []
    return [
        finding(
            "trapped",
            "wgrad_norm",
            row_of(report, zero[0]),
            0.0,
            f"{some(zero)} are zero and stay so: the gradient is exactly zero at "
            "every one of a few simulated steps, since what it is multiplied by is "
            "zero as well.",
            _release(report, zero[0]),
        )
    ]


def _release(report: Measured, name: str) -> str:
    roles = set(params(report)[name]["roles"])
    if "norm_scale" in roles:
        return "scale_init=jaxinit.ones"
    if "gain" in roles:
        return f"jaxinit.ones  # for {name}: of two zeros in a row one must not be"
    return (
        "kernel_init=jaxinit.he_normal()  # for one of the two: of two zeros in a row "
        "one must not be"
    )


def _unreached(report: Measured) -> list[Finding]:
    lost = [n for n, e in params(report).items() if not e["reached"]]
    if not lost:
        return []
    return [
        finding(
            "unreached",
            "wgrad_norm",
            row_of(report, lost[0]) or lost[0].rsplit("/", 1)[0],
            0.0,
            f"The output does not depend on {some(lost)}: no path leads from "
            f"{'it' if len(lost) == 1 else 'them'} to what the model returns.",
            "use the layer's result in what the model returns, or remove the layer",
        )
    ]


def _broken_off(report: Measured) -> list[Finding]:
    """Parameters that a path without a derivative leads from, and no stop_gradient."""
    cut = [
        n
        for n, e in params(report).items()
        if _is_cut(e) and not e.get("stopped", True)
    ]
    rows = [row for row in map(partial(row_of, report), cut) if row is not None]
    if not rows or not any(e["differentiable"] for e in params(report).values()):
        return []
    order = {row.name: i for i, row in enumerate(report.rows)}
    last = max(rows, key=lambda name: order[name])
    return [
        finding(
            "vanishing",
            "wgrad_norm",
            last,
            0.0,
            f"No gradient reaches {some(cut)}: the way to the output leads through "
            "what has no derivative (rounding, an index, a comparison), and no "
            "stop_gradient says that it is meant.",
            f"x + jax.lax.stop_gradient(f(x) - x)  # straight through, behind {last}; "
            "or stop_gradient(x), if the cut is meant",
        )
    ]


def silent(report: Measured) -> bool:
    """Whether steps were simulated and found every parameter within reach to move."""
    return bool(params(report)) and not _still(report)
