"""One place at which the signal's size jumps: a kernel, or what lies before it.

A kernel with a mean square of g/fan_in multiplies a square by g. The evidence knows
what enters each kernel, so that a jump belongs either to a kernel (from what enters
to what leaves) or to the operations in front of it (from what leaves the layers
before to what enters).
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxinit.report.findings import Finding, Kind
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.verdict import operations, remedies
from jaxinit.verdict.evidence import (
    ORDINARY,
    curves,
    entering,
    fan_in,
    finding,
    front,
    has_role,
    leaving,
    place_of,
    weight_gain,
)
from jaxinit.verdict.single_layers import DEAD_CHANNELS

# Schemes lie between 1/3 (LeCun's uniform of PyTorch) and 2.8 (tanh's gain of 5/3,
# squared).
LARGEST, SMALLEST = 6.0, 1 / 8
# A jump of the second moment that no kernel explains: tenfold in rms.
JUMP = 100.0
# Dropout of rate 0.9 multiplies a square by ten, behind a ReLU's half by five.
DROPPED = 5.0
# Where a few coordinates meet a wide layer, Glorot's law is usual: 2 n / (n + width).
COORDINATES, GLOROT = 8, 1 / 8
# A mean over n positions divides by n.
FALL = 1e-4
# What a kernel has multiplied counts if it is still there in front of the next ones,
# where an activation has halved it, or has made a stream so many times as large.
PERSISTS, DROWNED = 3.0, 12.0


def judge_sizes(report: Measured) -> list[Finding]:
    """The first layer at which the signal's size jumps, and the jump stays."""
    if not report.evidence.get("fronts"):
        return []
    rows = [row for row in report.rows if front(report, row.name) and row.steps == 1]
    followers: dict[str, list[Row]] = {}
    for row in rows:
        for name in dict.fromkeys(front(report, row.name)["after"]):
            followers.setdefault(name, []).append(row)
    for row in rows:
        behind = followers.get(row.name, [])
        found = _at_kernel(report, row, behind) or _in_front(report, row)
        if found is not None:
            return [found]
    return []


def _at_kernel(report: Measured, row: Row, followers: Sequence[Row]) -> Finding | None:
    gain = weight_gain(report, row)
    before, after = entering(report, row.name), leaving(report, row.name)
    if not gain or not before or not after or row.operation == "gather":
        return None
    # Judged by what they feed, and a table that is read out again by its logits.
    if has_role(report, row, "query", "key", "gain", "embedding"):
        return None
    ratio = after / before
    sizes = [s for s in (entering(report, r.name) for r in followers) if s]
    last = not followers
    kept = max(sizes, default=after) / before
    if gain > LARGEST and ratio > LARGEST:
        behind = front(report, row.name).get("behind", 1.0)
        if last and math.sqrt(after) * behind > PERSISTS:
            return _kernel(report, row.name, gain, ratio, last=True)
        if not last and (kept > PERSISTS or _drowns(report, row)):
            return _kernel(report, row.name, gain, ratio, last=False)
    few = not front(report, row.name)["after"] and fan_in(report, row) <= COORDINATES
    smallest = SMALLEST * (GLOROT if few else 1.0)
    small = not last and max(gain, ratio, kept) < smallest
    small = small and not _makes_up(report, row, after)
    if small and not remedies.num_joins(report) and not remedies.has_norms(report):
        return _kernel(report, row.name, gain, ratio, last=False)
    return None


def _makes_up(report: Measured, row: Row, after: float) -> bool:
    """Whether a small kernel takes back what the operations in front of it multiply."""
    facts = front(report, row.name)
    sizes = [leaving(report, name) for name in facts["after"]]
    fed = [report.evidence["inputs"][i] for i in facts.get("inputs", ())]
    sizes += [x["mean"] ** 2 + x["std"] ** 2 for x in fed]
    before = sum(size for size in sizes if size)
    return bool(before) and after / before >= SMALLEST


def _drowns(report: Measured, row: Row) -> bool:
    """Whether a join that the row ends a branch of is far larger than its stream."""
    for join in report.rows:
        if join.kind == "join" and row.name in join.branch:
            stream = sum(leaving(report, n) or 0.0 for n in join.skip)
            total = leaving(report, join.name)
            if stream and total and total / stream > DROWNED:
                return True
    return False


def _in_front(report: Measured, row: Row) -> Finding | None:
    after = {n: place_of(report, n) for n in front(report, row.name)["after"]}
    names = [name for name, place in after.items() if place is not None]
    gain, inside = weight_gain(report, row), entering(report, row.name)
    sizes = [leaving(report, name) for name in names]
    before = sum(size for size in sizes if size)
    if not gain or not inside or not before or not all(sizes):
        return None
    if any(report.rows[i].steps > 1 for i in after.values() if i is not None):
        return None
    ratio = inside / before
    if ratio < 1 and any(_is_dead(report, name) for name in names):
        return None
    # Kernels may be small, or large, to make up for the operation.
    entered = [entering(report, name) for name in names]
    start = max((size for size in entered if size), default=before)
    dropped = front(report, row.name).get("random")
    if ratio > 1 and inside < ORDINARY and not dropped:
        return None  # a norm, noise or positions, behind what is small
    most = DROPPED if dropped else JUMP
    if most > inside / start > FALL:
        return None
    by = front(report, row.name)["by"]
    pools = {"reduce_sum", "reduce_window_sum", "dot_general"} & set(by)
    if FALL < ratio < most or (ratio < FALL and pools):
        return None
    gates = [name for name in names if ratio < 1 and _is_gate(report, name)]
    if gates:
        return _closed(report, gates[0], row.name, ratio)
    last = names[-1]
    verb = "multiplies" if ratio > 1 else "shrinks"
    return finding(
        "exploding" if ratio > 1 else "vanishing",
        "second_moment",
        row.name,
        math.log2(ratio),
        f"The second moment changes by a factor of {compact(ratio)} between {last} and "
        f"{row.name}, where no weight lies: "
        f"{operations.named(report, row.name)} {verb} "
        "the signal.",
        operations.mend(report, row.name, ratio)
        or f"h = h * {compact(1 / math.sqrt(ratio))}  # between {last} and {row.name}",
    )


def _is_gate(report: Measured, name: str) -> bool:
    """Whether a layer makes a gate that is closed, by nothing but its bias."""
    return any(
        c["gate"] and c["row"] == name and c["mean"] < 0 and c["high"] == 0
        for c in curves(report, "logistic")
    )


def _closed(report: Measured, gate: str, behind: str, ratio: float) -> Finding:
    return finding(
        "saturated",
        "slope",
        gate,
        ratio,
        f"The gate that {gate} makes is closed: it lets {compact(ratio)} of the second "
        f"moment through to {behind}, and no skip leads around it.",
        "bias_init=jaxinit.zeros  # of the gate: it starts half open",
    )


def _is_dead(report: Measured, name: str) -> bool:
    """Whether little leaves a layer since most of its channels are dead."""
    dead = report.forward.get("dead")
    if dead is None:
        return False
    return bool(np.median(dead[:, report.layers.index(name)]) >= DEAD_CHANNELS)


def _kernel(
    report: Measured, name: str, gain: float, ratio: float, *, last: bool
) -> Finding:
    kind: Kind = "exploding" if gain > 1 else "vanishing"
    if last:
        kind = "loss-at-init"
    row = report.rows[report.layers.index(name)]
    return finding(
        kind,
        "second_moment",
        name,
        math.log2(ratio),
        f"The second moment changes by a factor of {compact(ratio)} at {name} alone: "
        f"its kernel has a mean square of {compact(gain)}/fan_in, and what keeps the "
        "signal lies between 1 and 2.",
        "kernel_init=jaxinit.lecun_normal()"
        if last or row.activation is None
        else remedies.for_activation(row.activation),
    )
