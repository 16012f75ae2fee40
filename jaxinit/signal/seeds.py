"""Runs an analysis over seeds: in what order, how many at once, and until when."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._configuration import thread_pool
from jaxinit._progress import Reporter
from jaxinit.signal.engine import Engine
from jaxinit.signal.statistics import Raw

Strategy = Literal["auto", "vmap", "loop"]
STRATEGIES = ("auto", "vmap", "loop")
_MAX_CHUNK = 64
_FALLBACK_BUDGET = 2**32
_TOO_LARGE = (
    "one seed does not fit the device's memory. Analyze a smaller batch or a shorter "
    "sequence."
)


class Plan(NamedTuple):
    """How to run the seeds.

    Attributes:
      seeds: indices of the seeds; seed i has the key ``fold_in(root, i)``.
      root: the root key.
      strategy: ``"vmap"``, a chunk of seeds in one program; ``"loop"``, one compiled
        seed called again and again; ``"auto"`` chooses.
      chunk: seeds at once; ``None`` for what fits the memory budget.
      memory_budget: bytes; ``None`` for a share of the device's memory.
      time_budget: seconds after which no new seed is started; ``None`` for no limit.
    """

    seeds: Sequence[int]
    root: jax.Array
    strategy: Strategy
    chunk: int | None
    memory_budget: int | None
    time_budget: float | None


class Finished(NamedTuple):
    """The records of the seeds that were run, and how.

    Attributes:
      raw: records as NumPy arrays with a leading axis over seeds.
      done: number of seeds that were run, the first ones of the plan.
      strategy: how they were run.
      chunk: how many at once.
      notes: why fewer were run than planned, and other facts for the report.
    """

    raw: Raw
    done: int
    strategy: str
    chunk: int
    notes: tuple[str, ...]


def run(
    engine: Engine, inputs: Sequence[jax.Array], plan: Plan, reporter: Reporter
) -> Finished:
    """Runs ``plan``. Ctrl-C, a spent time budget and lack of memory end it in order.

    Ctrl-C and the time budget return the seeds that are done, at least one. Out of
    memory halves the chunk and goes on.

    Raises:
      KeyboardInterrupt: if not one seed was done.
      RuntimeError: if a single seed does not fit the device's memory.
    """
    strategy = _strategy(engine, plan)
    notes = []
    keys = [jax.random.fold_in(plan.root, seed) for seed in plan.seeds]
    start = time.perf_counter()
    finished: list[Raw] = []
    chunk = 1

    def done() -> int:
        return sum(len(raw.loss) for raw in finished)

    def out_of_time() -> bool:
        spent = time.perf_counter() - start
        return plan.time_budget is not None and spent > plan.time_budget

    try:
        source = _loop if strategy == "loop" else _chunks
        for raw, at_once in source(engine, inputs, keys, plan, out_of_time):
            finished.append(raw)
            chunk = at_once
            reporter.count(done(), len(keys), "seeds")
    except KeyboardInterrupt:
        if not finished:
            raise
        notes.append(f"interrupted: {done()} of {len(keys)} seeds were run")
    else:
        if done() < len(keys):
            notes.append(
                f"time budget of {plan.time_budget:g} s spent: {done()} of {len(keys)} "
                "seeds were run"
            )
    stacked = jax.tree.map(lambda *parts: np.concatenate(parts), *finished)
    return Finished(stacked, done(), strategy, chunk, tuple(notes))


Results = Iterator[tuple[Raw, int]]
"""Records with an axis over seeds, and how many seeds are run at once."""


def _strategy(engine: Engine, plan: Plan) -> str:
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
    inputs: Sequence[jax.Array],
    keys: Sequence[jax.Array],
    plan: Plan,
    out_of_time: Callable[[], bool],
) -> Results:
    """One seed in flight per core on CPU, two elsewhere, so that no one waits."""
    engine.measure_memory(0, keys[0], inputs)
    workers = _workers(engine, plan)
    in_flight = workers + 1  # one of them waits for a worker
    pending: list[tuple[jax.Array, Future[Raw]]] = []
    remaining = iter(keys)
    pool = thread_pool(workers)
    started: list[bool] = []

    def one(key: jax.Array) -> Raw:
        return engine.run(key, inputs)

    def submit() -> None:
        while len(pending) < in_flight and not (started and out_of_time()):
            key = next(remaining, None)
            if key is None:
                return
            pending.append((key, pool.submit(one, key)))
            started.append(True)

    try:
        submit()
        while pending:
            key, future = pending.pop(0)
            try:
                raw = _stacked(future.result())
            except jax.errors.JaxRuntimeError as error:
                if not _out_of_memory(error):
                    raise
                in_flight = max(in_flight // 2, 1)
                wait(other for _, other in pending)
                raw = _alone(engine, key, inputs)
            submit()
            yield raw, min(workers, in_flight)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(engine: Engine, key: jax.Array, inputs: Sequence[jax.Array]) -> Any:
    """One seed while no other is in flight."""
    try:
        return _stacked(engine.run(key, inputs))
    except jax.errors.JaxRuntimeError as error:
        if not _out_of_memory(error):
            raise
        raise RuntimeError(_TOO_LARGE) from error


def _chunks(
    engine: Engine,
    inputs: Sequence[jax.Array],
    keys: Sequence[jax.Array],
    plan: Plan,
    out_of_time: Callable[[], bool],
) -> Results:
    """Chunks of one size, the last one filled up with seeds that are dropped."""
    chunk = plan.chunk or _fitting(engine, inputs, keys, _budget(plan))
    position = 0
    while position < len(keys) and not (position and out_of_time()):
        wanted = list(keys[position : position + chunk])
        padded = wanted + [wanted[-1]] * (chunk - len(wanted))
        try:
            raw = engine.run_batched(jnp.stack(padded), inputs)
        except jax.errors.JaxRuntimeError as error:
            if not _out_of_memory(error):
                raise
            if chunk == 1:
                raise RuntimeError(_TOO_LARGE) from error
            chunk = max(chunk // 2, 1)
            continue
        yield _first(raw, len(wanted)), chunk
        position += len(wanted)


def _fitting(
    engine: Engine,
    inputs: Sequence[jax.Array],
    keys: Sequence[jax.Array],
    budget: int,
) -> int:
    """The largest chunk within the budget, by what the compiler says it takes."""
    chunk = min(len(keys), _MAX_CHUNK)
    while chunk > 1:
        needed = engine.measure_memory(chunk, keys[0], inputs)
        if needed <= budget:
            break
        chunk = max(1, min(chunk - 1, budget * chunk // needed))
    return chunk


def _workers(engine: Engine, plan: Plan) -> int:
    cores = os.cpu_count() or 1 if jax.default_backend() == "cpu" else 2
    fits = _budget(plan) // max(engine.bytes_per_seed, 1)
    return max(1, min(plan.chunk or cores, cores, fits))


def _budget(plan: Plan) -> int:
    """Half of the device's memory, or a quarter of the host's where it shares it."""
    if plan.memory_budget is not None:
        return plan.memory_budget
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) // 2
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (ValueError, OSError, AttributeError):
        return _FALLBACK_BUDGET


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return "RESOURCE_EXHAUSTED" in text or "Out of memory" in text


def _first(raw: Any, number: int) -> Any:
    return jax.tree.map(lambda x: x[:number], raw)


def _stacked(raw: Any) -> Any:
    return jax.tree.map(lambda x: x[None], raw)
