"""Samplers: pieces of an init, compiled once and kept for all that are equal."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit._caches import cached
from jaxinit._lapack import MAY_HANG
from jaxinit.draw.evaluate import run_piece
from jaxinit.draw.pieces import Piece
from jaxinit.program import versions
from jaxinit.program.primitives import LAPACK

# Of one sampler this many elements are drawn at a time where many keys are drawn at
# once. On a CPU what is drawn should fit in a core's cache: twice as fast.
_CPU_ELEMENTS = 2**16
_DEVICE_ELEMENTS = 2**24

# Compiled samplers that are kept for the next model, least recently used out first.
_SAMPLERS = 256

Sampler = Callable[..., list[Any]]
"""Takes the place of a piece in stacks of what equal ones read, and these stacks."""


@cached(_SAMPLERS)
def sampler(piece: Piece, stacked: tuple[bool, ...]) -> Sampler:
    """``piece`` compiled as a function of its place in the stacks and of these."""

    def sample(index: Any, *args: Any) -> list[Any]:
        return run_piece(piece, _picked(index, args, stacked))

    return jax.jit(sample)


@cached(_SAMPLERS)
def sharded_sampler(
    piece: Piece, stacked: tuple[bool, ...], to: tuple[Any, ...]
) -> Sampler:
    """`sampler` whose results have the shardings ``to``."""

    def sample(index: Any, *args: Any) -> list[Any]:
        return run_piece(piece, _picked(index, args, stacked), flat=not any(to))

    return jax.jit(sample, out_shardings=list(to))


@cached(_SAMPLERS)
def many_sampler(
    piece: Piece,
    stacked: tuple[bool, ...],
    axes: tuple[int | None, ...],
    num_keys: int,
    mappable: bool,
) -> Sampler:
    """`sampler` for ``num_keys`` keys at once."""
    largest = max(
        var.aval.size
        for node in piece.nodes
        for var in itertools.compress(node.equation.outvars, node.wanted)
    )
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
            return list(mapped(one, axes, args, size))
        results = one(args)
        return [jnp.broadcast_to(x, (num_keys, *jnp.shape(x))) for x in results]

    return jax.jit(sample)


def _picked(index: Any, args: Sequence[Any], stacked: tuple[bool, ...]) -> list[Any]:
    return [
        lax.dynamic_index_in_dim(arg, index, keepdims=False) if many else arg
        for arg, many in zip(args, stacked, strict=True)
    ]


def mapped(
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
