"""The two programs of a race: compiled once, for all schemes and for later races."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding

from jaxinit._caches import Cache
from jaxinit._configuration import configuration, thread_pool
from jaxinit.draw.compiling import quick_options
from jaxinit.train.batches import Batch
from jaxinit.train.layout import Layout
from jaxinit.train.training import Run, Training

Array = jax.Array


class Part(NamedTuple):
    """Runs that are trained by one call.

    Attributes:
      run: their state.
      keys: of each.
      rates: likewise.
    """

    run: Run
    keys: Array
    rates: Any

    @property
    def given(self) -> tuple[Run, Any, Array]:
        """What ``Training.segment`` takes of it."""
        return self.run, self.rates, self.keys


class Programs:
    """``Training.begin`` and ``Training.segment``, compiled, for one run or for many.

    Args:
      training: what is compiled.
      placed: how many runs are trained at once, and where; ``None`` for one.
      sharding: how they are spread over devices.
      passes: how many forward passes will be run; ``None`` for many.
    """

    def __init__(
        self,
        training: Training,
        placed: Layout | None,
        sharding: NamedSharding | None,
        passes: int | None,
    ) -> None:
        begin: Any = training.begin
        segment: Any = training.segment
        if placed is not None:
            begin = jax.vmap(begin, in_axes=(None, None, 0, 0))
            segment = _in_groups(segment, placed.group)
        sites = training.network.sites
        # A run stays where it begins: what follows goes where its state is.
        stays: Any = {} if sharding is None else {"out_shardings": sharding}
        options = quick_options(sites, 1)
        self._begin = jax.jit(begin, compiler_options=options, **stays)
        options = None if passes is None else quick_options(sites, passes)
        self._segment = jax.jit(segment, compiler_options=options, donate_argnums=0)
        self._training, self._sharding = training, sharding
        self._parts = 1 if placed is None else placed.parts
        self._ahead: dict[Any, Future[None]] = {}

    def begin(
        self, drawn: Sequence[Array], keys: Array, where: Any, rates: Any
    ) -> list[Part]:
        """As ``Training.begin``: the runs, in equal parts."""
        shares = self._shares(where), self._shares(rates)
        return [
            Part(*self._begin(drawn, keys, *share), share[1])
            for share in zip(*shares, strict=True)
        ]

    def segment(
        self, parts: Sequence[Part], first: Any, batches: Batch
    ) -> tuple[list[Part], tuple[np.ndarray, np.ndarray]]:
        """As ``Training.segment``, for all runs, whose parts do not wait in turn."""
        started = self._ahead.get(_name(np.shape(parts[0].rates), batches))
        if started is not None:
            started.exception()  # else it would be compiled a second time

        def one(part: Part) -> Any:
            run, seen = self._segment(*part.given, first, batches)
            return part._replace(run=run), jax.tree.map(np.asarray, seen)

        if len(parts) == 1:
            found = [one(parts[0])]
        else:
            batches = jax.device_put(batches)
            with thread_pool(len(parts)) as pool:
                found = list(pool.map(one, parts))
        losses, accuracies = zip(*(seen for _, seen in found), strict=True)
        return [part for part, _ in found], (_joined(losses), _joined(accuracies))

    def params(self, parts: Sequence[Part]) -> list[np.ndarray]:
        """The parameters of all runs, leaf by leaf."""
        leaves = zip(*(part.run.params for part in parts), strict=True)
        return [_joined([np.asarray(leaf) for leaf in shares]) for shares in leaves]

    def _shares(self, values: Any) -> list[Any]:
        return np.split(values, self._parts) if np.ndim(values) else [values]

    def compile_ahead(
        self, seeds: int, keys: Array, rates: Any, segments: Sequence[Batch]
    ) -> None:
        """Starts to compile what trains, while the caller draws weights.

        What fails here fails again, and is told, where it is called.

        Args:
          seeds: how many are drawn for the runs.
          keys: one that is like theirs.
          rates: of the runs.
          segments: batches like those that they will see.
        """
        shape = tuple(size // self._parts for size in rates.shape)
        rates = jax.ShapeDtypeStruct(shape, rates.dtype)
        names = [_name(shape, batches) for batches in segments]
        if all(name in self._ahead for name in names):
            return
        pool = thread_pool(1)
        for name, batches in zip(names, segments, strict=True):
            if name not in self._ahead:
                job = pool.submit(self._compile, seeds, keys, rates, batches)
                self._ahead[name] = job
        pool.shutdown(wait=False)

    def _compile(self, seeds: int, keys: Array, rates: Any, batches: Batch) -> None:
        def many(kind: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((seeds, *kind.shape), kind.dtype)

        drawn = [many(kind) for kind in self._training.kinds]
        where = jax.ShapeDtypeStruct(rates.shape, np.int32)
        started = jax.eval_shape(self._begin, drawn, many(keys), where, rates)
        if self._sharding is not None:
            started = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(
                    x.shape, x.dtype, sharding=self._sharding
                ),
                started,
            )
        run, noise = started
        self._segment.lower(run, rates, noise, jnp.int32(0), batches).compile()


def _in_groups(segment: Any, size: int) -> Any:
    """``Training.segment`` of many runs, of which ``size`` are trained at once."""
    together = jax.vmap(segment, in_axes=(0, 0, 0, None, None))

    def segments(run: Run, rates: Any, keys: Array, first: Any, batches: Any) -> Any:
        if len(rates) == size:
            return together(run, rates, keys, first, batches)
        count = len(rates) // size
        found = lax.map(
            lambda group: together(*group, first, batches),
            jax.tree.map(
                lambda x: x.reshape(count, size, *x.shape[1:]), (run, rates, keys)
            ),
        )
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)

    segments.__name__ = "segment"
    return segments


def _joined(shares: Sequence[np.ndarray]) -> np.ndarray:
    return shares[0] if len(shares) == 1 else np.concatenate(shares)


def _name(runs: tuple[int, ...], batches: Batch) -> Any:
    """What tells the programs of two calls of ``segment`` apart."""
    return runs, *(leaf.shape for leaf in jax.tree.leaves(batches))


def programs(
    training: Training,
    given: tuple[Any, ...],
    placed: Layout | None,
    sharding: NamedSharding | None = None,
    passes: int | None = None,
) -> Programs:
    """The programs of a race; those of an earlier one if they are equal.

    Args:
      training: what is compiled.
      given: the loss and the optimizer as the user gave them, by which equal ones are
        known.
      placed: how many runs are trained at once, and where; ``None`` for one.
      sharding: how that axis is spread over devices.
      passes: how many forward passes will be run, a gradient as two more: programs
        with little to do are compiled in haste. ``None`` for many.
    """
    quick = passes is not None and bool(quick_options(training.network.sites, passes))
    name = training.network.traced, given, placed, sharding, quick, configuration()

    def make() -> Programs:
        return Programs(training, placed, sharding, passes)

    try:
        hash(name)
    except TypeError:
        return make()
    return _cache.get(name, make)


_cache: Cache[Programs] = Cache(16)
