"""One measurement of a model: prepared once, run for each way to draw its weights."""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxinit._keys import root_key
from jaxinit._progress import Bar
from jaxinit.draw.compiling import quick_options
from jaxinit.draw.own_init import Draw, own_draw
from jaxinit.layers.find import Sites
from jaxinit.layers.names import param_name
from jaxinit.models.arguments import Arguments, arguments, streams_and_kwargs
from jaxinit.models.trace import Traced, infer_inputs, trace
from jaxinit.report.findings import Finding
from jaxinit.report.report import Report
from jaxinit.roles.network import Network, read_network, read_sites
from jaxinit.roles.structure import NO_HINTS, Hints
from jaxinit.schemes.drawing import scheme_draw
from jaxinit.schemes.initialize import check_data
from jaxinit.schemes.named import resolved
from jaxinit.schemes.scheme import as_scheme
from jaxinit.schemes.untouched import warn_of_untouched
from jaxinit.signal.bundle import should_roll
from jaxinit.signal.checkpoint import Checkpoint, fingerprint
from jaxinit.signal.checks import (
    check_draws,
    check_loss,
    check_model,
    check_options,
    nonfinite_loss,
)
from jaxinit.signal.compiled import Compiled, compiled
from jaxinit.signal.engine import Engine
from jaxinit.signal.evidence import gather
from jaxinit.signal.extra.measure import Extra, measure_extra
from jaxinit.signal.given import Given, given
from jaxinit.signal.inputs import Fed, batch_size, check_inputs, feed
from jaxinit.signal.placement import mesh_of, placed_by, seed_devices, unplaced
from jaxinit.signal.plan import RunPlan, plan_run
from jaxinit.signal.predicted import predicted
from jaxinit.signal.row_roles import with_roles
from jaxinit.signal.seeds import Finished, Plan, Strategy, run
from jaxinit.signal.statistics import Analysis, no_float_output
from jaxinit.signal.tabulate import Tables, tabulate
from jaxinit.signal.trial import trained_leaves
from jaxinit.verdict.judge import judged

_MIN_SEEDS, _MAX_SEEDS = 8, 64
_version = functools.cache(version)  # it reads files


class Options(NamedTuple):
    """The options of ``analyze``, by the names that they have there."""

    seeds: int | Sequence[int] | None
    key: int | jax.Array
    loss: Callable[[Any], jax.Array] | None
    strategy: Strategy
    chunk: int | None
    memory_budget: int | None
    time_budget: float | None
    rngs: Sequence[str]
    devices: int | Sequence[jax.Device] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    roll: bool | Literal["auto"] = "auto"
    judge: bool = True
    variables: Any = None
    metrics: Sequence[str] = ()
    predict: bool = False
    hints: Hints = NO_HINTS


class Prepared(NamedTuple):
    """A model that is ready to be measured.

    Attributes:
      network: the model, read.
      fed: its inputs.
      analysis: what is measured.
      compiled: the analysis, compiled when it first runs.
      root: the root key.
      options: those of the user.
    """

    network: Network
    fed: Fed
    analysis: Analysis
    compiled: Compiled
    root: jax.Array
    options: Options


class _Model(NamedTuple):
    """A model, traced on arguments that are fit for it."""

    traced: Traced
    given: Arguments
    root: jax.Array


def _traced(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> _Model:
    """Checks all arguments and traces the model."""
    check_options(
        options.seeds,
        options.strategy,
        options.chunk,
        options.memory_budget,
        options.time_budget,
        options.loss,
        options.checkpoint,
    )
    root = unplaced(root_key(options.key))
    if not args and not kwargs:
        args = infer_inputs(model)
    streams, kwargs = streams_and_kwargs(options.rngs, kwargs)
    check_inputs(args, kwargs)
    given = arguments(args, kwargs)
    try:
        traced = trace(model, given, streams, jax.random.key_impl(root))
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        if all(shape.shape == () for shape in given.shapes):
            raise ValueError(
                f"`{given.names[0]}` must have axes that the model works on, the first "
                f"of them over samples, got a scalar, and the model raised "
                f"{type(error).__name__}: {error}. Pass a batch."
            ) from error
        raise
    check_model(traced)
    check_loss(options.loss, traced)
    return _Model(traced, given, root)


def plan(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> RunPlan:
    """What ``measure`` would take; nothing of the model's size is allocated."""
    traced, given, _ = _traced(model, args, kwargs, options)
    sites = read_sites(traced)
    batch = batch_size(given.shapes, sites.keys)
    analysis = Analysis(traced, sites, batch, options.loss, True)
    if no_float_output(analysis) is not None:
        analysis = analysis._replace(backward=False)
    count = _count(options.seeds, sites) if traced.draws else 1
    return plan_run(analysis, count, options.chunk, options.memory_budget)


def prepare(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Prepared:
    """Checks all arguments, traces the model and finds its layers."""
    traced, given, root = _traced(model, args, kwargs, options)
    network = read_network(traced, given, options.hints)
    sites = network.sites
    _check_reached(network)
    input_key = jax.random.fold_in(root, 2**32 - 1)
    fed = feed(given.inputs, given.names, sites, input_key)
    batch = batch_size(fed.arrays, sites.keys)
    analysis = Analysis(traced, sites, batch, options.loss, True)
    count = _count(options.seeds, sites)
    rolled = options.roll
    if rolled == "auto":
        rolled = not placed_by(traced, fed.arrays) and should_roll(analysis, count)
    analysis = analysis._replace(rolled=bool(rolled))
    programs = compiled(analysis, quick_options(sites, 3 * count))
    return Prepared(network, fed, analysis, programs, root, options)


def _check_reached(network: Network) -> None:
    if not any(event.kind == "layer" for event in network.sites.events):
        names = [p.name for p in network.params][:3]
        raise ValueError(
            f"no input of {network.traced.name} reaches a parameter: no equation "
            f"combines one of {', '.join(names)} with what depends on the inputs, so "
            "that there is no layer to measure. Pass the arrays that the model works "
            "on as positional or keyword arguments, and use them in its forward pass."
        )


def measure(prepared: Prepared, scheme: Any, bar: Bar) -> Report:
    """Runs the seeds, with weights drawn by ``scheme`` or by the model's own init."""
    network, programs = prepared.network, prepared.compiled
    traced, options = network.traced, prepared.options
    draw: Draw = own_draw(traced)
    scheme = resolved(scheme)
    if scheme is not None:
        chosen = as_scheme(scheme)
        draw = scheme_draw(network, chosen)
        check_data(draw, prepared.fed.arrays, network)
        warn_of_untouched(network, draw.assignments, chosen)
    elif options.variables is not None:
        draw = given(traced, options.variables)
    if isinstance(draw, Given):
        indices = _given_indices(options.seeds, len(draw.sets))
    else:
        draws = traced.draws or scheme is not None
        indices = _seed_indices(options.seeds, draws, network.sites)
    check_draws(traced, draw.ignores_key, draw.depends_on_key)
    inputs = prepared.fed.arrays
    placing = (*inputs, *draw.sets[0]) if isinstance(draw, Given) else inputs
    how = Plan(
        indices,
        options.strategy,
        options.chunk,
        options.memory_budget,
        options.time_budget,
        seed_devices(options.devices, traced, placing),
        bool(placed_by(traced, placing)),
    )
    kept = None
    if options.checkpoint is not None:
        name = fingerprint(prepared.analysis, draw, prepared.root, inputs, scheme)
        kept = Checkpoint(options.checkpoint, name)
    bar.phase(
        f"compiling {len(network.sites.events)} rows of {traced.name} for "
        f"{jax.default_backend()}"
    )
    start, before = time.perf_counter(), programs.compile_seconds
    with mesh_of(inputs):
        finished = run(Engine(programs, draw, prepared.root, inputs), how, bar, kept)
    compile_seconds = programs.compile_seconds - before
    seconds = time.perf_counter() - start - compile_seconds
    settings = {
        "model": traced.name,
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
        "weights": _origin(draw, traced, scheme),
        "inputs": list(prepared.fed.descriptions),
        "seeds_requested": len(how.seeds),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(seconds, 3),
    }
    notes = _remarks(programs.analysis, prepared.fed)
    if programs.no_gradient is not None:
        notes.append(f"No gradients: {programs.no_gradient}")
    notes += finished.notes
    evidence = {}
    moves = programs.no_gradient is None and bool(trained_leaves(network))
    if options.judge and moves:
        with mesh_of(inputs):
            evidence = gather(
                network,
                draw,
                prepared.root,
                inputs,
                finished.seeds.tolist(),
                programs.analysis,
                finished.raw,
            )
    with mesh_of(inputs):
        extra = measure_extra(
            network,
            prepared.analysis,
            options.metrics,
            draw,
            prepared.root,
            inputs,
            list(finished.seeds),
        )
    tables = tabulate(programs.analysis, finished.raw)
    theory: dict[str, np.ndarray] = {}
    if options.predict:
        with mesh_of(inputs):
            theory, stopped = predicted(
                network,
                programs.analysis,
                draw,
                prepared.root,
                inputs,
                int(finished.seeds[0]),
                tables,
            )
        if stopped is not None:
            notes.append(f"Predictions end where no law is known: {stopped}")
    return _report(
        prepared,
        programs.analysis,
        finished,
        tables,
        notes,
        settings,
        evidence,
        theory,
        extra,
    )


def _seed_indices(
    seeds: int | Sequence[int] | None, draws: bool, sites: Sites
) -> list[int]:
    if not draws:
        count = len(seeds) if isinstance(seeds, Sequence) else seeds
        if count not in (None, 1):
            raise ValueError(
                f"`seeds` must be 1 for an nnx module, which holds one set of weights, "
                f"got {seeds}. Pass a callable from nnx.Rngs to the module, or a "
                "scheme."
            )
        return [0]
    if seeds is None or isinstance(seeds, int | np.integer):
        return list(range(_count(seeds, sites)))
    return [int(seed) for seed in seeds]


def _origin(draw: Draw, traced: Traced, scheme: Any) -> str:
    """Where the weights come from."""
    if isinstance(draw, Given):
        return "given"
    return "drawn" if traced.draws or scheme is not None else "present"


def _given_indices(seeds: int | Sequence[int] | None, count: int) -> list[int]:
    """Which of the sets of weights that were given are measured."""
    if seeds is None:
        return list(range(count))
    if isinstance(seeds, int | np.integer):
        found = list(range(int(seeds)))
    else:
        found = [int(i) for i in seeds]
    if max(found) >= count:
        raise ValueError(
            f"`seeds` must number the sets of weights in `variables`, of which there "
            f"are {count}, got {seeds}. Leave it out to measure all of them."
        )
    return found


def _count(seeds: int | Sequence[int] | None, sites: Sites) -> int:
    if seeds is None:
        return _enough_seeds(sites)
    return int(seeds) if isinstance(seeds, int | np.integer) else len(seeds)


def _enough_seeds(sites: Sites) -> int:
    """The log of the second moment varies by 5/fan_in per layer over seeds."""
    spread = 0.0
    for event in sites.events:
        repeats = math.prod(lp.length for lp in event.loops if lp.kind == "layers")
        if event.kind == "layer" and event.uses and event.operation != "gather":
            spread += 5 * repeats / max(event.uses[0].fan_in, 1)
    return min(max(math.ceil(100 * spread), _MIN_SEEDS), _MAX_SEEDS)


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


def _report(
    prepared: Prepared,
    analysis: Analysis,
    finished: Finished,
    tables: Tables,
    notes: Sequence[str],
    settings: dict[str, Any],
    evidence: dict[str, Any],
    theory: dict[str, np.ndarray],
    extra: Extra,
) -> Report:
    fed, root = prepared.fed, prepared.root
    traced, sites = analysis.traced, analysis.sites
    report = judged(
        Report(
            rows=with_roles(tables.rows, prepared.network),
            forward=tables.forward | extra.forward,
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
            notes=tuple(notes),
            settings=settings,
            evidence=evidence,
            model=extra.model,
            histograms=extra.histograms,
            predicted=theory,
        )
    )
    lost = nonfinite_loss(report)
    if lost is not None:
        findings = (lost, *(f for f in report.findings if f.is_problem))
        report = dataclasses.replace(report, findings=findings)
    if fed.nonfinite:
        findings = (
            _nonfinite_input(fed),
            *(f for f in report.findings if f.is_problem),
        )
        report = dataclasses.replace(report, findings=findings)
    return report


def _nonfinite_input(fed: Fed) -> Finding:
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
