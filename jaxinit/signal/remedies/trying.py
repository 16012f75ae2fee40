"""Tries remedies: analyzes the model again with each, on few seeds."""

import dataclasses
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._progress import Bar
from jaxinit.report.findings import KINDS, Finding, Kind
from jaxinit.report.remedy import Remedy
from jaxinit.report.report import Report
from jaxinit.signal.inputs import Fed
from jaxinit.signal.measure import measure
from jaxinit.signal.prepare import Prepared
from jaxinit.signal.remedies.by_cause import candidates
from jaxinit.signal.remedies.candidate import Candidate, evaluated
from jaxinit.verdict.currents import TENFOLD, flows

How = Literal["tried", "named", "none"]
HOWS: tuple[How, ...] = ("tried", "named", "none")

NUM_SEEDS = 4
# Remedies that one analysis tries at most.
MOST = 8
# Seconds of the processors for so many, or as many as the analysis itself took, after
# which no other is tried.
_LEAST_SECONDS = 20.0
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
            flow.trend is None
            or not flow.trend.is_significant
            or abs(flow.trend.change) < _MARGIN * TENFOLD * flow.per_rms
            for flow in flows(self.report)
        )


def verdict(report: Report) -> Kind:
    """The verdict, but for what follows from having few seeds."""
    kinds = [f.kind for f in report.findings if f.kind not in _OF_FEW_SEEDS]
    return min(kinds, key=KINDS.index, default="ok")


def check_remedies(remedies: Any) -> None:
    """Raises a ValueError unless it says how remedies are to be found."""
    if remedies not in HOWS:
        raise ValueError(
            f"`remedies` must be one of {', '.join(map(repr, HOWS))}, got "
            f"{remedies!r:.80}."
        )


def with_remedies(
    prepared: Prepared, report: Report, scheme: Any, how: How, bar: Bar
) -> Report:
    """The report with remedies for its findings.

    Remedies are tried one after the other until one mends the model. Those that only
    change weights or inputs run the programs of the analysis, which are compiled.

    Args:
      prepared: what was measured.
      report: what was found.
      scheme: the user's scheme.
      how: whether they are tried.
      bar: is told of them.

    Returns:
      A copy with ``remedies``, the best first. A remedy that mends takes the place
      of what the findings named without trying.
    """
    if how == "none" or report.verdict == "ok" or report.interrupted:
        return report
    own = None if scheme is None else "scheme"
    found = [candidate.over(own) for candidate in candidates(report)]
    if how == "named" or jax.process_count() > 1:
        return _named(report, found)
    start = time.perf_counter()
    tried: list[Tried] = []
    interrupted: tuple[str, ...] = ()
    try:
        for one in attempts(prepared, report, scheme, found, MOST, bar):
            tried.append(one)
            if one.surely_mends:
                break
    except KeyboardInterrupt:
        interrupted = ("interrupted while remedies were tried",)
    seconds = round(time.perf_counter() - start, 3)
    cost = {"remedies_tried": len(tried), "remedy_seconds": seconds}
    remedies = ranked(report, tried)
    return dataclasses.replace(
        report,
        findings=_told(report.findings, remedies, tried),
        remedies=remedies,
        notes=report.notes + interrupted,
        settings=report.settings | cost,
    )


def _told(
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
    refuted = _codes(tried)
    told = []
    for f in findings:
        if f.remedy is not None and _code(f.remedy) in refuted:
            instead = f"{f.remedy}; tried, does not mend all"
            f = f._replace(remedy=instead if best is None else best.printed)
        told.append(f)
    return tuple(told)


def _code(line: str) -> str:
    return line.partition("  # ")[0]


def _codes(tried: Sequence[Tried]) -> set[str]:
    return {_code(one.candidate.line) for one in tried}


def attempts(
    prepared: Prepared,
    report: Report,
    scheme: Any,
    found: Sequence[Candidate],
    most: int,
    bar: Bar,
) -> Iterator[Tried]:
    """Tries candidates in their order, then with those that help what is left.

    Args:
      prepared: what was measured.
      report: what was found.
      scheme: the user's scheme.
      found: the candidates.
      most: how many are tried at most.
      bar: is told of them.
    """
    settings = report.settings
    took = settings.get("compile_seconds", 0.0) + settings.get("run_seconds", 0.0)
    end = time.process_time() + max(_LEAST_SECONDS, took) * most / MOST
    own = None if scheme is None else "scheme"
    done: list[Tried] = []
    seen: set[tuple[str | None, bool]] = set()
    waiting = list(found)
    while len(done) < most and time.process_time() < end:
        if not waiting:
            waiting = [c.over(own) for c in _next(report, done)]
        waiting = [c for c in waiting if (c.scheme, c.normalize) not in seen]
        if not waiting:
            return
        candidate = waiting.pop(0)
        seen.add((candidate.scheme, candidate.normalize))
        one = attempt(prepared, report, scheme, candidate, bar)
        if one is not None:
            done.append(one)
            yield one


def attempt(
    prepared: Prepared,
    report: Report,
    scheme: Any,
    candidate: Candidate,
    bar: Bar,
    seeds: Sequence[int] | None = None,
) -> Tried | None:
    """Analyzes the model with a candidate; ``None`` if it does not apply.

    Args:
      prepared: what was measured.
      report: what was found, and how it was measured.
      scheme: the user's scheme.
      candidate: what to try.
      bar: is told of it.
      seeds: on which seeds, by default few.
    """
    bar.phase(f"trying {candidate.line.split('  # ')[0]:.60}")
    settings = report.settings
    few = NUM_SEEDS
    if settings["strategy"] == "vmap" or settings["devices"] > 1:
        few = max(few, int(settings["chunk"]))  # of the program that is compiled
    if seeds is None:
        seeds = [int(seed) for seed in report.seeds[:few]]
    options = prepared.options._replace(
        seeds=seeds,
        strategy=settings["strategy"],
        chunk=int(settings["chunk"]) if settings["strategy"] == "vmap" else None,
        time_budget=None,
        checkpoint=None,
        predict=False,
        metrics=(),
    )
    fed = _normalized(prepared.fed) if candidate.normalize else prepared.fed
    try:
        made = scheme
        if candidate.scheme is not None:
            made = evaluated(candidate.scheme, scheme)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = measure(prepared._replace(options=options, fed=fed), made, bar)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        return None  # a law that does not take this shape, a rule that fits nothing
    return Tried(candidate, made, again)


def ranked(report: Report, tried: Sequence[Tried]) -> tuple[Remedy, ...]:
    """Remedies, the best first: those that mend, what is named, what helps."""
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
    helping = _helping(report, tried)
    return (
        *(remedies[id(one)] for one in mending),
        *(r for r in _as_written(report) if _code(r.line) not in _codes(tried)),
        *(remedies[id(one)] for one in helping),
    )


def spreads(report: Report) -> tuple[float, float]:
    """Decades over which the layers' second moments and gradients' norms spread."""
    found = {}
    for flow in flows(report):
        known = flow.logs[np.isfinite(flow.logs).all(axis=1)]
        if known.size:
            median = np.median(known, axis=0)
            found[flow.metric] = float(np.ptp(median) * np.log10(2))
    return (
        found.get("second_moment", float("nan")),
        found.get("grad_rms", float("nan")),
    )


def _named(report: Report, found: Sequence[Candidate]) -> Report:
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


def _next(report: Report, done: Sequence[Tried]) -> list[Candidate]:
    """What helps, each with what suits the findings that it leaves."""
    helping = _helping(report, done)
    return [
        more.and_also(one.candidate)
        for one in helping[:2]
        for more in candidates(one.report)[:3]
    ]


def _helping(report: Report, tried: Sequence[Tried]) -> list[Tried]:
    """Those that leave a less severe verdict, the least severe first."""
    before = KINDS.index(verdict(report))
    helping = [
        one for one in tried if not one.surely_mends and KINDS.index(one.kind) > before
    ]
    return sorted(helping, key=lambda one: -KINDS.index(one.kind))


def _normalized(fed: Fed) -> Fed:
    """Each input of real numbers with mean 0 and deviation 1."""
    return fed._replace(arrays=tuple(map(_standard, fed.arrays)))


def _standard(x: jax.Array) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    wide = x.astype(jnp.result_type(x.dtype, jnp.float32))
    std = wide.std()
    scaled = (wide - wide.mean()) / jnp.where(std > 0, std, 1.0)
    return scaled.astype(x.dtype)
