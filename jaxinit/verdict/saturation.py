"""Squashing functions, gates and softmaxes that have lost their slope."""

import math
from typing import Any

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import (
    curves,
    finding,
    front,
    leaving,
    row_called,
    weight_gain,
)
from jaxinit.verdict.remedies import CALLABLES

# The mean of (f'/max f')^2. For z ~ N(0, s^2) it is near 0.53/s for tanh and 1.06/s
# for the logistic function: these are deviations of 3.5 and 7.
TANH, LOGISTIC = 0.15, 0.15
# Of other functions it is compared with what normal arguments of their own width give,
# as 0.15 of tanh with 0.46.
OF_USUAL = 1 / 3
_SQUASHING = ("tanh", "logistic", "squashing")
# Gates may be closed or open on purpose, by a bias. What none is meant to be is closed
# for some values and open for others at random: for z ~ N(0, s^2), s > 3.4.
BOTH_ENDS = 0.1
# 1 - sum w^2 over what equal weights give: 0.94 in a healthy GPT, 0.03 with logits of
# deviation 60.
SPREAD = 0.25
# Times what products of unit queries and keys have to be divided by; without any
# division heads of 16 have 4.
UNDIVIDED = 2.0
# Below as much a kernel has the scale of the usual schemes.
USUAL = 3.0


def judge_saturation(report: Measured) -> list[Finding]:
    """The first squashing function and the first softmax without a slope."""
    found = []
    for curve in curves(report, "softmax"):
        row = row_called(report, curve["row"])
        if row is not None and curve["spread"] < SPREAD:
            found.append(_softmax(report, row, curve))
            break
    for curve in (c for what in _SQUASHING for c in curves(report, what)):
        row = row_called(report, curve["row"])
        if row is not None and _is_flat(curve):
            found.append(_squashing(report, row, curve))
            break
    return found


def _is_flat(curve: dict[str, Any]) -> bool:
    if curve["gate"] and curve["what"] != "tanh":
        return bool(min(curve["low"], curve["high"]) > BOTH_ENDS)
    limits = {"tanh": TANH, "logistic": LOGISTIC}
    return bool(curve["slope"] < limits.get(curve["what"], OF_USUAL * _usual(curve)))


def _usual(curve: dict[str, Any]) -> float:
    """What normal arguments give: of deviation 1, or of the function's own width."""
    return float(curve.get("usual", 0.46 if curve["what"] == "tanh" else 0.68))


def _squashing(report: Measured, row: Row, curve: dict[str, Any]) -> Finding:
    one_sided = abs(curve["mean"]) > 2 * curve["std"]
    cause = (
        "a bias holds it at one end"
        if one_sided
        else "what enters is too large, which is up to the kernel in front"
    )
    called = {"tanh": "jnp.tanh", "logistic": "jax.nn.sigmoid"}
    name = called.get(curve["what"]) or CALLABLES.get(row.activation or "", "f")
    what = curve["what"]
    if what == "squashing":
        what = row.activation or "the function"
    width = curve.get("width", 1.0)
    argument = (
        "a standard normal argument gives"
        if math.isclose(width, 1.0, rel_tol=1e-2)
        else f"normal arguments of deviation {compact(width)} give"
    )
    return finding(
        "saturated",
        "slope",
        row.name,
        curve["slope"],
        f"{what} behind {row.name} has lost its slope: its mean square is "
        f"{compact(curve['slope'])} of the largest ({argument} "
        f"{_usual(curve):.2f}); {cause}.",
        "bias_init=jaxinit.zeros" if one_sided else _smaller(report, row, name),
    )


def _smaller(report: Measured, row: Row, function: str) -> str:
    """A smaller kernel, or where it has the usual scale already a smaller argument."""
    if row.steps > 1:
        return (
            "kernel_init=jaxinit.lecun_normal(), "
            f"recurrent_kernel_init=jaxinit.orthogonal()  # before {function}"
        )
    gain = weight_gain(report, row)
    if gain is not None and gain < USUAL:
        rms = math.sqrt(leaving(report, row.name) or 1.0)
        return f"{function}(z / {compact(rms)})  # the kernel has the usual scale"
    return f"kernel_init=jaxinit.lecun_normal()  # before {function}"


def _softmax(report: Measured, row: Row, curve: dict[str, Any]) -> Finding:
    message = (
        f"The softmax over {curve['keys']:.0f} entries that {row.name} feeds is "
        f"nearly one-hot: its largest weight is {curve['largest']:.2f} in the mean, "
        f"and its spread {compact(curve['spread'])} of what equal weights have."
    )
    if _is_scaled_up(curve):
        message += (
            f" Its scores add up {curve['terms']} products, and are multiplied by "
            f"{compact(curve['factor'])} where {compact(curve['terms'] ** -0.5)} keeps "
            "them at deviation 1."
        )
    return finding(
        "saturated",
        "softmax",
        row.name,
        curve["spread"],
        message,
        _logits(report, row, curve),
    )


def _is_scaled_up(curve: dict[str, Any]) -> bool:
    """Whether scores are much larger than products of unit queries and keys are."""
    terms = curve.get("terms", 1)
    return bool(terms > 1 and curve["factor"] > UNDIVIDED * terms**-0.5)


def _logits(report: Measured, row: Row, curve: dict[str, Any]) -> str:
    gain = weight_gain(report, row)
    if gain is not None and gain > USUAL:
        return (
            "kernel_init=jaxinit.lecun_normal()  # for query and key, whose mean "
            f"square is {compact(gain)}/fan_in: logits of deviation 1"
        )
    if _is_scaled_up(curve):
        instead = ""
        if not math.isclose(curve["factor"], 1.0):
            instead = f", in place of a factor of {compact(curve['factor'])}"
        return (
            f"scores = q @ k.T / jnp.sqrt({curve['terms']})  # of the queries from "
            f"{row.name}{instead}"
        )
    if "terms" not in curve:
        return _no_scores(report, row)
    return (
        f"x = nn.LayerNorm()(x)  # in front of {row.name}: the scores have the usual "
        "scale, and what they are made of has not"
    )


def _no_scores(report: Measured, row: Row) -> str:
    """Where a softmax takes what a layer makes: a router, a gate, a policy."""
    rms = math.sqrt(leaving(report, row.name) or 1.0)
    rms *= front(report, row.name).get("behind", 1.0)
    return f"z = z / {compact(rms)}  # behind {row.name}, in front of the softmax"
