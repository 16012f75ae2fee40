"""Exact zeros: by design, by a broken path, or by a batch that is too small."""

import math
from collections.abc import Iterable

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import some
from jaxinit.verdict import remedies
from jaxinit.verdict.currents import comparable
from jaxinit.verdict.evidence import is_added

# A gradient that is exactly zero in a tenth of the seeds is no accident.
MIN_SEED_SHARE = 0.1


def judge_zeros(report: Measured) -> list[Finding]:
    """The first layer whose output is exactly zero, or the last whose gradient is."""
    return _zero_output(report) or _zero_gradient(report) or _no_gradient(report)


def zero_by_initialization(report: Measured) -> list[int]:
    """Rows whose output is exactly zero in every seed because a parameter is.

    The parameter is one that multiplies: a row whose only zero parameters are added
    is not counted. Zeros are benign where the
    rest of the model goes on: at the end of a residual branch, or at the readout.
    They are not if most of the model's weights are behind them.
    """
    rows = [
        i
        for i, row in enumerate(report.rows)
        if row.kind == "layer" and is_zero(report, i) and _has_zero_weight(report, row)
    ]
    alive = sum(not is_zero(report, i) for i in comparable(report))
    return rows if alive >= len(set(rows) & set(comparable(report))) else []


def is_zero(report: Measured, i: int) -> bool:
    """Whether the output of row ``i`` is exactly zero in every seed."""
    moment = report.forward.get("second_moment")
    return moment is not None and bool((moment[:, i] == 0).all())


def _zero_output(report: Measured) -> list[Finding]:
    benign = set(zero_by_initialization(report))
    silent = _behind(benign, report)
    for i, row in enumerate(report.rows):
        if row.kind != "layer" or i in benign or i in silent or not is_zero(report, i):
            continue
        if report.settings.get("batch_size") == 1:
            message = (
                f"The output of {row.name} is exactly zero, and the batch holds one "
                "sample: a norm that subtracts the batch's mean leaves nothing of it."
            )
            remedy: str | None = "analyze with a batch of at least 2 samples"
        elif _has_zero_weight(report, row):
            message = (
                f"The output of {row.name} is exactly zero in every seed, because its "
                "weights are, and so are most layers after it: nothing can learn."
            )
            remedy = remedies.for_activation(remedies.common_activation(report))
        else:
            message = (
                f"The output of {row.name} is exactly zero in every seed, though its "
                "weights are not: nothing reaches it."
            )
            remedy = None
        return [
            Finding(
                kind="dead",
                metric="second_moment",
                row=row.name,
                seed_share=1.0,
                value=0.0,
                stderr=math.nan,
                message=message,
                remedy=remedy,
            )
        ]
    return []


def _zero_gradient(report: Measured) -> list[Finding]:
    gradient = report.backward.get("grad_rms")
    if gradient is None:
        return []
    blocked_by = [
        i for i, row in enumerate(report.rows) if _has_zero_weight(report, row)
    ]
    share = (gradient == 0).mean(axis=0)
    for i in reversed(range(len(report.rows))):
        row = report.rows[i]
        explained = any(j > i for j in blocked_by)
        if row.kind != "layer" or share[i] < MIN_SEED_SHARE or explained:
            continue
        return [
            Finding(
                kind="vanishing",
                metric="grad_rms",
                row=row.name,
                seed_share=float(share[i]),
                value=0.0,
                stderr=math.nan,
                message=(
                    f"The gradient at {row.name} is exactly zero in {share[i]:.0%} of "
                    "the seeds (a true zero, not an underflow), and no parameter is "
                    "zero that would explain it."
                ),
                remedy=(
                    'jaxinit.tap(x, "name")  # follow the value: stop_gradient, '
                    "argmax, a constant softmax or a dead layer cuts it"
                ),
            )
        ]
    return []


def _no_gradient(report: Measured) -> list[Finding]:
    """The last layer that runs but that nothing differentiable leads to."""
    gradient = report.backward.get("grad_rms")
    moment = report.forward.get("second_moment")
    if gradient is None or moment is None or np.isnan(gradient).all():
        return []
    ran = np.isfinite(moment).any(axis=0)
    cut = [
        row.name
        for i, row in enumerate(report.rows)
        if row.kind == "layer" and ran[i] and np.isnan(gradient[:, i]).all()
    ]
    if not cut:
        return []
    goal = "the model's output" if report.mode == "probe" else "the loss"
    return [
        Finding(
            kind="vanishing",
            metric="grad_rms",
            row=cut[-1],
            seed_share=1.0,
            value=0.0,
            stderr=math.nan,
            message=(
                f"No gradient reaches {some(cut[::-1])}: {goal} does not depend on it, "
                "or only through what has no derivative."
            ),
            remedy=(
                "jax.lax.stop_gradient, argmax and integer casts cut the path; if that "
                'is meant, report.assert_healthy(allow=["vanishing"])'
            ),
        )
    ]


def _behind(benign: Iterable[int], report: Measured) -> set[int]:
    """Zero rows that directly follow a row that is zero by initialization."""
    found: set[int] = set()
    for start in benign:
        for i in range(start + 1, len(report.rows)):
            if not is_zero(report, i):
                break
            found.add(i)
    return found


def _has_zero_weight(report: Measured, row: Row) -> bool:
    norms = report.weights.get("weight_norm")
    if norms is None:
        return False
    return any(
        bool((norms[:, report.params.index(name)] == 0).all())
        for name in row.params
        if name in report.params and not is_added(report, name)
    )
