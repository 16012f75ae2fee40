"""What came of trying remedies: which mend, which help, and what is printed of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxinit.report.findings import KINDS, Finding, Kind
from jaxinit.report.remedy import Remedy
from jaxinit.report.report import Report
from jaxinit.signal.remedies.candidate import Candidate
from jaxinit.verdict.currents import TENFOLD, find_currents

# The share of the change over depth that a verdict allows, for few seeds.
_MARGIN = 0.7
# What few seeds are always found to have.
_OF_FEW_SEEDS = frozenset({"too-few-seeds"})


class Tried(NamedTuple):
    """A candidate and what came of it.

    Attributes:
      candidate: what was tried.
      scheme: the scheme that its text makes, the user's own where there is none.
      report: the analysis with it.
    """

    candidate: Candidate
    scheme: Any
    report: Report

    @property
    def kind(self) -> Kind:
        return verdict(self.report)

    @property
    def surely_mends(self) -> bool:
        """Whether it is healthy by a margin, which other seeds will not use up."""
        return self.kind == "ok" and all(
            current.trend is None
            or abs(current.trend.change) < _MARGIN * TENFOLD * current.per_rms
            for current in find_currents(self.report)
        )


def verdict(report: Report) -> Kind:
    """The verdict, but for what follows from having few seeds."""
    kinds = [f.kind for f in report.findings if f.kind not in _OF_FEW_SEEDS]
    return min(kinds, key=KINDS.index, default="ok")


def ranked(report: Report, tried: Sequence[Tried]) -> tuple[Remedy, ...]:
    """Remedies, the best first: those that mend surely; named; that mend barely; help.

    What mends barely does so on some seeds, and does not on others.
    """
    before = verdict(report)
    spread = spreads(report)
    remedies = {
        id(one): Remedy(
            line=one.candidate.line,
            scheme=one.candidate.scheme,
            change=_change(one.candidate),
            tried=True,
            before=before,
            after=one.kind,
            seeds=len(one.report.seeds),
            spread_before=spread,
            spread_after=spreads(one.report),
        )
        for one in tried
    }
    mending = [one for one in tried if one.surely_mends]
    better = helping(report, tried)
    listed = _refuted(tried) | {_code(one.candidate.line) for one in mending + better}
    return (
        *(remedies[id(one)] for one in mending),
        *(r for r in _as_written(report) if _code(r.line) not in listed),
        *(remedies[id(one)] for one in better),
    )


def helping(report: Report, tried: Sequence[Tried]) -> list[Tried]:
    """Those that leave a less severe verdict, the least severe first."""
    before = KINDS.index(verdict(report))
    better = [
        one for one in tried if not one.surely_mends and KINDS.index(one.kind) > before
    ]
    return sorted(better, key=lambda one: -KINDS.index(one.kind))


def spreads(report: Report) -> tuple[float, float]:
    """Decades over which the layers' second moments and gradients' norms spread."""
    found = {}
    for current in find_currents(report):
        known = current.logs[np.isfinite(current.logs).all(axis=1)]
        if known.size:
            median = np.median(known, axis=0)
            found[current.metric] = float(np.ptp(median) * np.log10(2))
    return (
        found.get("second_moment", float("nan")),
        found.get("grad_rms", float("nan")),
    )


def named(report: Report, found: Sequence[Candidate]) -> Report:
    """The report with remedies that nobody has tried."""
    before, spread, nan = verdict(report), spreads(report), float("nan")
    remedies = [
        Remedy(
            candidate.line,
            candidate.scheme,
            _change(candidate),
            False,
            before,
            None,
            0,
            spread,
            (nan, nan),
        )
        for candidate in found
    ]
    return dataclasses.replace(report, remedies=(*_as_written(report), *remedies))


def _as_written(report: Report) -> list[Remedy]:
    """What the findings name: changes of the model that nobody tries."""
    nan = float("nan")
    lines = dict.fromkeys(f.remedy for f in report.findings if f.remedy is not None)
    before, spread = verdict(report), spreads(report)
    return [
        Remedy(line, None, "code", False, before, None, 0, spread, (nan, nan))
        for line in lines
    ]


def _change(candidate: Candidate) -> Literal["initializers", "inputs", "code"]:
    if candidate.simulates:
        return "code"
    return "inputs" if candidate.scheme is None else "initializers"


def told(
    findings: tuple[Finding, ...],
    remedies: Sequence[Remedy],
    tried: Sequence[Tried],
) -> tuple[Finding, ...]:
    """The findings with the best remedy, or with their own if it was not refuted."""
    best = remedies[0] if remedies else None
    if best is not None and best.mends:
        return tuple(
            f._replace(remedy=best.line if i else best.printed)
            for i, f in enumerate(findings)
        )
    refuted = _refuted(tried)
    found = []
    for f in findings:
        if f.remedy is not None and _code(f.remedy) in refuted:
            instead = f"{f.remedy}; tried, does not mend all"
            f = f._replace(remedy=instead if best is None else best.printed)
        found.append(f)
    return tuple(found)


def _code(line: str) -> str:
    return line.partition("  # ")[0]


def _refuted(tried: Sequence[Tried]) -> set[str]:
    """Lines that were tried. What only stood in for a change of code refutes none."""
    return {_code(t.candidate.line) for t in tried if not t.candidate.simulates}
