"""The two programs of a race: compiled once, for all schemes and for later races."""

import functools
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxinit._caches import Cache
from jaxinit._configuration import configuration, thread_pool
from jaxinit._resources import cores
from jaxinit.draw.compiling import quick_options
from jaxinit.train.batches import Batch
from jaxinit.train.training import Run, Training

Array = jax.Array


class Group(NamedTuple):
    """Runs that are trained by one call.

    Attributes:
      run: their state.
      keys: of each.
      rates: likewise.
    """

    run: Run
    keys: Array
    rates: Any


class Programs:
    """``Training.begin`` and ``Training.segment``, compiled, for groups of runs.

    Args:
      training: what is compiled.
      group: how many runs are one product; 0 for runs without an axis over them.
      sharding: how they are spread over devices.
      passes: how many forward passes will be run; ``None`` for many.
    """

    def __init__(
        self,
        training: Training,
        group: int,
        sharding: NamedSharding | None,
        passes: int | None,
    ) -> None:
        begin: Any = training.begin
        segment: Any = training.segment
        if group:
            begin = jax.vmap(begin, in_axes=(None, None, 0, 0))
            segment = jax.vmap(segment, in_axes=(0, 0, 0, None, None))
        sites = training.network.sites
        # A run stays where it begins: what follows goes where its state is.
        stays: Any = {} if sharding is None else {"out_shardings": sharding}
        options = quick_options(sites, 1)
        self._begin = jax.jit(begin, compiler_options=options, **stays)
        options = None if passes is None else quick_options(sites, passes)
        self._segment = jax.jit(segment, compiler_options=options, donate_argnums=0)
        self._training, self._sharding = training, sharding
        self._group = group
        self._ahead: dict[Any, Future[Any]] = {}

    def begin(
        self, drawn: Sequence[Array], keys: Array, where: Any, rates: Any
    ) -> list[Group]:
        """As ``Training.begin``, for each of ``rates``: the runs, in equal groups."""
        self._wait_for(len(keys))
        groups: list[Group] = []
        size = self._group or 1
        for first in range(0, len(rates), size):
            at: Any = slice(first, first + size) if self._group else first
            run, noise = self._begin(drawn, keys, where[at], rates[at])
            groups.append(Group(run, noise, rates[at]))
        return groups

    def segment(
        self, groups: Sequence[Group], first: Any, batches: Batch
    ) -> tuple[list[Group], tuple[np.ndarray, np.ndarray]]:
        """As ``Training.segment``, for all runs: as many groups at once as cores."""
        self._wait_for(_name(np.shape(groups[0].rates), batches))

        def one(group: Group) -> Any:
            given = group.run, group.rates, group.keys
            run, seen = self._segment(*given, first, batches)
            return group._replace(run=run), jax.tree.map(np.asarray, seen)

        if len(groups) == 1:
            found = [one(groups[0])]
        else:
            batches = jax.device_put(batches)
            with thread_pool(min(len(groups), cores())) as pool:
                found = list(pool.map(one, groups))
        losses, accuracies = zip(*(seen for _, seen in found), strict=True)
        seen = self._joined(losses), self._joined(accuracies)
        return [group for group, _ in found], seen

    def params(self, groups: Sequence[Group]) -> list[np.ndarray]:
        """The parameters of all runs, leaf by leaf."""
        leaves = zip(*(group.run.params for group in groups), strict=True)
        return [self._joined([np.asarray(leaf) for leaf in same]) for same in leaves]

    def _joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        if not self._group:
            return np.stack(parts)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def compile_ahead(
        self, seeds: int, keys: Array, rates: Any, segments: Sequence[Batch]
    ) -> None:
        """Starts to compile what begins and trains, while the caller draws weights.

        What fails here fails again, and is told, where it is called.

        Args:
          seeds: how many are drawn for the runs.
          keys: one that is like theirs.
          rates: of a group.
          segments: batches like those that they will see.
        """
        begin = functools.partial(self._started, seeds, keys, rates)
        jobs = {seeds: lambda: begin().compile()} | {
            _name(rates.shape, batches): functools.partial(
                self._compile, begin, rates, batches
            )
            for batches in segments
        }
        missing = [name for name in jobs if name not in self._ahead]
        if not missing:
            return
        pool = thread_pool(1)
        self._ahead |= {name: pool.submit(jobs[name]) for name in missing}
        pool.shutdown(wait=False)

    def _wait_for(self, name: Any) -> None:
        """Else it would be compiled a second time; what failed fails again."""
        started = self._ahead.get(name)
        if started is not None:
            started.exception()

    def _started(self, seeds: int, keys: Array, rates: Any) -> Any:
        """What begins, lowered."""

        def many(kind: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((seeds, *kind.shape), kind.dtype)

        drawn = [many(kind) for kind in self._training.kinds]
        where = jax.ShapeDtypeStruct(rates.shape, np.int32)
        return self._begin.lower(drawn, many(keys), where, rates)

    def _compile(self, begin: Any, rates: Any, batches: Batch) -> None:
        run, noise = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._sharding),
            begin().out_info,
        )
        self._segment.lower(run, rates, noise, jnp.int32(0), batches).compile()


def _name(runs: tuple[int, ...], batches: Batch) -> Any:
    """What tells the programs of two calls of ``segment`` apart."""
    return runs, *(leaf.shape for leaf in jax.tree.leaves(batches))


def programs(
    training: Training,
    given: tuple[Any, ...],
    group: int,
    sharding: NamedSharding | None = None,
    passes: int | None = None,
) -> Programs:
    """The programs of a race; those of an earlier one if they are equal.

    Args:
      training: what is compiled.
      given: the loss and the optimizer as the user gave them, by which equal ones are
        known.
      group: how many runs are one product; 0 for runs without an axis over them.
      sharding: how that axis is spread over devices.
      passes: how many forward passes will be run, a gradient as two more: programs
        with little to do are compiled in haste. ``None`` for many.
    """
    quick = passes is not None and bool(quick_options(training.network.sites, passes))
    name = training.network.traced, given, group, sharding, quick, configuration()

    def make() -> Programs:
        return Programs(training, group, sharding, passes)

    try:
        hash(name)
    except TypeError:
        return make()
    return _cache.get(name, make)


_cache: Cache[Programs] = Cache(16)
