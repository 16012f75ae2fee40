"""Runs an analysis over seeds: in what order, how many at once, and until when."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxinit import _resources as resources
from jaxinit._allocator import keeping_freed_memory
from jaxinit._caches import cached
from jaxinit._configuration import thread_pool
from jaxinit._lapack import MAY_HANG
from jaxinit._progress import Reporter
from jaxinit.models.trace import Traced
from jaxinit.program.primitives import factors_batches
from jaxinit.signal.checkpoint import Checkpoint
from jaxinit.signal.compiled import SEEDS, Packed
from jaxinit.signal.engine import Engine
from jaxinit.signal.finished import Records
from jaxinit.signal.fitting import check_fits, too_large
from jaxinit.signal.interrupts import as_interrupts
from jaxinit.signal.processes import is_mine
from jaxinit.signal.statistics import Raw

Strategy = Literal["auto", "vmap", "loop"]
STRATEGIES = ("auto", "vmap", "loop")
_MAX_CHUNK = 64


class Plan(NamedTuple):
    """How to run the seeds.

    Attributes:
      seeds: indices of the seeds; seed i has the key ``fold_in(root, i)``.
      strategy: ``"vmap"``, a chunk of seeds in one program; ``"loop"``, one compiled
        seed called again and again; ``"auto"`` chooses.
      chunk: seeds at once; ``None`` for what fits the memory budget.
      memory_budget: bytes; ``None`` for a share of the device's memory.
      time_budget: seconds after which no new seed is started; ``None`` for no limit.
      devices: the devices over which seeds are spread; none or one, no spreading.
      placed: whether the model says itself where its values lie. What a seed takes is
        then known only once it is drawn, and seeds run one after the other.
    """

    seeds: Sequence[int]
    strategy: Strategy
    chunk: int | None
    memory_budget: int | None
    time_budget: float | None
    devices: tuple[jax.Device, ...] = ()
    placed: bool = False


class Finished(NamedTuple):
    """The records of the seeds that were run, and how.

    Attributes:
      raw: records as NumPy arrays with a leading axis over seeds.
      seeds: `(done,)`, the seeds that were run, in the plan's order.
      strategy: how they were run.
      chunk: how many at once.
      notes: why fewer were run than planned, and other facts for the report.
    """

    raw: Raw
    seeds: np.ndarray
    strategy: str
    chunk: int
    notes: tuple[str, ...]


def run(
    engine: Engine, plan: Plan, reporter: Reporter, kept: Checkpoint | None = None
) -> Finished:
    """Runs ``plan``. Ctrl-C, a spent time budget and lack of memory end it in order.

    Ctrl-C (SIGTERM and SIGHUP act like it) and the time budget return the seeds that
    are done, at least one. Out of memory halves the chunk and goes on. Of the processes
    of ``jax.distributed`` each runs its share, and all return the seeds of all.

    Args:
      engine: what to run.
      plan: how.
      reporter: is told of the progress.
      kept: where finished seeds are kept; what is there already is not run again.

    Raises:
      KeyboardInterrupt: if not one seed was done.
      RuntimeError: if a single seed does not fit the device's memory, or another
        process has ended.
      Exception: whatever the model raises as it runs, with a note that names the seed.
    """
    strategy = choose_strategy(engine, plan)
    records = Records(plan.seeds, kept)
    notes = list(records.notes)
    start = time.perf_counter()
    first = records.done
    chunk = 1
    shared = jax.process_count() > 1 and not plan.placed and len(plan.seeds) > 1
    wanted = [i for i in records.missing if not shared or is_mine(i)]
    total = records.done + len(wanted)

    def out_of_time() -> bool:
        spent = time.perf_counter() - start
        return plan.time_budget is not None and spent > plan.time_budget

    try:
        with as_interrupts():
            if not wanted:
                engine.compiled.know_layout()
            else:
                if kept is not None:
                    kept.open()
                source = _loop if strategy == "loop" and not _mesh(plan) else _chunks
                for places, packed, at_once in source(
                    engine, wanted, plan, strategy, out_of_time
                ):
                    records.add(places, packed)
                    chunk = at_once
                    reporter.count(records.done, total, "seeds")
    except KeyboardInterrupt as interrupt:
        if not records.done and not shared:
            raise
        by = f" by {interrupt}" if str(interrupt) else ""
        notes.append(f"interrupted{by}: {records.done} of {total} seeds were run")
    except Exception as error:
        if records.done > first and kept is not None:
            error.add_note(
                f"{records.done} finished seeds are kept in `checkpoint`; the same "
                "call goes on from there."
            )
        raise
    else:
        if records.done < total:
            notes.append(
                f"time budget of {plan.time_budget:g} s spent: {records.done} of "
                f"{total} seeds were run"
            )
    finally:
        if kept is not None:
            kept.close()
    if shared:
        engine.compiled.know_layout()
        records.exchange(*engine.compiled.record)
        if not records.done:
            raise KeyboardInterrupt("before any process had done a seed")
    seeds, packed = records.finished()
    return Finished(
        engine.compiled.unpack(packed), seeds, strategy, chunk, tuple(notes)
    )


Results = Iterator[tuple[Sequence[int], Packed, int]]
"""Places in the plan, their records, and how many seeds are run at once."""


def choose_strategy(engine: Engine, plan: Plan) -> str:
    """A loop on CPU, where it is the fastest; elsewhere by what the model does.

    Convolutions over a batch of kernels are grouped convolutions, which are slow.
    """
    if plan.strategy != "auto":
        return plan.strategy
    if jax.default_backend() == "cpu" or len(plan.seeds) == 1:
        return "loop"
    operations = {event.operation for event in engine.analysis.sites.events}
    return "loop" if "conv_general_dilated" in operations else "vmap"


def _loop(
    engine: Engine,
    places: Sequence[int],
    plan: Plan,
    strategy: str,
    out_of_time: Callable[[], bool],
) -> Results:
    """One seed in flight per core on CPU, two elsewhere, so that no one waits."""
    del strategy
    if not plan.placed:
        check_fits(engine, plan.memory_budget)
    workers = _workers(engine, plan)
    in_flight = workers + 1  # one of them waits for a worker
    pending: list[tuple[int, Future[Packed]]] = []
    remaining = iter(places)
    pool = thread_pool(workers)
    started: list[bool] = []
    reused = engine.bytes_per_seed if len(places) > workers else 0

    def submit() -> None:
        while len(pending) < in_flight and not (started and out_of_time()):
            place = next(remaining, None)
            if place is None:
                return
            pending.append((place, pool.submit(engine.run, plan.seeds[place])))
            started.append(True)

    def next_done() -> tuple[int, Packed]:
        nonlocal in_flight
        place, future = pending.pop(0)
        seed = plan.seeds[place]
        try:
            return place, future.result()
        except jax.errors.JaxRuntimeError as error:
            if not _out_of_memory(error):
                _name_seeds(error, engine, [seed])
                raise
            in_flight = max(in_flight // 2, 1)
            wait(other for _, other in pending)
            return place, _alone(engine, seed)
        except Exception as error:
            _name_seeds(error, engine, [seed])
            raise

    with keeping_freed_memory(reused):
        try:
            submit()
            while pending:
                place, packed = next_done()
                submit()
                yield [place], packed, min(workers, in_flight)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _alone(engine: Engine, seed: int) -> Packed:
    """One seed while no other is in flight."""
    try:
        return engine.run(seed)
    except jax.errors.JaxRuntimeError as error:
        if not _out_of_memory(error):
            _name_seeds(error, engine, [seed])
            raise
        raise too_large(engine) from error


def _chunks(
    engine: Engine,
    places: Sequence[int],
    plan: Plan,
    strategy: str,
    out_of_time: Callable[[], bool],
) -> Results:
    """Chunks of one size, the last one filled up with seeds that are dropped.

    With several devices a chunk is spread over them: in a loop one seed for each.
    """
    mesh = _mesh(plan)
    devices = mesh.size if mesh is not None else 1
    count = -(-len(places) // devices)
    if not plan.placed:
        check_fits(engine, plan.memory_budget, compiled=False)
    each = 1
    if strategy == "vmap":
        wished = _MAX_CHUNK if plan.chunk is None else plan.chunk // devices
        each = _fitting(engine, max(1, min(wished, count)), plan)
    position = 0
    while position < len(places) and not (position and out_of_time()):
        wanted = list(places[position : position + each * devices])
        seeds = [plan.seeds[place] for place in wanted]
        padded = seeds + [seeds[-1]] * (each * devices - len(seeds))
        try:
            packed = engine.run_batched(padded, mesh)
        except jax.errors.JaxRuntimeError as error:
            if not _out_of_memory(error):
                _name_seeds(error, engine, seeds)
                raise
            if each == 1:
                raise too_large(engine) from error
            each = max(each // 2, 1)
            continue
        except Exception as error:
            _name_seeds(error, engine, seeds)
            raise
        first = Packed(packed.values[: len(wanted)], packed.loss[: len(wanted)])
        yield wanted, first, each * devices
        position += len(wanted)


def _mesh(plan: Plan) -> Mesh | None:
    """The devices as a mesh with one axis, if there is more than one."""
    devices = plan.devices[: len(plan.seeds)]
    return Mesh(np.array(devices), (SEEDS,)) if len(devices) > 1 else None


def _fitting(engine: Engine, chunk: int, plan: Plan) -> int:
    """The largest chunk within the budget, by what the compiler says it takes.

    A chunk that the user asked for only has to fit the memory that is free.
    """
    if plan.placed:
        return chunk
    budget = plan.memory_budget
    if budget is None and plan.chunk is None:
        budget = resources.budget()
    elif budget is None:
        budget = resources.free_memory()
    while chunk > 1:
        needed = engine.measure_memory(chunk)
        if needed <= budget:
            break
        chunk = max(1, min(chunk - 1, budget * chunk // needed))
    return chunk


def _workers(engine: Engine, plan: Plan) -> int:
    on_cpu = jax.default_backend() == "cpu"
    if plan.placed or (on_cpu and _may_hang(engine.analysis.traced)):
        return 1
    cores = resources.cores() if on_cpu else 2
    budget = plan.memory_budget or resources.budget()
    fits = budget // max(engine.bytes_per_seed, 1)
    return max(1, min(plan.chunk or cores, cores, fits))


@cached(64)
def _may_hang(traced: Traced) -> bool:
    """Whether two seeds at once may wait for each other forever."""
    programs = [p for p in (traced.init, traced.apply) if p is not None]
    return MAY_HANG and any(factors_batches(p.jaxpr.eqns) for p in programs)


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return "RESOURCE_EXHAUSTED" in text or "Out of memory" in text


def _name_seeds(error: Exception, engine: Engine, seeds: Sequence[int]) -> None:
    """Adds a note to ``error`` on the seeds that raised it."""
    data: Any = np.asarray(jax.random.key_data(engine.root)).tolist()
    impl = jax.random.key_impl(engine.root)
    if len(seeds) == 1:
        which = f"seed {seeds[0]}, whose key is jax.random.fold_in(root, {seeds[0]})"
    else:
        which = (
            f"seeds {min(seeds)} to {max(seeds)} at once (chunk=1 tells which), whose "
            "keys are jax.random.fold_in(root, seed)"
        )
    error.add_note(
        f"jaxinit was measuring {which} with root = jax.random.wrap_key_data("
        f"jax.numpy.array({data}, 'uint32'), impl={str(impl)!r})."
    )
