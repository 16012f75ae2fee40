"""An analysis, compiled: cached from call to call, for one seed or a chunk of them."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.graph.draw import drawer
from jaxinit.graph.sites import Sites
from jaxinit.signal.statistics import Analysis, Raw, no_gradient, one_seed

Array = jax.Array


class Engine:
    """Draws weights and measures the signal, one seed or a chunk at a time.

    Weights are drawn by a program of their own: the two compile far faster apart.
    The methods may be called by several threads at once.

    Attributes:
      analysis: what is measured; without gradients if there can be none.
      no_gradient: why there can be none, or ``None``.
      compile_seconds: time spent compiling the analysis so far.
      bytes_per_seed: memory that one seed takes, as far as it is known.
    """

    def __init__(self, analysis: Analysis, quick: bool) -> None:
        self.no_gradient = no_gradient(analysis)
        if self.no_gradient is not None:
            analysis = analysis._replace(backward=False)
        self.analysis = analysis
        self._options = _QUICK if quick and jax.default_backend() == "cpu" else None
        self.compile_seconds = 0.0
        self.bytes_per_seed = 0
        init = analysis.traced.init
        self._draw = drawer(init) if analysis.traced.draws and init else None
        self._function = one_seed(analysis)
        self._layout: Any = None
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()

    def run(self, key: Array, inputs: Sequence[Array]) -> Raw:
        """One seed, on the host: ``key`` seeds the weights and all that is random."""
        variables = self._variables(key, inputs, batched=False)
        rest = jax.random.fold_in(key, 1)
        program = self._program(0, key, inputs)
        return self._unpacked(program(variables, rest, inputs))

    def run_batched(self, keys: Array, inputs: Sequence[Array]) -> Raw:
        """A chunk of seeds at once; every result has a leading axis over them."""
        variables = self._variables(keys, inputs, batched=True)
        rest = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        program = self._program(len(keys), keys[0], inputs)
        return self._unpacked(program(variables, rest, inputs))

    def measure_memory(self, chunk: int, key: Array, inputs: Sequence[Array]) -> int:
        """Compiles for a chunk of seeds; the bytes that it takes, 0 if unknown."""
        self._program(chunk, key, inputs)
        return self.bytes_per_seed * max(chunk, 1)

    def _variables(
        self, key: Array, inputs: Sequence[Array], *, batched: bool
    ) -> list[Array]:
        traced = self.analysis.traced
        if self._draw is not None:
            draw = self._draw.batched if batched else self._draw
            return draw(key, *inputs)
        if not batched:
            return traced.init_eagerly(key, *inputs)
        each = [traced.init_eagerly(k, *inputs) for k in key]
        return [jnp.stack(leaves) for leaves in zip(*each, strict=True)]

    def _program(self, chunk: int, key: Array, inputs: Sequence[Array]) -> Any:
        """The compiled analysis of ``chunk`` seeds, 0 for one without a seed axis."""
        with self._lock:
            if chunk not in self._compiled:
                start = time.perf_counter()
                lead = (chunk,) if chunk else ()
                traced = self.analysis.traced
                leaves = traced.apply.jaxpr.invars[: traced.input_positions.start - 1]
                variables = [
                    jax.ShapeDtypeStruct(lead + v.aval.shape, v.aval.dtype)
                    for v in leaves
                ]
                keys = jax.ShapeDtypeStruct(lead, key.dtype)
                function: Any = self._packed
                if chunk:
                    function = jax.vmap(function, in_axes=(0, 0, None))
                compiled = (
                    jax.jit(function)
                    .lower(variables, keys, inputs)
                    .compile(self._options)
                )
                self._compiled[chunk] = compiled
                self.compile_seconds += time.perf_counter() - start
                self.bytes_per_seed = _bytes(compiled) // max(chunk, 1)
            return self._compiled[chunk]

    def _packed(
        self, variables: Sequence[Array], key: Array, inputs: Sequence[Array]
    ) -> tuple[Array, Array]:
        """All records as one array: fetching hundreds would take longer than work."""
        raw = self._function(variables, key, inputs)
        leaves, structure = jax.tree.flatten(raw._replace(loss=None))
        self._layout = structure, [leaf.shape for leaf in leaves]
        return jnp.concatenate([leaf.reshape(-1) for leaf in leaves]), raw.loss

    def _unpacked(self, packed: tuple[Array, Array]) -> Raw:
        values, loss = (np.asarray(part) for part in packed)
        structure, shapes = self._layout
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        parts = np.split(values, ends[:-1], axis=-1)
        leaves = [
            part.reshape(part.shape[:-1] + shape)
            for part, shape in zip(parts, shapes, strict=True)
        ]
        raw: Raw = jax.tree.unflatten(structure, leaves)
        return raw._replace(loss=loss)

    @property
    def ignores_key(self) -> bool:
        """Whether init draws from a key of its own."""
        return self._draw is not None and self._draw.ignores_key

    @property
    def depends_on_key(self) -> tuple[bool, ...]:
        """For each leaf that init returns, whether its key can change it."""
        return () if self._draw is None else self._draw.depends_on_key


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
_QUICK: dict[str, Any] = {
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


_CACHE_SIZE = 16
_cache: OrderedDict[Any, Engine] = OrderedDict()
_cache_lock = threading.Lock()


def engine(analysis: Analysis, quick: bool) -> Engine:
    """The engine for ``analysis``; that of an earlier call if there is one.

    ``quick`` compiles faster for a run that is short anyway (``is_little``).
    """
    name = (analysis.traced, analysis.batch, analysis.loss, analysis.backward, quick)
    with _cache_lock:
        if name not in _cache:
            _cache[name] = Engine(analysis, quick)
        _cache.move_to_end(name)
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
        return _cache[name]
