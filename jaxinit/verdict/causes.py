"""What is wrong by itself, and what only follows from it."""

from collections.abc import Sequence

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.verdict import remedies
from jaxinit.verdict.evidence import entering, row_called, weight_gain
from jaxinit.verdict.inputs import judge_blank, judge_inputs
from jaxinit.verdict.memory import judge_memory
from jaxinit.verdict.non_finite import judge_non_finite
from jaxinit.verdict.precision import judge_precision
from jaxinit.verdict.saturation import judge_saturation
from jaxinit.verdict.small_batch_norm import judge_batch_norm
from jaxinit.verdict.steps import judge_steps
from jaxinit.verdict.steps_of_size import judge_sizes
from jaxinit.verdict.tokens import judge_tokens

# What enters a layer has grown if its square is as large; the usual kernels.
_GROWN, _USUAL = 4.0, 3.0
_FOLLOWS = frozenset({"exploding", "vanishing", "seed-unstable"})
_SETTLED = frozenset({"unreached"})


def find_causes(report: Measured, moved: Sequence[Finding]) -> list[Finding]:
    """What is off by itself; where it is, sizes that follow from it are no news.

    Args:
      report: with evidence.
      moved: what grows or shrinks with depth.
    """
    blank = judge_blank(report)
    if blank:
        return blank
    inputs = judge_inputs(report)
    found = [*judge_non_finite(report), *judge_steps(report), *inputs]
    sizes = judge_sizes(report)
    grown = any(
        f.kind == "exploding" and f.metric != "grad_rms" for f in (*sizes, *moved)
    )
    if not inputs:
        found += [
            f for f in judge_saturation(report) if not (grown and _is_fed(report, f))
        ]
    if not (grown and remedies.num_joins(report)):
        found += judge_tokens(report)  # what a stream grows by is common to tokens
    found += [
        *judge_memory(report),
        *judge_batch_norm(report),
        *judge_precision(report),
    ]
    return found or sizes


def unexplained(findings: list[Finding], causes: list[Finding]) -> list[Finding]:
    """The findings that do not follow from a cause."""
    if any(cause.kind == "input" and cause.value == 0 for cause in causes):
        return []  # of zeros nothing tells how a model treats data
    kinds = {cause.kind for cause in causes} - _SETTLED
    if not kinds:
        return findings
    return [f for f in findings if f.kind not in _FOLLOWS | kinds]


def _is_fed(report: Measured, saturated: Finding) -> bool:
    """Whether what saturates behind a usual kernel is large before the kernel."""
    row = row_called(report, saturated.row)
    gain = None if row is None else weight_gain(report, row)
    if row is None or gain is None or gain > _USUAL:
        return False
    return (entering(report, row.name) or 0.0) > _GROWN
