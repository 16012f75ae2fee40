"""The two programs of a race: compiled once, for all schemes and for later races."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxinit._caches import Cache
from jaxinit._configuration import configuration, thread_pool
from jaxinit.draw.compiling import quick_options
from jaxinit.train.batches import Batch
from jaxinit.train.training import Run, Training

Array = jax.Array


class Programs:
    """``Training.begin`` and ``Training.segment``, compiled, for one run or for many.

    Args:
      training: what is compiled.
      many: whether over a leading axis of runs, which share batches.
      sharding: how that axis is spread over devices.
      passes: how many forward passes will be run; ``None`` for many.
    """

    def __init__(
        self,
        training: Training,
        many: bool,
        sharding: NamedSharding | None,
        passes: int | None,
    ) -> None:
        begin: Any = training.begin
        segment: Any = training.segment
        if many:
            begin = jax.vmap(begin, in_axes=(None, None, 0, 0))
            segment = jax.vmap(segment, in_axes=(0, 0, 0, None, None))
        sites = training.network.sites
        # A run stays where it begins: what follows goes where its state is.
        placed: Any = {} if sharding is None else {"out_shardings": sharding}
        options = quick_options(sites, 1)
        self.begin = jax.jit(begin, compiler_options=options, **placed)
        options = None if passes is None else quick_options(sites, passes)
        self._segment = jax.jit(segment, compiler_options=options, donate_argnums=0)
        self._training, self._sharding = training, sharding
        self._ahead: dict[Any, Future[None]] = {}

    def segment(
        self, run: Run, rates: Any, keys: Array, first: Any, batches: Batch
    ) -> tuple[Run, tuple[Array, Array]]:
        """As ``Training.segment``, for all runs."""
        started = self._ahead.get(_name(rates.shape, batches))
        if started is not None:
            started.exception()  # else it would be compiled a second time
        return self._segment(run, rates, keys, first, batches)  # type: ignore[no-any-return]

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
        names = [_name(rates.shape, batches) for batches in segments]
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
        started = jax.eval_shape(self.begin, drawn, many(keys), where, rates)
        if self._sharding is not None:
            started = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(
                    x.shape, x.dtype, sharding=self._sharding
                ),
                started,
            )
        run, noise = started
        self._segment.lower(run, rates, noise, jnp.int32(0), batches).compile()


def _name(runs: tuple[int, ...], batches: Batch) -> Any:
    """What tells the programs of two calls of ``segment`` apart."""
    return runs, *(leaf.shape for leaf in jax.tree.leaves(batches))


def programs(
    training: Training,
    given: tuple[Any, ...],
    many: bool,
    sharding: NamedSharding | None = None,
    passes: int | None = None,
) -> Programs:
    """The programs of a race; those of an earlier one if they are equal.

    Args:
      training: what is compiled.
      given: the loss and the optimizer as the user gave them, by which equal ones are
        known.
      many: whether over a leading axis of runs, which share batches.
      sharding: how that axis is spread over devices.
      passes: how many forward passes will be run, a gradient as two more: programs
        with little to do are compiled in haste. ``None`` for many.
    """
    quick = passes is not None and bool(quick_options(training.network.sites, passes))
    name = training.network.traced, given, many, sharding, quick, configuration()

    def make() -> Programs:
        return Programs(training, many, sharding, passes)

    try:
        hash(name)
    except TypeError:
        return make()
    return _cache.get(name, make)


_cache: Cache[Programs] = Cache(16)
