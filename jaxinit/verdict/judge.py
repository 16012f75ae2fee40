"""From statistics to a verdict: what is wrong, where it starts, what to write instead.

Rules look at slopes over depth before they look at sizes, at all seeds before they
look at one, and say ``unknown`` where they cannot look at all.
"""

import dataclasses
import math

import numpy as np

from jaxinit.report.findings import KINDS, Finding
from jaxinit.report.numbers import compact, some
from jaxinit.report.report import Report
from jaxinit.report.summary import moments
from jaxinit.verdict import remedies
from jaxinit.verdict.causes import find_causes, unexplained
from jaxinit.verdict.currents import (
    Current,
    comparable,
    describe,
    find_currents,
    judge_current,
)
from jaxinit.verdict.few_seeds import judge_few_seeds, settled
from jaxinit.verdict.given_weights import NOT_JUDGED, is_given, keeping
from jaxinit.verdict.readout import judge_loss, judge_readout
from jaxinit.verdict.single_layers import MIN_SAMPLES, judge_layers
from jaxinit.verdict.steps import silent, step_remarks
from jaxinit.verdict.zeros import judge_zeros, zero_by_initialization

# Spread over seeds, in decades of the mean square: at 0.5 nine seeds in ten span a
# factor of 44. He-initialized ReLU nets get there at depth/width = 0.27.
UNSTABLE = 0.5
UNSTABLE_MIN_SEEDS = 8
# How well the geometric mean over seeds should be known.
PRECISION = 0.1


def judged(report: Report) -> Report:
    """A copy of the report with its findings, and remarks added to its notes."""
    return dataclasses.replace(
        report,
        findings=judge(report),
        notes=report.notes + remarks(report),
    )


def judge(report: Report) -> tuple[Finding, ...]:
    """Finds what is wrong with a model at initialization.

    Args:
      report: a report; its own findings and notes are not looked at.

    Returns:
      The findings, the most severe first, and signals before gradients among equals.
      A healthy model gets the single finding ``ok``, which says what was judged; one
      that nothing can be said about gets ``unknown``.
    """
    currents = find_currents(report)
    layers = judge_layers(report)
    moved = _moved(report, currents)
    causes = find_causes(report, moved)
    findings = layers + moved
    zeros = [] if silent(report) else judge_zeros(report)
    findings += [f for f in zeros if not _is_echo(report, f, findings)]
    findings += _seed_unstable(report, currents)
    findings = causes + unexplained(findings, causes)
    few = judge_few_seeds(report, currents)
    if few and not is_given(report) and not settled(findings, report, currents):
        findings = few
    if {f.kind for f in findings} <= {"seed-unstable", "unreached"}:
        findings += judge_readout(report) or judge_loss(report)
    if is_given(report):
        kept = [f for f in findings if f.kind not in NOT_JUDGED]
        findings = [keeping(report, f) for f in kept]
    blind = _blind(report, currents)
    if blind and not findings:
        findings = [blind]
    if not findings:
        findings = [_ok(report, currents)]
    return tuple(sorted(findings, key=lambda finding: KINDS.index(finding.kind)))


def _moved(report: Report, currents: list[Current]) -> list[Finding]:
    """What grows or shrinks with depth: of each kind and metric the first."""
    found: dict[tuple[str, str], Finding] = {}
    for current in currents:
        for finding in judge_current(report, current):
            gradient = finding.metric == "grad_rms"
            found.setdefault((finding.kind, str(gradient)), finding)
    return list(found.values())


def remarks(report: Report) -> tuple[str, ...]:
    """What a reader should know that is no trouble of the model's.

    Args:
      report: a report.

    Returns:
      Sentences for the report's notes.
    """
    notes = step_remarks(report)
    zero = zero_by_initialization(report)
    if zero:
        names = some([report.rows[i].name for i in zero])
        notes.append(
            f"Zero by initialization: {names}. The output is exactly zero because a "
            "parameter is, and so are the gradients of what comes before it in the "
            "same branch until the first update."
        )
    few = [
        row.name
        for row in report.rows
        if row.kind == "layer" and row.activation and row.samples < MIN_SAMPLES
    ]
    if few and "dead" in report.forward:
        notes.append(
            f"Dead channels were not judged at {some(few)}: fewer than {MIN_SAMPLES} "
            "values per channel. Use a larger batch."
        )
    notes += _seeds_needed(report)
    return tuple(notes)


def _is_echo(report: Report, zero: Finding, others: list[Finding]) -> bool:
    """Whether a true zero follows from a trouble that lies before it in the flow."""
    order = {row.name: i for i, row in enumerate(report.rows)}
    place = order[zero.row or ""]
    for other in others:
        if other.kind == "dead" or other.kind == "non-finite":
            return True
        same = (other.metric == "grad_rms") == (zero.metric == "grad_rms")
        if other.kind == "vanishing" and same and other.row is not None:
            start = order[other.row]
            return start >= place if zero.metric == "grad_rms" else start <= place
    return False


def _seed_unstable(report: Report, currents: list[Current]) -> list[Finding]:
    num_seeds = len(report.seeds)
    if num_seeds < UNSTABLE_MIN_SEEDS:
        return []
    for current in currents:
        # In decades of the mean square: twice those of an rms.
        spread = _spread(current) * 2 / current.per_rms
        own = np.array([_own_spread(report, name) for name in current.names])
        if current.metric == "grad_rms":
            own = np.hypot(own, _probe_spread(report))
        # Two standard errors of the deviation itself, at this number of seeds.
        surely = spread * (1 - 2 / math.sqrt(2 * (num_seeds - 1)))
        beyond = surely > np.sqrt(UNSTABLE**2 + own**2)
        if not beyond.any():
            continue
        where = int(np.argmax(beyond))
        worst = int(np.nanargmax(np.where(beyond, spread, np.nan)))
        what = "gradient's" if current.metric == "grad_rms" else "signal's"
        factor = compact(10 ** (3.29 * spread[worst]))
        return [
            Finding(
                kind="seed-unstable",
                metric=current.metric,
                row=current.names[where],
                seed_share=1.0,
                value=float(spread[worst]),
                stderr=float(spread[worst] / math.sqrt(2 * (num_seeds - 1))),
                message=(
                    f"The {what} mean square depends on the seed: at "
                    f"{current.names[worst]} nine seeds in ten span a factor of "
                    f"{factor}, and from {current.names[where]} on "
                    f"the deviation is above {UNSTABLE} decades."
                ),
                remedy=remedies.WIDER,
            )
        ]
    return []


def _seeds_needed(report: Report) -> list[str]:
    """The advice on the number of seeds, from the measured spread."""
    num_seeds = len(report.seeds)
    forward = [
        current
        for current in find_currents(report)
        if current.metric == "second_moment"
    ]
    if num_seeds < 2 or is_given(report) or not forward or not forward[0].names:
        return []
    spread = _spread(forward[0]) * math.log(10)
    if np.isnan(spread).all():
        return []
    worst = int(np.nanargmax(spread))
    # A relative error of the geometric mean is an error of the natural logarithm.
    needed = math.ceil((spread[worst] / PRECISION) ** 2)
    if needed <= num_seeds:
        return []
    error = math.expm1(spread[worst] / math.sqrt(num_seeds))
    return [
        f"{num_seeds} seeds give the geometric mean of the second moment at "
        f"{forward[0].names[worst]} a standard error of {error:.0%}; "
        f"{PRECISION:.0%} takes {needed} seeds."
    ]


def _blind(report: Report, currents: list[Current]) -> Finding | None:
    """Says so if there is nothing to judge."""
    if not report.rows:
        why = "the report has no rows: no parameter was seen to meet data"
        remedy = (
            "jaxinit.analyze(model, *inputs)  # with the inputs of the forward pass"
        )
    elif not comparable(report):
        why = "no row is a layer"
        remedy = "jaxinit.analyze(model, *inputs)  # of a model with parameters"
    else:
        dark = [
            current.metric
            for current in currents
            if not np.isfinite(current.logs).any() and not _all_zero(report, current)
        ]
        if currents and not dark:
            return None
        names = " and ".join(dark) or "second_moment"
        why = f"{names} has no finite value at any layer"
        remedy = "report.forward, report.backward  # holds what was measured"
    return Finding(
        kind="unknown",
        metric="",
        row=None,
        seed_share=1.0,
        value=math.nan,
        stderr=math.nan,
        message=f"Nothing could be judged: {why}.",
        remedy=remedy,
    )


def _all_zero(report: Report, current: Current) -> bool:
    group = report.backward if current.metric == "grad_rms" else report.forward
    return bool((group[current.metric][:, comparable(report)] == 0).any())


def _ok(report: Report, currents: list[Current]) -> Finding:
    slopes = [current.trend for current in currents if current.trend is not None]
    facts = "; ".join(describe(current) for current in currents)
    if "grad_rms" not in report.backward:
        facts += "; gradients were not measured"
    return Finding(
        kind="ok",
        metric="second_moment",
        row=None,
        seed_share=1.0,
        value=slopes[0].slope if slopes else math.nan,
        stderr=slopes[0].stderr if slopes else math.nan,
        message=f"{facts[:1].upper()}{facts[1:]}.",
        remedy=None,
    )


def _spread(current: Current) -> np.ndarray:
    """Standard deviation over seeds, in decades of the current's metric."""
    return moments(current.logs)[2] * math.log10(2)


def _own_spread(report: Report, name: str) -> float:
    """Decades by which the mean square of a layer's own few channels must vary.

    The mean of n squared normals has log-variance trigamma(n/2), about
    ``2/n + 2/n^2`` for n >= 2 (4.93 at n = 1).
    """
    row = next(row for row in report.rows if row.name == name)
    n = max(row.channels, 1)
    variance = math.pi**2 / 2 if n == 1 else 2 / n + 2 / n**2
    return math.sqrt(variance) / math.log(10)


def _probe_spread(report: Report) -> float:
    """Decades by which the mean square of the probe that gradients start from varies.

    It is drawn anew for each seed, and is one number where the output is.
    """
    relative = report.backward.get("grad_rel")
    if report.mode != "probe" or relative is None:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.log10(report.backward["grad_rms"] / relative)
    known = np.isfinite(sizes)
    first = np.argmax(known, axis=1)
    sizes = sizes[np.arange(len(sizes)), first][known.any(axis=1)]
    return 2 * float(np.std(sizes, ddof=1)) if len(sizes) > 1 else 0.0
