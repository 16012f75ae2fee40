"""Tries remedies: analyzes the model again with each, on few seeds."""

import dataclasses
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit._progress import Bar
from jaxinit.report.report import Report
from jaxinit.signal.inputs import Fed
from jaxinit.signal.measure import measure
from jaxinit.signal.prepare import Prepared
from jaxinit.signal.remedies.as_scheme import speaking
from jaxinit.signal.remedies.by_cause import candidates
from jaxinit.signal.remedies.candidate import Candidate, evaluated
from jaxinit.signal.remedies.outcome import Tried, helping, named, ranked, told
from jaxinit.signal.remedies.remedied import How

NUM_SEEDS = 4
# Remedies that one analysis tries at most.
MOST = 8
# Seconds of the processors for so many, or as many as the analysis itself took, after
# which no other is tried.
_LEAST_SECONDS = 20.0


def sought(
    prepared: Prepared, report: Report, scheme: Any, how: How, bar: Bar
) -> Report:
    """The report with remedies for its findings, as ``with_remedies`` gives it.

    Remedies are tried one after the other until one mends the model. Those that only
    change weights or inputs run the programs of the analysis, which are compiled.
    """
    own = None if scheme is None else "scheme"
    found = [candidate.over(own) for candidate in candidates(report)]
    report = speaking(report)
    if how == "named" or jax.process_count() > 1:
        return named(report, found)
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
        findings=told(report.findings, remedies, tried),
        remedies=remedies,
        notes=report.notes + interrupted,
        settings=report.settings | cost,
    )


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
    fed = prepared.fed
    if candidate.normalize:
        fed = _normalized(fed, candidate.by_column)
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


def _next(report: Report, done: Sequence[Tried]) -> list[Candidate]:
    """What helps, each with what suits the findings that it leaves."""
    better = helping(report, done)
    return [
        more.and_also(one.candidate)
        for one in better[:2]
        for more in candidates(one.report)[:3]
    ]


def _normalized(fed: Fed, by_column: bool) -> Fed:
    """Each input of real numbers with mean 0 and deviation 1."""
    make = _by_column if by_column else _standard
    return fed._replace(arrays=tuple(map(make, fed.arrays)))


def _standard(x: jax.Array) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    wide = x.astype(jnp.result_type(x.dtype, jnp.float32))
    std = wide.std()
    scaled = (wide - wide.mean()) / jnp.where(std > 0, std, 1.0)
    return scaled.astype(x.dtype)


def _by_column(x: jax.Array) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.floating) or not x.ndim:
        return x
    wide = x.astype(jnp.result_type(x.dtype, jnp.float32))
    return ((wide - wide.mean(0)) / (wide.std(0) + 1e-6)).astype(x.dtype)
