"""``analyze``: from a model and its inputs to a report."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from jaxinit.graph.names import param_name
from jaxinit.graph.sites import Sites, find_sites
from jaxinit.graph.trace import Traced, arguments, infer_inputs, trace
from jaxinit.signal.checks import (
    check_draws,
    check_loss,
    check_model,
    check_options,
    root_key,
)
from jaxinit.signal.engine import engine, is_little
from jaxinit.signal.findings import Finding
from jaxinit.signal.inputs import Fed, batch_size, feed
from jaxinit.signal.progress import Bar
from jaxinit.signal.report import Report
from jaxinit.signal.rows import tabulate
from jaxinit.signal.run import Finished, Plan, Strategy, run
from jaxinit.signal.statistics import Analysis
from jaxinit.signal.verdict import judged

_MIN_SEEDS, _MAX_SEEDS = 8, 64


def analyze(
    model: Any,
    *args: Any,
    seeds: int | Sequence[int] | None = None,
    key: int | jax.Array = 0,
    loss: Callable[[Any], jax.Array] | None = None,
    strategy: Strategy = "auto",
    chunk: int | None = None,
    memory_budget: int | None = None,
    time_budget: float | None = None,
    progress: bool | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Report:
    r"""Measures how the signal travels through a model at initialization.

    For each of many random initializations it takes the moments of every layer's
    output, of the gradient there, and of the gradient of every parameter. The model
    is not edited: its layers are found where parameters meet data.

    Args:
      model: a ``flax.linen`` module; an nnx module class or a callable from
        ``nnx.Rngs`` to an nnx module; an nnx module, whose present weights are then
        the one "seed"; or a ``jaxinit.Functional`` for anything else.
      *args: the model's inputs, as in ``model.init(key, *args)``. In place of an
        array a ``jax.ShapeDtypeStruct`` may stand: floats are then drawn standard
        normal, integers uniformly below the vocabulary. An nnx model's inputs may be
        left out where its first layer tells them.
      seeds: how many seeds, or which ones. By default as many as bring the geometric
        mean of the last layer's second moment to within 10%, which for a network of
        L layers of width n is about :math:`100 \cdot 5L/n`, but 8 to 64.
      key: the root key, or an integer that makes one. Seed i has the key
        ``fold_in(key, i)`` (``report.key(i)``), whatever the strategy.
      loss: takes the model's output, returns a scalar. Without it gradients start
        from a random probe: a standard normal cotangent at the output, which needs
        no labels and is what mean-field theory speaks of.
      strategy: ``"vmap"``, ``"loop"``, or ``"auto"`` to choose by backend and model.
      chunk: seeds at once; by default what fits.
      memory_budget: bytes that the seeds in flight may take; by default a share of
        the device's memory.
      time_budget: seconds after which no further seed is started.
      progress: whether to show progress; by default on a terminal.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model whose names are taken here.
      **kwargs: further keyword arguments of the model: ``train=True``, a mask,
        ``method=`` for another method than ``__call__``.

    Returns:
      The report. ``print`` it.

    Raises:
      TypeError: if ``model`` is no model.
      ValueError: if an argument is out of range, the model has no parameters or no
        inputs, tokens lie outside the vocabulary, or the factory ignores its rngs.
      Exception: whatever the model raises on its inputs, with a note.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((32, 20), "float32")
      >>> report = jaxinit.analyze(model, x, seeds=4)
      >>> report.layers
      ('layers_0', 'layers_2')

    References:
      Poole et al., "Exponential expressivity in deep neural networks through
      transient chaos", 2016; Schoenholz et al., "Deep Information Propagation", 2017.
    """
    check_options(seeds, strategy, chunk, memory_budget, time_budget)
    kwargs = {**kwargs, **(model_kwargs or {})}
    root = root_key(key)
    notes: list[str] = []
    with Bar(progress) as bar:
        bar.phase("tracing")
        if not args and not kwargs:
            args = infer_inputs(model)
        given = arguments(args, kwargs)
        traced = trace(model, given, rngs)
        check_model(traced)
        check_loss(loss, traced)
        sites = _sites(traced)
        input_key = jax.random.fold_in(root, 2**32 - 1)
        fed = feed(given.inputs, given.names, sites.lookups, input_key)
        analysis = Analysis(traced, sites, batch_size(fed.arrays), loss, True)
        indices = _seed_indices(seeds, traced, sites)
        compiled = engine(analysis, is_little(sites, len(indices)))
        if compiled.no_gradient is not None:
            notes.append(f"No gradients: {compiled.no_gradient}")
            analysis = compiled.analysis
        check_draws(traced, compiled.ignores_key, compiled.depends_on_key)
        plan = Plan(
            indices,
            root,
            strategy,
            chunk,
            memory_budget,
            time_budget,
        )
        bar.phase(
            f"compiling {len(sites.events)} rows of {traced.name} for "
            f"{jax.default_backend()}"
        )
        start, before = time.perf_counter(), compiled.compile_seconds
        finished = run(compiled, fed.arrays, plan, bar)
        compile_seconds = compiled.compile_seconds - before
        seconds = time.perf_counter() - start - compile_seconds
    settings = {
        "model": traced.name,
        "backend": jax.default_backend(),
        "device": jax.local_devices()[0].device_kind,
        "jax": jax.__version__,
        "flax": version("flax"),
        "strategy": finished.strategy,
        "chunk": finished.chunk,
        "bytes_per_seed": compiled.bytes_per_seed,
        "batch_size": analysis.batch,
        "inputs": list(fed.descriptions),
        "seeds_requested": len(plan.seeds),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(seconds, 3),
    }
    notes = [*_remarks(analysis, fed), *notes, *finished.notes]
    return _report(analysis, fed, plan, finished, notes, settings)


@functools.lru_cache(maxsize=16)
def _sites(traced: Traced) -> Sites:
    return find_sites(
        traced.apply,
        traced.param_positions,
        traced.input_positions,
        [parts[:-1] for parts in traced.params],
    )


def _seed_indices(
    seeds: int | Sequence[int] | None, traced: Traced, sites: Sites
) -> list[int]:
    if not traced.draws:
        count = len(seeds) if isinstance(seeds, Sequence) else seeds
        if count not in (None, 1):
            raise ValueError(
                f"`seeds` must be 1 for an nnx module, which holds one set of weights, "
                f"got {seeds}. Pass a callable from nnx.Rngs to the module."
            )
        return [0]
    if seeds is None:
        return list(range(_enough_seeds(sites)))
    if isinstance(seeds, int | np.integer):
        return list(range(int(seeds)))
    return [int(seed) for seed in seeds]


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
    analysis: Analysis,
    fed: Fed,
    plan: Plan,
    finished: Finished,
    notes: Sequence[str],
    settings: dict[str, Any],
) -> Report:
    tables = tabulate(analysis, finished.raw)
    traced, sites = analysis.traced, analysis.sites
    report = judged(
        Report(
            rows=tables.rows,
            forward=tables.forward,
            backward=tables.backward,
            params=tables.params,
            weights=tables.weights,
            profiles=tables.profiles,
            seeds=np.asarray(plan.seeds[: finished.done]),
            key_data=np.asarray(jax.random.key_data(plan.root)),
            key_impl=str(jax.random.key_impl(plan.root)),
            mode="probe" if analysis.loss is None else "loss",
            loss=None if analysis.loss is None else np.asarray(finished.raw.loss),
            unreached=tuple(param_name(traced.params[i]) for i in sites.unreached),
            notes=tuple(notes),
            settings=settings,
        )
    )
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
