"""What a verdict can say about a model, and how it says it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from jaxinit.report.text import visible

Kind = Literal[
    "non-finite",
    "input",
    "symmetric",
    "trapped",
    "unreached",
    "exploding",
    "vanishing",
    "time-exploding",
    "time-vanishing",
    "dead",
    "saturated",
    "rank-collapsed",
    "small-batch-norm",
    "dtype-range",
    "loss-at-init",
    "seed-unstable",
    "too-few-seeds",
    "unknown",
    "ok",
]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Every kind of finding, the most severe first. The set is closed."""


class Finding(NamedTuple):
    """One thing that the statistics of a model say, with the number that says it.

    Attributes:
      kind: one of :data:`KINDS`. ``ok`` and ``unknown`` stand alone: the first
        says what was judged and found in order, the second why nothing could be.
      metric: the name of the statistic, as in ``Report.forward`` and its siblings.
      row: the name of the layer where it starts, seen in the direction of flow
        (from the input for activations, from the output for gradients), or None
        if it belongs to no layer.
      seed_share: share of the seeds that show it, between 0 and 1.
      value: the number. For ``exploding`` and ``vanishing`` found by a slope, the
        change of ``log2(metric)`` per layer in the direction of flow: positive is
        growth, for gradients too. Otherwise the median over seeds of the metric.
      stderr: standard error of ``value``, or NaN where it has none.
      message: one sentence with the numbers.
      remedy: what to write instead, or None if there is nothing to do.
    """

    kind: Kind
    metric: str
    row: str | None
    seed_share: float
    value: float
    stderr: float
    message: str
    remedy: str | None

    @property
    def is_problem(self) -> bool:
        """Whether it keeps a model from being called healthy: all but ``ok`` do."""
        return self.kind != "ok"

    def __str__(self) -> str:
        place = f" at {self.row}" if self.row is not None else ""
        remedy = f" Remedy: {self.remedy}" if self.remedy is not None else ""
        return visible(f"{self.kind} ({self.metric}{place}): {self.message}{remedy}")


class UnhealthyError(AssertionError):
    """Raised by ``Report.assert_healthy``.

    Attributes:
      findings: the findings that were not allowed, the most severe first.
    """

    def __init__(self, findings: Sequence[Finding]):
        self.findings = tuple(findings)
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(
            f"the model is not healthy at initialization, "
            f"{len(self.findings)} finding(s):\n{lines}"
        )
