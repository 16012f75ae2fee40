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
from jax.sharding import NamedSharding, PartitionSpec

from jaxinit.draw.own_init import Draw
from jaxinit.signal.statistics import Analysis, Raw, no_gradient, one_seed

Array = jax.Array


class Compiled:
    """The programs of one analysis: for one seed, and for chunks of them.

    The methods may be called by several threads at once.

    Attributes:
      analysis: what is measured; without gradients if there can be none.
      no_gradient: why there can be none, or ``None``.
      compile_seconds: time spent compiling so far.
      bytes_per_seed: memory that one seed takes, as far as it is known.
    """

    def __init__(self, analysis: Analysis, options: dict[str, Any] | None) -> None:
        self.no_gradient = no_gradient(analysis)
        if self.no_gradient is not None:
            analysis = analysis._replace(backward=False)
        self.analysis = analysis
        self._options = options
        self.compile_seconds = 0.0
        self.bytes_per_seed = 0
        self._function = one_seed(analysis)
        self._layout: Any = None
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        chunk: int,
        variables: Sequence[Array],
        key: Array,
        inputs: Sequence[Array],
    ) -> Raw:
        """Measures drawn weights, ``chunk`` seeds of them, or one (0) without an axis.

        Args:
          chunk: how many seeds.
          variables: the leaves of parameters and state.
          key: seeds what is random besides the weights.
          inputs: the model's inputs.

        Returns:
          The records, on the host.
        """
        program = self.program(chunk, variables, key, inputs)
        return self._unpacked(program(list(variables), key, list(inputs)))

    def program(
        self, chunk: int, variables: Sequence[Any], key: Any, inputs: Sequence[Array]
    ) -> Any:
        """The compiled analysis of ``chunk`` seeds, 0 for one without a seed axis.

        Arrays are compiled for where they are: on one device, or sharded. Of
        ``variables`` the shapes and shardings will do.
        """
        given = (list(variables), key, list(inputs))
        name = (chunk, *map(_placed, jax.tree.leaves(given)))
        with self._lock:
            if name not in self._compiled:
                start = time.perf_counter()
                function: Any = self._packed
                if chunk:
                    function = jax.vmap(function, in_axes=(0, 0, None))
                compiled = jax.jit(function).lower(*given).compile(self._options)
                self._compiled[name] = compiled
                self.compile_seconds += time.perf_counter() - start
                self.bytes_per_seed = _bytes(compiled) // max(chunk, 1)
            return self._compiled[name]

    def _packed(
        self, variables: Sequence[Array], key: Array, inputs: Sequence[Array]
    ) -> tuple[Array, Array]:
        """All records as one array: fetching hundreds would take longer than work."""
        raw = self._function(variables, key, inputs)
        leaves, structure = jax.tree.flatten(raw._replace(loss=None))
        self._layout = structure, [leaf.shape for leaf in leaves]
        wide = jnp.result_type(*(leaf.dtype for leaf in leaves))
        flat = [leaf.reshape(-1).astype(wide) for leaf in leaves]
        return jnp.concatenate(flat), raw.loss

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


class Engine:
    """Draws weights and measures the signal, one seed or a chunk at a time.

    Weights are drawn by a program of their own: the two compile far faster apart.

    Args:
      compiled: the analysis.
      draw: how weights are drawn.
    """

    def __init__(self, compiled: Compiled, draw: Draw) -> None:
        self.compiled = compiled
        self.draw = draw

    def run(self, key: Array, inputs: Sequence[Array]) -> Raw:
        """One seed, on the host: ``key`` seeds the weights and all that is random."""
        variables = self.draw(key, *inputs)
        return self.compiled(0, variables, jax.random.fold_in(key, 1), inputs)

    def run_batched(self, keys: Array, inputs: Sequence[Array]) -> Raw:
        """A chunk of seeds at once; every result has a leading axis over them."""
        variables = self.draw.batched(keys, *inputs)
        rest = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        return self.compiled(len(keys), variables, rest, inputs)

    def measure_memory(self, chunk: int, key: Array, inputs: Sequence[Array]) -> int:
        """Compiles for a chunk of seeds; the bytes that it takes, 0 if unknown."""
        variables = [_stack_of(x, chunk) for x in self.draw(key, *inputs)]
        keys = _stack_of(key, chunk)
        self.compiled.program(chunk, variables, keys, inputs)
        return self.bytes_per_seed * max(chunk, 1)

    @property
    def analysis(self) -> Analysis:
        return self.compiled.analysis

    @property
    def bytes_per_seed(self) -> int:
        return self.compiled.bytes_per_seed


def _placed(x: Any) -> Any:
    """Where an array is, if it was put there on purpose."""
    return x.sharding if getattr(x, "committed", True) else None


def _stack_of(x: Array, chunk: int) -> jax.ShapeDtypeStruct:
    """The shape and sharding of ``chunk`` arrays like ``x``, or of one (0)."""
    sharding: Any = _placed(x)
    if chunk and isinstance(sharding, NamedSharding):
        sharding = sharding.update(spec=PartitionSpec(None, *sharding.spec))
    shape = (chunk, *x.shape) if chunk else x.shape
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)


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


_CACHE_SIZE = 16
_cache: OrderedDict[Any, Compiled] = OrderedDict()
_cache_lock = threading.Lock()


def compiled(analysis: Analysis, options: dict[str, Any] | None) -> Compiled:
    """The programs for ``analysis``; those of an earlier call if there are any.

    Args:
      analysis: what is measured.
      options: for the compiler (``quick_options``).

    Returns:
      The programs, compiled when they first run.
    """
    quick = options is not None
    name = (analysis.traced, analysis.batch, analysis.loss, analysis.backward, quick)
    with _cache_lock:
        if name not in _cache:
            _cache[name] = Compiled(analysis, options)
        _cache.move_to_end(name)
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
        return _cache[name]
