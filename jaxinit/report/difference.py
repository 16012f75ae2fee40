"""What changed from one report to another, and whether seeds alone could explain it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import some
from jaxinit.report.summary import log10, moments
from jaxinit.report.text import visible

# Of all rows together, reports of one and the same model differ this rarely.
_RARELY = 0.01

# Rounding on another machine or by another compiler is no change.
_TINY = math.log10(1.001)

_METRICS = ("second_moment", "grad_rms")


class Change(NamedTuple):
    """A metric of one row, before and after.

    Attributes:
      row: the row's name.
      metric: the metric's name.
      factor: geometric mean after over that before.
      stderr: standard error of the factor's decimal logarithm. Where both reports
        drew from the same keys, that of the differences seed by seed.
    """

    row: str
    metric: str
    factor: float
    stderr: float

    def __str__(self) -> str:
        spread = 10 ** (2 * self.stderr)
        return (
            f"{self.row}: {self.metric} x {self.factor:.3g} "
            f"(95%: {self.factor / spread:.3g} .. {self.factor * spread:.3g})"
        )


@dataclass(frozen=True)
class Difference:
    """What changed from one report to another. ``print`` it.

    Attributes:
      verdicts: before and after.
      added: rows that only the second has.
      removed: rows that only the first has.
      changes: metrics that changed by more than seeds explain, the largest first.
      new_findings: problems at a kind and row that the first report has not.
      gone_findings: problems of the first report that the second has not.
    """

    verdicts: tuple[str, str]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    new_findings: tuple[Finding, ...]
    gone_findings: tuple[Finding, ...]

    @property
    def changed(self) -> bool:
        """Whether anything did."""
        parts = (self.added, self.removed, self.changes)
        findings = (self.new_findings, self.gone_findings)
        return any(map(bool, (*parts, *findings))) or len(set(self.verdicts)) > 1

    def __str__(self) -> str:
        return "\n".join(map(visible, self._lines()))

    def _lines(self) -> Iterator[str]:
        before, after = self.verdicts
        yield f"Verdict: {before}" + (
            f" -> {after}" if before != after else ", as before"
        )
        for sign, findings in (("+", self.new_findings), ("-", self.gone_findings)):
            yield from (f"{sign} {finding}" for finding in findings)
        if self.added:
            yield f"New rows: {some(self.added)}"
        if self.removed:
            yield f"Rows gone: {some(self.removed)}"
        yield from (f"  {change}" for change in self.changes[:20])
        if len(self.changes) > 20:
            yield f"  and {len(self.changes) - 20} more changes"
        if not self.changed:
            yield "Nothing changed by more than seeds explain."


def difference(before: Measured, after: Measured) -> Difference:
    """What changed from ``before`` to ``after``.

    Args:
      before: a report.
      after: another, of the same model or of one much like it.

    Returns:
      The difference. A row counts as changed if the geometric mean over seeds differs
      by more than the seeds explain: Welch's test, or that of the differences where
      both drew from the same keys, at a level of 1% for all rows together.
    """
    common = [name for name in before.layers if name in set(after.layers)]
    found = [
        (change, freedom)
        for metric in _METRICS
        for change, freedom in _changes(before, after, metric, common)
    ]
    z = NormalDist().inv_cdf(1 - _RARELY / 2 / max(len(found), 1))
    changes = [
        change
        for change, freedom in found
        if abs(math.log10(change.factor))
        > max(_student(z, freedom) * change.stderr, _TINY)
    ]
    changes.sort(key=lambda change: -abs(math.log10(change.factor)))
    old, new = _problems(before), _problems(after)
    return Difference(
        verdicts=(before.verdict, after.verdict),
        added=tuple(name for name in after.layers if name not in set(before.layers)),
        removed=tuple(name for name in before.layers if name not in set(common)),
        changes=tuple(changes),
        new_findings=tuple(f for place, f in new.items() if place not in old),
        gone_findings=tuple(f for place, f in old.items() if place not in new),
    )


def _changes(
    before: Measured, after: Measured, metric: str, common: list[str]
) -> Iterator[tuple[Change, float]]:
    """The change of each row that both have, and its degrees of freedom."""
    logs = []
    for report in (before, after):
        values = (report.forward | report.backward).get(metric)
        if values is None:
            return
        places = {name: i for i, name in enumerate(report.layers)}
        logs.append(log10(values[:, [places[name] for name in common]]))
    first, second = logs
    if _paired(before, after):
        mean, stderr, _ = moments(second - first)
        freedom = np.full(len(common), len(first) - 1.0)
    else:
        (m1, e1, _), (m2, e2, _) = moments(first), moments(second)
        mean, stderr = m2 - m1, np.hypot(e1, e2)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = e1**4 / (len(first) - 1) + e2**4 / (len(second) - 1)
            freedom = np.where(parts > 0, stderr**4 / parts, np.inf)
    for name, m, e, f in zip(common, mean, stderr, freedom, strict=True):
        if math.isfinite(m) and math.isfinite(e):
            yield Change(name, metric, float(10**m), float(e)), float(f)


def _paired(before: Measured, after: Measured) -> bool:
    return (
        before.key_impl == after.key_impl
        and np.array_equal(before.key_data, after.key_data)
        and np.array_equal(before.seeds, after.seeds)
    )


def _student(z: float, freedom: float) -> float:
    """Student's quantile from the normal one.

    References:
      Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.
    """
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (k + 1) for k, term in enumerate(terms))


def _problems(report: Measured) -> dict[tuple[str, str | None], Finding]:
    return {(f.kind, f.row): f for f in report.findings if f.is_problem}
