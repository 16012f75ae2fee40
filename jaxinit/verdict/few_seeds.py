"""Too few seeds to tell a healthy network from one that vanishes or explodes."""

import math

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.report.summary import moments
from jaxinit.verdict import remedies
from jaxinit.verdict.currents import TENFOLD, Current
from jaxinit.verdict.evidence import finding

# From as many seeds on their spread is a finding of its own.
ENOUGH = 8
# Standard error of the geometric mean of the second moment, in nats: a factor of 4.5.
LARGEST_ERROR = 1.5
# What a single seed may show that others do not.
_BY_CHANCE = {"vanishing", "exploding", "dead", "rank-collapsed", "seed-unstable"}
# 99% quantiles for 1 to 6 degrees of freedom: few seeds may lie apart by chance.
_CHI_SQUARED = (6.63, 9.21, 11.34, 13.28, 15.09, 16.81)


def judge_few_seeds(report: Measured, currents: list[Current]) -> list[Finding]:
    """Whether the geometric mean over these seeds is not known to a factor of 4.5.

    Squares of a He-initialized ReLU network have log-variance 5/fan_in per layer (Hanin
    and Rolnick 2018), which tells the spread where too few seeds do not.
    """
    error, row = standard_error(report, currents)
    if error <= LARGEST_ERROR or row is None:
        return []
    count = len(report.seeds)
    needed = max(ENOUGH, math.ceil(count * (error / 0.3) ** 2))
    return [
        finding(
            "too-few-seeds",
            "second_moment",
            row,
            error,
            f"{count} seed{'s' if count > 1 else ''} leave{'' if count > 1 else 's'} "
            f"the second moment at {row} uncertain by a factor of "
            f"{compact(math.exp(error))}: whether it vanishes or explodes cannot be "
            "told.",
            _more(report, min(needed, 256)),
        )
    ]


def _more(report: Measured, seeds: int) -> str:
    if report.settings.get("weights") == "present":  # of a module that holds one set
        return f"jaxinit.analyze(lambda rngs: Net(rngs=rngs), x, seeds={seeds})"
    return f"jaxinit.analyze(model, x, seeds={seeds})"


def settled(findings: list[Finding], report: Measured, currents: list[Current]) -> bool:
    """Whether slopes are so steep that more seeds would not change the verdict."""
    error, _ = standard_error(report, currents)
    for current in currents:
        if current.trend is None or current.metric != "second_moment":
            continue
        sure = abs(current.trend.change) - 2 * error / math.log(2)
        if sure >= TENFOLD * current.per_rms:
            return True
    return any(f.kind not in _BY_CHANCE for f in findings)


def standard_error(
    report: Measured, currents: list[Current]
) -> tuple[float, str | None]:
    """The largest standard error of the geometric mean in nats, and its row."""
    count = len(report.seeds)
    forward = [current for current in currents if current.metric == "second_moment"]
    if count >= ENOUGH or not forward or not forward[0].names:
        return 0.0, None
    current = forward[0]
    measured = np.zeros(len(current.names))
    if count > 1:
        surely = math.sqrt((count - 1) / _CHI_SQUARED[count - 2])
        measured = np.nan_to_num(moments(current.logs)[2] * math.log(2)) * surely
    spread = np.maximum(measured, _predicted(report, current))
    worst = int(np.argmax(spread))
    return float(spread[worst] / math.sqrt(count)), current.names[worst]


def _predicted(report: Measured, current: Current) -> np.ndarray:
    """By theory, in nats, for plain ReLU chains; zeros for all others."""
    plain = not remedies.num_joins(report) and not remedies.has_norms(report)
    if not plain or remedies.common_activation(report) != "relu":
        return np.zeros(len(current.names))
    rows = [report.rows[report.layers.index(name)] for name in current.names]
    steps = np.array([5 / max(row.fan_in or 1, 1) for row in rows])
    deviation: np.ndarray = np.sqrt(np.cumsum(steps))
    return deviation
