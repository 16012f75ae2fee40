"""Runs a model's own init: the same values, compiled in a fraction of the time."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxinit._configuration import thread_pool
from jaxinit._lapack import MAY_HANG
from jaxinit._resources import cores
from jaxinit.draw.evaluate import evaluate
from jaxinit.draw.pieces import Piece, all_threefry
from jaxinit.draw.samplers import (
    Sampler,
    many_sampler,
    mapped,
    sampler,
    sharded_sampler,
)
from jaxinit.draw.schedule import schedule
from jaxinit.program import versions
from jaxinit.program.primitives import factors_batches, is_key
from jaxinit.program.program import Operand, build
from jaxinit.program.prune import prune, reached

Made = TypeVar("Made")


class Drawer:
    """Draws the outputs of a program, seed after seed; made by `drawer`.

    Attributes:
      depends_on_key: for each output, whether the key can change it.
      reads_inputs: whether an output may depend on an input that is not the key.
    """

    depends_on_key: tuple[bool, ...]
    reads_inputs: bool

    def __init__(self, program: versions.Program) -> None:
        self._block = block = prune(build(program))
        # Of the inputs only the first is the key; others may be keys of the model's.
        self._is_key = tuple(i == 0 for i, _ in enumerate(program.jaxpr.invars))
        self.depends_on_key = tuple(reached(block, self._is_key)[1])
        others = [not mark for mark in self._is_key]
        self.reads_inputs = any(reached(block, others)[1])
        self._plan = plan = schedule(block)
        # Kinds of keys other than the default give other numbers under `jax.vmap`.
        self._mappable = all_threefry(block)
        self._compiled: set[Sampler] = set()
        equations = (node.equation for node in block.nodes)
        self._one_by_one = MAY_HANG and factors_batches(equations)
        self._one = jax.jit(lambda *given: plan.start(given))
        self._many = jax.jit(lambda *given: self._start_many(given))

    def __call__(self, key: jax.Array, *inputs: Any) -> list[jax.Array]:
        """The outputs for one key, the values that `jax.jit` of the program gives."""
        if isinstance(key, jax.core.Tracer):
            return self.pure(key, *inputs)
        given = (key, *inputs)
        made = self._finish(given, self._one(*given), self._samplers())
        return self._apart(made)

    def compile(self, key: Any, *inputs: Any) -> None:
        """Compiles what a draw of one key runs, and draws nothing.

        Args:
          key: the key's shape, with its sharding where that is binding.
          *inputs: likewise of the other inputs.
        """
        given = (key, *inputs)
        start = self._one.lower(*given)
        made = start.out_info
        if any(x.sharding is not None for x in given):  # the samplers' stacks lie there
            made = jax.tree.map(_placed, made, start.compile().output_shardings)
        with thread_pool(cores()) as pool:
            started = pool.submit(start.compile)
            self._compile(self._samplers(), self._arguments(given, made[1]))
        started.result()

    def batched(self, keys: jax.Array, *inputs: Any) -> list[jax.Array]:
        """The outputs for many keys ``(n,)``, each with a leading axis ``n``."""
        given = (keys, *inputs)
        samplers = []
        for call in self._plan.calls:
            axes = tuple(
                None if source is not None and not self._is_key[source] else 0
                for source in call.sources
            )
            many = many_sampler(
                call.pieces[0],
                call.stacked,
                axes,
                0 if 0 in axes else len(keys),
                self._mappable,
            )
            samplers.append([many] * len(call.pieces))
        return self._finish(given, self._many(*given), samplers)

    def sharded(
        self, to: Sequence[Any], key: jax.Array, *inputs: Any
    ) -> list[jax.Array]:
        """The outputs for one key, each born with its sharding in ``to``, if any.

        Each device draws its part; no output is ever whole on one of them.
        """
        plan, given = self._plan, (key, *inputs)
        wanted = dict(zip(reversed(self._block.outputs), reversed(to), strict=True))
        early = [wanted.get(output) for output in plan.early]
        start = jax.jit(lambda *given: plan.start(given), out_shardings=(early, None))
        samplers = [
            [
                sharded_sampler(call.pieces[0], call.stacked, _asked(piece, wanted))
                for piece in call.pieces
            ]
            for call in plan.calls
        ]
        made = self._apart(self._finish(given, start(*given), samplers))
        return [
            x if s is None or x.sharding == s else jax.device_put(x, s)
            for x, s in zip(made, to, strict=True)
        ]

    def pure(self, *inputs: Any) -> list[jax.Array]:
        """The outputs for ``(key, *inputs)``, to be traced into a larger program."""
        return evaluate(self._block, inputs)

    def _finish(
        self,
        given: Sequence[Any],
        started: tuple[list[Any], list[list[Any]]],
        samplers: Sequence[Sequence[Sampler]],
    ) -> list[Any]:
        early, columns = self._waited(started)
        calls, arguments = self._plan.calls, self._arguments(given, columns)
        self._compile(samplers, arguments)
        values: dict[Operand | None, Any] = dict(
            zip(self._plan.early, early, strict=True)
        )
        for call, column, args in zip(calls, samplers, arguments, strict=True):
            for sample, place, piece in zip(
                column, call.places, call.pieces, strict=True
            ):
                made = self._waited(sample(place, *args))
                values.update(zip(piece.outputs, made, strict=True))
        return [values[output] for output in self._block.outputs]

    def _samplers(self) -> list[list[Sampler]]:
        """What draws each piece of each call, of one key."""
        return [
            [sampler(call.pieces[0], call.stacked)] * len(call.pieces)
            for call in self._plan.calls
        ]

    def _arguments(
        self, given: Sequence[Any], columns: Sequence[Sequence[Any]]
    ) -> list[list[Any]]:
        """What each call's samplers take, from what the first program makes."""
        return [
            call.arguments(given, rest)
            for call, rest in zip(self._plan.calls, columns, strict=True)
        ]

    def _compile(
        self, samplers: Sequence[Sequence[Sampler]], arguments: Sequence[Sequence[Any]]
    ) -> None:
        """Compiles the samplers that are new here, side by side."""
        new: dict[Sampler, Any] = {}
        for call, column, args in zip(
            self._plan.calls, samplers, arguments, strict=True
        ):
            for sample, place in zip(column, call.places, strict=True):
                if sample not in self._compiled:
                    new.setdefault(sample, (place, *args))
        if new:
            with thread_pool(cores()) as pool:
                jobs = [pool.submit(_compiled, *job) for job in new.items()]
            for job in jobs:
                job.result()
            self._compiled.update(new)

    def _apart(self, made: list[Any]) -> list[Any]:
        """``made`` without an array that stands twice: donating both would fail."""
        seen: set[Operand | None] = set()
        apart = list(made)
        for i, output in enumerate(self._block.outputs):
            if output in seen:
                apart[i] = jnp.copy(made[i])
            seen.add(output)
        return apart

    def _waited(self, made: Made) -> Made:
        """Waits for what was drawn where two draws at once might wait forever."""
        return jax.block_until_ready(made) if self._one_by_one else made

    def _start_many(self, given: Sequence[Any]) -> Any:
        axes = [0 if mark else None for mark in self._is_key]
        size = len(given[0]) if self._mappable else 1
        return mapped(self._plan.start, axes, given, size)


def drawer(init: versions.Program) -> Drawer:
    """Makes a function that draws what ``init`` draws, and compiles far faster.

    What the outputs do not need is dropped (a linen module's init runs the whole
    forward pass). The rest is cut into samplers, as a rule one for each random
    parameter; equal samplers are compiled once and called again and again, and each
    draws its numbers flat. The values are those of ``jax.jit`` of ``init``: bit for bit
    for the usual samplers, within rounding where the compiler rounds a longer chain of
    operations as its surroundings suggest (seen with gamma draws). Side effects of
    what is dropped are dropped with it.

    Args:
      init: the traced init. Its first input is a typed random key; the others are
        arrays, such as the example inputs of the model.

    Returns:
      A `Drawer`: call it with the inputs of ``init``.

    Raises:
      ValueError: if ``init`` does not take a typed key first.

    Examples:
      >>> import jax
      >>> from jaxinit.program import versions
      >>> def init(key):
      ...     return jax.random.normal(key, (2, 3)), jax.numpy.zeros(3)
      >>> program, _ = versions.trace(init, jax.random.key(0))
      >>> draw = drawer(program)
      >>> [leaf.shape for leaf in draw(jax.random.key(1))]
      [(2, 3), (3,)]
      >>> [leaf.shape for leaf in draw.batched(jax.random.split(jax.random.key(1), 5))]
      [(5, 2, 3), (5, 3)]
      >>> draw.depends_on_key
      (True, False)
    """
    avals = [var.aval for var in init.jaxpr.invars]
    if not avals or not is_key(avals[0]):
        raise ValueError(
            "`init` must take a typed random key as its first input, got "
            f"{avals[0] if avals else 'no inputs'}. Trace it with "
            "`jax.random.key(0)` in front, or wrap a raw key by "
            "`jax.random.wrap_key_data`."
        )
    return Drawer(init)


def _compiled(sample: Any, given: Sequence[Any]) -> None:
    sample.lower(*given).compile()


def _placed(shape: Any, sharding: Any) -> Any:
    found: Any = jax.ShapeDtypeStruct
    return found(shape.shape, shape.dtype, sharding=sharding)


def _asked(piece: Piece, wanted: dict[Operand | None, Any]) -> tuple[Any, ...]:
    """The shardings of a piece's outputs."""
    return tuple(wanted.get(output) for output in piece.outputs)
