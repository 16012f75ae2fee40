"""Runs a model's own init: the same values, compiled in a fraction of the time."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit._caches import cached
from jaxinit._configuration import thread_pool
from jaxinit._lapack import MAY_HANG
from jaxinit._resources import cores
from jaxinit.draw.evaluate import evaluate, read, run_group, run_piece, stack
from jaxinit.draw.pieces import DRAWS, Piece, all_threefry, cut
from jaxinit.program import versions
from jaxinit.program.primitives import LAPACK, is_key
from jaxinit.program.program import Operand, build
from jaxinit.program.prune import Block, body_marks, prune, reached

# Of one sampler this many elements are drawn at a time where many keys are drawn at
# once. On a CPU what is drawn should fit in a core's cache: twice as fast.
_CPU_ELEMENTS = 2**16
_DEVICE_ELEMENTS = 2**24

# Compiled samplers that are kept for the next model, least recently used out first.
_SAMPLERS = 256


class Drawer:
    """Draws the outputs of a program, seed after seed; made by `drawer`.

    Attributes:
      depends_on_key: for each output, whether the key can change it.
      ignores_key: whether the program draws random numbers from a key that is not
        derived from its own: every seed then gets the same numbers.
      reads_inputs: whether an output may depend on an input that is not the key.
    """

    depends_on_key: tuple[bool, ...]
    ignores_key: bool
    reads_inputs: bool

    def __init__(self, program: versions.Program) -> None:
        self._block = block = prune(build(program))
        # Of the inputs only the first is the key; others may be keys of the model's.
        self._is_key = tuple(i == 0 for i, _ in enumerate(program.jaxpr.invars))
        self.depends_on_key = tuple(reached(block, self._is_key)[1])
        self.ignores_key = _draws_elsewhere(block, self._is_key)
        others = [not mark for mark in self._is_key]
        self.reads_inputs = any(reached(block, others)[1])
        self._plan = plan = _plan(block)
        # Kinds of keys other than the default give other numbers under `jax.vmap`.
        self._mappable = all_threefry(block)
        self._compiled: set[Callable[..., list[Any]]] = set()
        self._one = jax.jit(lambda *given: _start(plan, given))
        self._many = jax.jit(lambda *given: self._start_many(given))

    def __call__(self, key: jax.Array, *inputs: Any) -> list[jax.Array]:
        """The outputs for one key, the values that `jax.jit` of the program gives."""
        if isinstance(key, jax.core.Tracer):
            return self.pure(key, *inputs)
        given = (key, *inputs)
        samplers = [
            [_sampler(call.pieces[0], call.stacked)] * len(call.pieces)
            for call in self._plan.calls
        ]
        return self._finish(given, self._one(*given), samplers)

    def batched(self, keys: jax.Array, *inputs: Any) -> list[jax.Array]:
        """The outputs for many keys ``(n,)``, each with a leading axis ``n``."""
        given = (keys, *inputs)
        samplers = []
        for call in self._plan.calls:
            axes = tuple(
                None if source is not None and not self._is_key[source] else 0
                for source in call.sources
            )
            sampler = _many_sampler(
                call.pieces[0],
                call.stacked,
                axes,
                0 if 0 in axes else len(keys),
                self._mappable,
            )
            samplers.append([sampler] * len(call.pieces))
        return self._finish(given, self._many(*given), samplers)

    def sharded(
        self, to: Sequence[Any], key: jax.Array, *inputs: Any
    ) -> list[jax.Array]:
        """The outputs for one key, each born with its sharding in ``to``, if any.

        Each device draws its part; no output is ever whole on one of them.
        """
        plan, given = self._plan, (key, *inputs)
        wanted = dict(zip(self._block.outputs, to, strict=True))
        early = [wanted.get(output) for output in plan.early]
        start = jax.jit(lambda *given: _start(plan, given), out_shardings=(early, None))
        samplers = [
            [
                _sharded_sampler(call.pieces[0], call.stacked, _asked(piece, wanted))
                for piece in call.pieces
            ]
            for call in plan.calls
        ]
        return self._finish(given, start(*given), samplers)

    def pure(self, *inputs: Any) -> list[jax.Array]:
        """The outputs for ``(key, *inputs)``, to be traced into a larger program."""
        return evaluate(self._block, inputs)

    def _finish(
        self,
        given: Sequence[Any],
        started: tuple[list[Any], list[list[Any]]],
        samplers: Sequence[Sequence[Callable[..., list[Any]]]],
    ) -> list[Any]:
        early, columns = started
        calls = self._plan.calls
        arguments = [
            call.arguments(given, rest)
            for call, rest in zip(calls, columns, strict=True)
        ]
        new: dict[Any, Any] = {}
        for call, column, args in zip(calls, samplers, arguments, strict=True):
            for sample, place in zip(column, call.places, strict=True):
                if sample not in self._compiled:
                    new.setdefault(sample, (place, *args))
        if new:  # compile them side by side
            with thread_pool(cores()) as pool:
                list(pool.map(lambda job: job[0](*job[1]), new.items()))
            self._compiled.update(new)
        values = dict(zip(self._plan.early, early, strict=True))
        for call, column, args in zip(calls, samplers, arguments, strict=True):
            for sample, place, piece in zip(
                column, call.places, call.pieces, strict=True
            ):
                values.update(zip(piece.outputs, sample(place, *args), strict=True))
        return [values[output] for output in self._block.outputs]

    def _start_many(self, given: Sequence[Any]) -> Any:
        axes = [0 if mark else None for mark in self._is_key]
        start = functools.partial(_start, self._plan)
        size = len(given[0]) if self._mappable else 1
        return _map(start, axes, given, size)


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
      >>> def init(key):
      ...     return jax.random.normal(key, (2, 3)), jnp.zeros(3)
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


# The plan: one program that derives the keys, then a call for each draw --------------


@dataclass(frozen=True)
class _Call:
    """Equal pieces, drawn by as many calls of one sampler.

    Attributes:
      pieces: the pieces.
      columns: for each input of a piece, what each of the pieces reads there.
      stacked: for each column, whether it is passed as a stack to pick from.
      sources: for each column, the input of the program that it is, if it is one.
      places: the place of each piece in the stacks.
    """

    pieces: tuple[Piece, ...]
    columns: tuple[tuple[Operand, ...], ...]
    stacked: tuple[bool, ...]
    sources: tuple[int | None, ...]
    places: tuple[jax.Array, ...]

    def arguments(self, given: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        """What to pass for each column: an input, or the next of ``rest``."""
        computed = iter(rest)
        return [next(computed) if s is None else given[s] for s in self.sources]


class _Plan(NamedTuple):
    """How to compute a block: ``groups`` in the first program, then the calls."""

    inputs: tuple[int, ...]
    groups: list[list[Piece]]
    calls: list[_Call]
    early: list[Operand]  # the outputs that the first program makes


def _plan(block: Block) -> _Plan:
    groups, calls = [], []
    pieces = cut(block)
    read = {operand for group in pieces for piece in group for operand in piece.inputs}
    drawn: set[Operand] = set()
    for group in pieces:
        last = [p.draws and not read.intersection(p.outputs) for p in group]
        groups.append([p for p, late in zip(group, last, strict=True) if not late])
        late = tuple(itertools.compress(group, last))
        if late:
            calls.append(_call(block, late))
            drawn.update(value for piece in late for value in piece.outputs)
    early = [output for output in dict.fromkeys(block.outputs) if output not in drawn]
    return _Plan(block.inputs, groups, calls, early)


def _call(block: Block, pieces: tuple[Piece, ...]) -> _Call:
    columns = tuple(zip(*(piece.inputs for piece in pieces), strict=True))
    stacked = tuple(len(set(column)) > 1 for column in columns)
    sources = tuple(
        block.inputs.index(column[0])
        if not many and column[0] in block.inputs
        else None
        for column, many in zip(columns, stacked, strict=True)
    )
    places = tuple(jnp.asarray(i, jnp.int32) for i in range(len(pieces)))
    return _Call(pieces, columns, stacked, sources, places)


def _start(plan: _Plan, given: Sequence[Any]) -> tuple[list[Any], list[list[Any]]]:
    """The early outputs, and for each call the columns that must be computed."""
    env: dict[Operand, Any] = dict(zip(plan.inputs, given, strict=True))
    for group in plan.groups:
        run_group(group, env)
    columns = [
        [
            stack(env, column) if many else read(env, column[0])
            for column, many, source in zip(
                call.columns, call.stacked, call.sources, strict=True
            )
            if source is None
        ]
        for call in plan.calls
    ]
    return [read(env, output) for output in plan.early], columns


@cached(_SAMPLERS)
def _sharded_sampler(
    piece: Piece, stacked: tuple[bool, ...], to: tuple[Any, ...]
) -> Callable[..., list[Any]]:
    """`_sampler` whose results have the shardings ``to``."""

    def sample(index: Any, *args: Any) -> list[Any]:
        return run_piece(piece, _picked(index, args, stacked), flat=not any(to))

    return jax.jit(sample, out_shardings=list(to))


def _asked(piece: Piece, wanted: dict[Operand, Any]) -> tuple[Any, ...]:
    """The shardings of a piece's outputs."""
    return tuple(wanted.get(output) for output in piece.outputs)


@cached(_SAMPLERS)
def _sampler(piece: Piece, stacked: tuple[bool, ...]) -> Callable[..., list[Any]]:
    """``piece`` compiled as a function of its place in the stacks and of these."""

    def sample(index: Any, *args: Any) -> list[Any]:
        return run_piece(piece, _picked(index, args, stacked))

    return jax.jit(sample)


@cached(_SAMPLERS)
def _many_sampler(
    piece: Piece,
    stacked: tuple[bool, ...],
    axes: tuple[int | None, ...],
    num_keys: int,
    mappable: bool,
) -> Callable[..., list[Any]]:
    """`_sampler` for ``num_keys`` keys at once."""
    largest = max(aval.size for node in piece.nodes for aval in node.avals)
    on_cpu = jax.default_backend() == "cpu"
    elements = _CPU_ELEMENTS if on_cpu else _DEVICE_ELEMENTS
    size = max(1, elements // max(1, largest)) if mappable else 1
    names = (versions.primitive_names(node.equation) for node in piece.nodes)
    if on_cpu and MAY_HANG and any(LAPACK & found for found in names):
        size = 1

    def sample(index: Any, *args: Any) -> list[Any]:
        def one(args: Sequence[Any]) -> list[Any]:
            return run_piece(piece, _picked(index, args, stacked))

        if 0 in axes:
            return list(_map(one, axes, args, size))
        results = one(args)
        return [jnp.broadcast_to(x, (num_keys, *jnp.shape(x))) for x in results]

    return jax.jit(sample)


def _picked(index: Any, args: Sequence[Any], stacked: tuple[bool, ...]) -> list[Any]:
    return [
        lax.dynamic_index_in_dim(arg, index, keepdims=False) if many else arg
        for arg, many in zip(args, stacked, strict=True)
    ]


def _map(
    function: Callable[[list[Any]], Any],
    axes: Sequence[int | None],
    args: Sequence[Any],
    size: int,
) -> Any:
    """``function`` mapped over the leading axis of some arguments, ``size`` at once."""
    moving = [arg for arg, axis in zip(args, axes, strict=True) if axis == 0]

    def one(moving: Sequence[Any]) -> Any:
        queue = iter(moving)
        return function(
            [next(queue) if a == 0 else x for x, a in zip(args, axes, strict=True)]
        )

    if size >= moving[0].shape[0]:
        return jax.vmap(one)(moving)
    return lax.map(one, moving, batch_size=size if size > 1 else None)


def _draws_elsewhere(block: Block, marks: Sequence[bool]) -> bool:
    """Whether ``block`` draws numbers that none of the marked inputs reaches."""
    found, _ = reached(block, marks)
    for node in block.nodes:
        held = [operand in found for operand in node.operands]
        if node.primitive in DRAWS and not any(held):
            return True
        bodies = body_marks(node, held)
        if any(map(_draws_elsewhere, node.blocks, bodies)):
            return True
    return False
