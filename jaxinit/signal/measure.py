"""One measurement of a model that was prepared: run for one way to draw its weights."""

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit._collector import collecting_rarely
from jaxinit._progress import Bar
from jaxinit.draw.own_init import Draw, own_draw
from jaxinit.layers.names import param_name
from jaxinit.models.trace import Traced
from jaxinit.report.findings import Finding
from jaxinit.report.report import Report
from jaxinit.schemes.named import resolved
from jaxinit.signal.checkpoint import Checkpoint, fingerprint
from jaxinit.signal.checks import check_draws, nonfinite_loss
from jaxinit.signal.engine import Engine
from jaxinit.signal.given import Given, given
from jaxinit.signal.inputs import Fed
from jaxinit.signal.placement import mesh_of, placed_by, seed_devices
from jaxinit.signal.prepare import Prepared
from jaxinit.signal.row_roles import with_roles
from jaxinit.signal.seed_numbers import seed_numbers, set_numbers
from jaxinit.signal.seeds import Finished, Plan, run
from jaxinit.signal.statistics import Analysis
from jaxinit.signal.tabulate import Tables, tabulate
from jaxinit.signal.trial import trained_leaves
from jaxinit.verdict.judge import judged

_version = functools.cache(version)  # it reads files


def measure(prepared: Prepared, scheme: Any, bar: Bar) -> Report:
    """Runs the seeds, with weights drawn by ``scheme`` or by the model's own init."""
    network, programs = prepared.network, prepared.compiled
    root, inputs = prepared.root, prepared.fed.arrays
    scheme = resolved(scheme)
    draw = _draw(prepared, scheme)
    origin = _origin(draw, network.traced, scheme)
    how = _how(prepared, draw, origin)
    kept = None
    if prepared.options.checkpoint is not None:
        name = fingerprint(prepared.analysis, draw, root, inputs, scheme)
        kept = Checkpoint(prepared.options.checkpoint, name)
    bar.phase(
        f"compiling {len(network.sites.events)} rows of {network.traced.name} for "
        f"{jax.default_backend()}"
    )
    start, before = time.perf_counter(), programs.compile_seconds
    again: Sequence[int] = ()
    if prepared.options.judge:
        from jaxinit.signal.evidence import NUM_SEEDS

        again = how.seeds[:NUM_SEEDS]
    engine = Engine(programs, draw, root, inputs, again)
    with mesh_of(inputs):
        finished = run(engine, how, bar, kept)
    compile_seconds = programs.compile_seconds - before
    seconds = time.perf_counter() - start - compile_seconds
    settings = _settings(prepared, how, finished, origin) | {
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(seconds, 3),
    }
    return _report(prepared, engine, finished, settings)


@collecting_rarely()
def _draw(prepared: Prepared, scheme: Any) -> Draw:
    """How weights are drawn: by the scheme, not at all, or by the model's own init."""
    network, options = prepared.network, prepared.options
    if scheme is not None:
        from jaxinit.schemes.drawing import scheme_draw
        from jaxinit.schemes.initialize import check_data
        from jaxinit.schemes.scheme import as_scheme
        from jaxinit.schemes.untouched import warn_of_untouched

        chosen = as_scheme(scheme)
        draw = scheme_draw(network, chosen)
        check_data(draw, prepared.fed.arrays, network)
        warn_of_untouched(network, draw.assignments, chosen)
        return draw
    if options.variables is not None:
        return given(network.traced, options.variables)
    return own_draw(network.traced)


def _origin(draw: Draw, traced: Traced, scheme: Any) -> str:
    """Where the weights come from."""
    if isinstance(draw, Given):
        return "given"
    return "drawn" if traced.draws or scheme is not None else "present"


def _how(prepared: Prepared, draw: Draw, origin: str) -> Plan:
    """Which seeds are run, and where."""
    options, traced = prepared.options, prepared.network.traced
    placing: Sequence[Any] = prepared.fed.arrays
    if isinstance(draw, Given):
        seeds = set_numbers(options.seeds, len(draw.sets))
        placing = (*placing, *draw.sets[0])
    else:
        draws = origin == "drawn"
        seeds = seed_numbers(options.seeds, draws, prepared.network.sites)
    check_draws(traced, draw.repeats(prepared.fed.arrays), len(seeds))
    return Plan(
        seeds,
        options.strategy,
        options.chunk,
        options.memory_budget,
        options.time_budget,
        seed_devices(options.devices, traced, placing),
        bool(placed_by(traced, placing)),
    )


def _settings(
    prepared: Prepared, how: Plan, finished: Finished, origin: str
) -> dict[str, Any]:
    programs = prepared.compiled
    return {
        "model": prepared.network.traced.name,
        "backend": jax.default_backend(),
        "device": jax.local_devices()[0].device_kind,
        "devices": max(len(how.devices), 1),
        "processes": jax.process_count(),
        "jax": jax.__version__,
        "flax": _version("flax"),
        "strategy": finished.strategy,
        "chunk": finished.chunk,
        "rolled": programs.analysis.rolled,
        "bytes_per_seed": programs.bytes_per_seed,
        "batch_size": prepared.analysis.batch,
        "weights": origin,
        "keywords": prepared.network.traced.keywords,
        "inputs": list(prepared.fed.descriptions),
        "seeds_requested": len(how.seeds),
    }


def _report(
    prepared: Prepared,
    engine: Engine,
    finished: Finished,
    settings: dict[str, Any],
) -> Report:
    """Measures what goes beside the statistics of rows, and puts all together."""
    network, programs, fed = prepared.network, prepared.compiled, prepared.fed
    root, analysis = prepared.root, programs.analysis
    traced, sites = network.traced, network.sites
    tables = tabulate(analysis, finished.raw)
    notes = _remarks(analysis, fed)
    if programs.no_gradient is not None:
        notes.append(f"No gradients: {programs.no_gradient}")
    notes += finished.notes
    with mesh_of(fed.arrays):
        beside = _beside(prepared, engine, finished, tables)
    report = Report(
        rows=with_roles(tables.rows, network),
        forward=tables.forward | beside.forward,
        backward=tables.backward,
        params=tables.params,
        weights=tables.weights,
        profiles=tables.profiles,
        seeds=finished.seeds,
        key_data=np.asarray(jax.random.key_data(root)),
        key_impl=str(jax.random.key_impl(root)),
        mode="probe" if analysis.loss is None else "loss",
        loss=None if analysis.loss is None else np.asarray(finished.raw.loss),
        unreached=tuple(param_name(traced.params[i]) for i in sites.unreached),
        notes=(*notes, *beside.notes),
        settings=settings,
        evidence=beside.evidence,
        model=beside.model,
        histograms=beside.histograms,
        predicted=beside.predicted,
    )
    return _first(judged(report), nonfinite_loss(report), _nonfinite_input(fed))


class _Beside(NamedTuple):
    """What is measured only if it was asked for, by the names of the report."""

    evidence: dict[str, Any]
    forward: dict[str, np.ndarray]
    model: dict[str, np.ndarray]
    histograms: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    notes: tuple[str, ...]


def _beside(
    prepared: Prepared, engine: Engine, finished: Finished, tables: Tables
) -> _Beside:
    """Measures it; what does so is imported only then."""
    network, programs, options = prepared.network, prepared.compiled, prepared.options
    root, inputs, seeds = prepared.root, prepared.fed.arrays, finished.seeds.tolist()
    found = _Beside({}, {}, {}, {}, {}, ())
    if options.judge and programs.no_gradient is None and trained_leaves(network):
        from jaxinit.signal.evidence import gather

        evidence = gather(network, engine, seeds, finished.raw)
        found = found._replace(evidence=evidence)
    if options.metrics:
        from jaxinit.signal.extra.measure import measure_extra

        more = (prepared.analysis, options.metrics, engine.draw, root, inputs, seeds)
        found = found._replace(**measure_extra(network, *more)._asdict())
    if options.predict:
        from jaxinit.signal.predicted import predicted

        first = (engine.draw, root, inputs, seeds[0], tables)
        theory, said = predicted(network, programs.analysis, *first)
        said_of = () if said is None else (said,)
        found = found._replace(predicted=theory, notes=said_of)
    return found


def _remarks(analysis: Analysis, fed: Fed) -> list[str]:
    sites = analysis.sites
    notes = [f"Fed {what}" for what in fed.descriptions]
    if sites.opaque:
        notes.append(f"Taken as a whole, not looked into: {', '.join(sites.opaque)}")
    if sites.idle_taps:
        notes.append(
            "Taps without a row, since no input reaches their values: "
            + ", ".join(sites.idle_taps)
        )
    if any(event.conditional for event in sites.events):
        notes.append("Rows inside a branch of cond hold NaN for seeds that skip it")
    if any(lp.kind == "while" for e in sites.events for lp in e.loops):
        notes.append("Rows inside a while loop have no gradients")
    if any(lp.kind == "shards" for e in sites.events for lp in e.loops):
        notes.append("Inside shard_map, cos and chan_* are means over shards")
    return notes


def _first(report: Report, *found: Finding | None) -> Report:
    """The report with problems of no row in front of all others, the last one first."""
    for finding in found:
        if finding is not None:
            rest = (f for f in report.findings if f.is_problem)
            report = dataclasses.replace(report, findings=(finding, *rest))
    return report


def _nonfinite_input(fed: Fed) -> Finding | None:
    if not fed.nonfinite:
        return None
    return Finding(
        kind="non-finite",
        metric="input",
        row=None,
        seed_share=1.0,
        value=math.nan,
        stderr=math.nan,
        message=f"{', '.join(fed.nonfinite)} holds NaN or infinity before any layer",
        remedy="mend the data: x = jnp.nan_to_num(x), or find where it comes from",
    )
