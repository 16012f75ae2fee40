"""An analysis, compiled: cached from call to call, for one seed or a chunk of them."""

import hashlib
import math
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit.graph import compat
from jaxinit.graph.draw import drawer
from jaxinit.graph.sites import Sites
from jaxinit.signal.statistics import Analysis, Raw, one_seed

Array = jax.Array


class Engine:
    """Draws weights and measures the signal, one seed or a chunk at a time.

    Weights are drawn by a program of their own: the two compile far faster apart.
    The methods may be called by several threads at once.

    Attributes:
      compile_seconds: time spent compiling the analysis so far.
      bytes_per_seed: memory that one seed takes, as far as it is known.
    """

    def __init__(self, analysis: Analysis, quick: bool) -> None:
        self.analysis = analysis
        self._options = _QUICK if quick and jax.default_backend() == "cpu" else None
        self.compile_seconds = 0.0
        self.bytes_per_seed = 0
        self._draw = drawer(analysis.traced.init) if analysis.traced.draws else None
        self._held: list[Array] | None = None
        self._function = one_seed(analysis)
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()

    def run(self, key: Array, inputs: Sequence[Array]) -> Raw:
        """One seed: ``key`` seeds the weights, and what the model draws beside."""
        variables = self._variables(key, inputs, batched=False)
        rest = jax.random.fold_in(key, 1)
        return self._program(0, variables, rest, inputs)(variables, rest, inputs)

    def run_batched(self, keys: Array, inputs: Sequence[Array]) -> Raw:
        """A chunk of seeds at once; every result has a leading axis over them."""
        variables = self._variables(keys, inputs, batched=True)
        rest = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        program = self._program(len(keys), variables, rest, inputs)
        result: Raw = program(variables, rest, inputs)
        return result

    def _variables(
        self, key: Array, inputs: Sequence[Array], *, batched: bool
    ) -> list[Array]:
        if self._draw is not None:
            return (self._draw.batched if batched else self._draw)(key, *inputs)
        if self._held is None:
            traced = self.analysis.traced
            closed = jax.jit(lambda: compat.evaluate(traced.init, [key, *inputs]))
            self._held = closed()
        if batched:
            return [x[None].repeat(len(key), 0) for x in self._held]
        return self._held

    def _program(
        self, chunk: int, variables: Any, key: Array, inputs: Sequence[Array]
    ) -> Any:
        """The compiled analysis of ``chunk`` seeds, 0 for one without a seed axis."""
        with self._lock:
            if chunk not in self._compiled:
                start = time.perf_counter()
                function: Any = self._function
                if chunk:
                    function = jax.vmap(function, in_axes=(0, 0, None))
                compiled = (
                    jax.jit(function)
                    .lower(variables, key, inputs)
                    .compile(self._options)
                )
                self._compiled[chunk] = compiled
                self.compile_seconds += time.perf_counter() - start
                self.bytes_per_seed = _bytes(compiled) // max(chunk, 1)
            return self._compiled[chunk]

    @property
    def ignores_key(self) -> bool:
        """Whether init draws from a key of its own."""
        return self._draw is not None and self._draw.ignores_key

    @property
    def depends_on_key(self) -> tuple[bool, ...]:
        """For each leaf that init returns, whether its key can change it."""
        return () if self._draw is None else self._draw.depends_on_key

    @property
    def hlo(self) -> dict[int, str]:
        """The compiled programs' text, by chunk size; for inspection."""
        return {chunk: c.as_text() for chunk, c in self._compiled.items()}


def _bytes(compiled: Any) -> int:
    """What a program needs: arguments, results and temporary arrays."""
    memory = compiled.memory_analysis()
    if memory is None:
        return 0
    return int(
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
    )


# On CPU they halve the time to compile and cost up to half of the speed.
_QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
_LITTLE_WORK = 1e10


def is_little(sites: Sites, seeds: int) -> bool:
    """Whether running takes less time than a thorough compiler would."""
    products = 0.0
    for event in sites.events:
        repeats = math.prod(max(loop.length, 1) for loop in event.loops)
        for use in event.uses:
            products += repeats * use.fan_in * math.prod(event.shape)
    return 6 * products * seeds < _LITTLE_WORK  # multiply, add; thrice with gradients


class _Entry(NamedTuple):
    model: Any
    digest: str
    engine: Engine


_CACHE_SIZE = 8
_cache: list[_Entry] = []
_cache_lock = threading.Lock()


def engine(model: Any, analysis: Analysis, quick: bool) -> Engine:
    """The engine for ``analysis``; that of an earlier, equal one if there is one.

    ``quick`` compiles faster for a run that is short anyway (``is_little``).

    Two analyses are equal if they are of the same model (or of equal linen modules),
    and their programs read the same, with the same constants and loss. The model is
    asked for too because a program's text does not tell two custom gradients apart.
    """
    if not analysis.traced.draws:
        return Engine(analysis, quick)
    digest = _digest(analysis, quick)
    with _cache_lock:
        for entry in _cache:
            if entry.digest == digest and _same(entry.model, model):
                _cache.remove(entry)
                _cache.append(entry)
                return entry.engine
        fresh = _Entry(model, digest, Engine(analysis, quick))
        _cache.append(fresh)
        del _cache[:-_CACHE_SIZE]
        return fresh.engine


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    try:
        return type(first) is type(second) and bool(first == second)
    except (TypeError, ValueError):  # array attributes have no truth value
        return False


def _digest(analysis: Analysis, quick: bool) -> str:
    traced = analysis.traced
    digest = hashlib.sha256()
    for program in (traced.init, traced.apply):
        digest.update(str(program.jaxpr).encode())
        for const in program.consts:
            digest.update(_content(const))
    loss = None if analysis.loss is None else id(analysis.loss)
    options = (traced.params, traced.num_state, analysis.batch, analysis.backward, quick)
    digest.update(repr((options, loss, str(traced.structure))).encode())
    return digest.hexdigest()


def _content(const: Any) -> bytes:
    if jax.dtypes.issubdtype(const.dtype, jax.dtypes.extended):
        const = jax.random.key_data(const)
    return np.asarray(const).tobytes()
