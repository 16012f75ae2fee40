"""An analysis, compiled: cached from call to call, for one seed or a chunk of them."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxinit._caches import Cache, cached
from jaxinit._configuration import configuration
from jaxinit.draw.pieces import draws, is_threefry
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.prune import prune
from jaxinit.signal.bundle import Bundle
from jaxinit.signal.layout import Layout, layout_of
from jaxinit.signal.statistics import (
    Analysis,
    Raw,
    no_float_output,
    not_differentiable,
    one_seed,
)

Array = jax.Array
Noise = tuple[Array, Array]
"""Keys for what the model draws besides its weights, and for the probe."""

SEEDS = "seeds"
"""The axis of a mesh along which seeds are spread."""


class Packed(NamedTuple):
    """The records of some seeds, on the host.

    Attributes:
      values: `(seeds, fields)`, all records of a seed one after the other, in an order
        that does not hang on what is rolled.
      loss: `(seeds,)`.
    """

    values: np.ndarray
    loss: np.ndarray


class Compiled:
    """The programs of one analysis: for one seed, and for chunks of them.

    The methods may be called by several threads at once.

    Attributes:
      analysis: what is measured; without gradients once it is known that there can
        be none.
      no_gradient: why there can be none, or ``None``.
      compile_seconds: time spent compiling so far.
      bytes_per_seed: memory that one seed takes, as far as it is known.
      flops_per_seed: operations of one seed, as the compiler counts them.
    """

    def __init__(self, analysis: Analysis, options: dict[str, Any] | None) -> None:
        self.no_gradient = no_float_output(analysis)
        if self.no_gradient is not None:
            analysis = analysis._replace(backward=False)
        self.analysis = analysis
        self._options = options
        self.compile_seconds = 0.0
        self.bytes_per_seed = 0
        self.flops_per_seed = 0.0
        self._function = one_seed(analysis)
        self._layout: Layout | None = None
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        chunk: int,
        variables: Sequence[Array],
        key: Noise,
        inputs: Sequence[Array],
        mesh: Mesh | None = None,
    ) -> Packed:
        """Measures drawn weights, ``chunk`` seeds of them, or one (0) without an axis.

        Args:
          chunk: how many seeds.
          variables: the leaves of parameters and state.
          key: seeds what is random besides the weights.
          inputs: the model's inputs.
          mesh: the devices over which the seeds are spread.

        Returns:
          The records, on the host.
        """
        program = self.program(chunk, variables, key, inputs, mesh)
        made = program(list(variables), key, tuple(inputs))
        values, loss = map(np.asarray, made)
        values = values[..., self._known().order]
        return Packed(values, loss) if chunk else Packed(values[None], loss[None])

    def program(
        self,
        chunk: int,
        variables: Sequence[Any],
        key: Any,
        inputs: Sequence[Any],
        mesh: Mesh | None = None,
    ) -> Any:
        """The compiled analysis of ``chunk`` seeds, 0 for one without a seed axis.

        A program fits arguments where they lie: its name holds their shardings.
        """
        name = (chunk, mesh, _placements(variables), _placements(inputs))
        with self._lock:
            if name not in self._compiled:
                start = time.perf_counter()
                given = jax.tree.map(described, (list(variables), key, tuple(inputs)))
                compiled = self._lowered(chunk, given, mesh).compile(self._options)
                self._compiled[name] = compiled
                self.compile_seconds += time.perf_counter() - start
                here = max(chunk // (mesh.size if mesh else 1), 1)
                self.bytes_per_seed = _bytes(compiled) // here
                self.flops_per_seed = _flops(compiled) / here
            return self._compiled[name]

    @property
    def has_programs(self) -> bool:
        """Whether anything is compiled so far."""
        return bool(self._compiled)

    def unpack(self, packed: Packed) -> Raw:
        """The records by what they are of, with a leading axis over seeds."""
        return self._known().taken_apart(packed.values, packed.loss)

    def know_layout(self) -> None:
        """Traces the analysis if nothing has so far: ``unpack`` needs its layout."""
        if self._layout is None:
            variables, key, inputs = abstract_arguments(self.analysis, 0)
            self._lowered(0, (variables, key, inputs), None)

    @property
    def record(self) -> tuple[int, Any]:
        """How many numbers a seed leaves, and their dtype; once the layout is known."""
        known = self._known()
        return len(known.order), known.dtype

    def _known(self) -> Layout:
        assert self._layout is not None
        return self._layout

    @property
    def weight(self) -> int:
        """Bytes that the programs take, roughly."""
        equations = len(self.analysis.traced.apply.jaxpr.eqns)
        return _BYTES_PER_EQUATION * equations * (1 + len(self._compiled))

    def _lowered(self, chunk: int, given: Any, mesh: Mesh | None) -> Any:
        """The program, lowered; without gradients where the model has none.

        It is traced once: only if that fails the model alone is differentiated, to
        tell a model without gradients from a fault of ours.
        """
        try:
            return jax.jit(self._spread(chunk, mesh)).lower(*given)
        except (ValueError, TypeError, NotImplementedError):
            if self.analysis.rolled:  # a block that a loop does not take
                self._take(self.analysis._replace(rolled=False))
                return self._lowered(chunk, given, mesh)
            if not self.analysis.backward:
                raise
            reason = not_differentiable(self.analysis)
            if reason is None:
                raise
        self.no_gradient = reason
        self._take(self.analysis._replace(backward=False))
        return jax.jit(self._spread(chunk, mesh)).lower(*given)

    def _take(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._function = one_seed(analysis)

    def _spread(self, chunk: int, mesh: Mesh | None) -> Callable[..., Any]:
        if not chunk:
            return self._packed
        if mesh is None:
            return self._over_seeds
        spec = PartitionSpec(SEEDS)
        return jax.shard_map(
            self._one_or_more,
            mesh=mesh,
            in_specs=(spec, spec, PartitionSpec()),
            out_specs=spec,
            check_vma=False,
        )

    def _one_or_more(
        self, variables: Sequence[Array], keys: Noise, inputs: Sequence[Array]
    ) -> tuple[Array, Array]:
        """The seeds of one device; one alone runs without an axis, as in a loop."""
        if len(keys[0]) > 1:
            return self._over_seeds(variables, keys, inputs)
        key = (keys[0][0], keys[1][0])
        values, loss = self._packed([x[0] for x in variables], key, inputs)
        return values[None], loss[None]

    def _over_seeds(
        self, variables: Sequence[Array], keys: Noise, inputs: Sequence[Array]
    ) -> tuple[Array, Array]:
        """All seeds at once, if that gives each the numbers that it has alone."""
        if is_threefry(keys[0]) or not _uses_key(self.analysis):
            mapped = jax.vmap(self._packed, in_axes=(0, 0, None))
            result: tuple[Array, Array] = mapped(variables, keys, inputs)
        else:
            result = jax.lax.map(
                lambda given: self._packed(given[0], given[1], inputs),
                (list(variables), keys),
            )
        return result

    def _packed(
        self, variables: Sequence[Array], key: Noise, inputs: Sequence[Array]
    ) -> tuple[Array, Array]:
        """All records as one array: fetching hundreds would take longer than work."""
        bundled, loss = self._function(variables, key, inputs)
        leaves = jax.tree.leaves(bundled)
        wide = jnp.result_type(*(leaf.dtype for leaf in leaves))
        self._layout = layout_of(Bundle(self.analysis), bundled, wide)
        flat = [leaf.reshape(-1).astype(wide) for leaf in leaves]
        return jnp.concatenate(flat), loss


def abstract_arguments(analysis: Analysis, chunk: int) -> tuple[list[Any], Any, Any]:
    """Variables, key and inputs of a program for ``chunk`` seeds, as shapes."""
    return _abstract(analysis.traced, chunk)


@cached(64)
def _abstract(traced: Traced, chunk: int) -> tuple[list[Any], Any, Any]:
    lead = (chunk,) if chunk else ()
    shape: Any = jax.ShapeDtypeStruct
    avals = [versions.shape_of(v) for v in traced.apply.jaxpr.invars]
    first = traced.input_positions.start - 1
    variables = [shape(lead + a.shape, a.dtype) for a in avals[:first]]
    inputs = avals[first + 1 :]
    probe = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    noise = shape(lead, avals[first].dtype), shape(lead, probe.dtype)
    return variables, noise, inputs


def _uses_key(analysis: Analysis) -> bool:
    """Whether numbers are drawn besides the weights."""
    nodes = prune(analysis.traced.forward).nodes
    return any(map(draws, nodes))


def _placements(values: Sequence[Any]) -> tuple[Any, ...]:
    """Where arguments lie, where that is binding; ``()`` if nowhere it is."""
    found = tuple(_placement(x) for x in values)
    return found if any(found) else ()


def _placement(value: Any) -> Any:
    return value.sharding if getattr(value, "committed", False) else None


def described(value: Any) -> Any:
    """An array's shape, with its place where that is binding."""
    shape: Any = jax.ShapeDtypeStruct
    return shape(value.shape, value.dtype, sharding=_placement(value))


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


def _flops(compiled: Any) -> float:
    cost = compiled.cost_analysis() or {}
    return float(cost.get("flops", 0.0))


# An estimate, not measured: the executable and what jax keeps of its making.
_BYTES_PER_EQUATION = 2**16
_cache: Cache[Compiled] = Cache(16, 2**28, lambda entry: entry.weight)


def compiled(analysis: Analysis, options: dict[str, Any] | None) -> Compiled:
    """The programs for ``analysis``; those of an earlier call if there are any.

    Args:
      analysis: what is measured.
      options: for the compiler (``quick_options``).

    Returns:
      The programs, compiled when they first run.
    """
    name = (
        analysis.traced,
        analysis.batch,
        analysis.loss,
        analysis.backward,
        analysis.rolled,
        tuple(sorted((options or {}).items())),
        configuration(),
    )
    return _cache.get(name, lambda: Compiled(analysis, options))
