"""Arrays that hold several kernels: layers in a stack, gates side by side."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers._call import call_rounded, default_dtype
from jaxinit.initializers._check import check_count, check_initializer, check_integers
from jaxinit.initializers._draw import from_maker
from jaxinit.initializers._value import family, law_of
from jaxinit.initializers.axes import draw_each
from jaxinit.initializers.fans import as_axes, normalize_axes


@family
def stacked(
    base: Initializer, axis: Axes = 0, dtype: DTypeLike | None = None
) -> Initializer:
    """Draws every slice along ``axis`` by itself, with its own key and its own fans.

    For layers kept in one array (a hand-made scan, experts): an initializer that sees
    ``(layers, in, out)`` takes ``layers`` for a receptive field and makes weights too
    small by its square root.

    Args:
      base: the initializer of one slice.
      axis: the axis, or axes, that count the slices.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer of the stack.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: when called, if ``axis`` is out of range.

    Examples:
      >>> w = stacked(jax.nn.initializers.orthogonal())(jax.random.key(0), (3, 4, 4))
      >>> bool(jnp.allclose(jnp.swapaxes(w, 1, 2) @ w, jnp.eye(4)[None], atol=1e-5))
      True
    """
    axes = as_axes(axis)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        front = normalize_axes("axis", axes, shape)
        rest = [a for a in range(len(shape)) if a not in front]
        slices = tuple(shape[a] for a in rest)
        drawn = draw_each(base, key, math.prod(shape[a] for a in front), slices, dtype)
        drawn = drawn.reshape([shape[a] for a in (*front, *rest)])
        return jnp.transpose(drawn, np.argsort([*front, *rest]).tolist())

    def check_shape(shape: tuple[int, ...]) -> None:
        normalize_axes("axis", axes, shape)

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, each slice by itself",
    )


@family
def blocked(
    bases: Initializer | Sequence[Initializer],
    num_blocks: int | None = None,
    axis: int = -1,
    sizes: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Draws blocks along ``axis`` by themselves, with their own keys and fans.

    For several kernels fused into one array: query, key and value, or the gates of a
    recurrent cell. Drawn whole, a Glorot kernel of shape ``(d, 3 d)`` has a standard
    deviation smaller by :math:`\sqrt 2`, and an orthogonal one of shape ``(h, 4 h)``
    has blocks that are not orthogonal.

    Args:
      bases: one initializer for all blocks, or one for each.
      num_blocks: the number of blocks, if ``bases`` is a single initializer and
        ``sizes`` is not given.
      axis: the axis along which the blocks lie.
      sizes: the lengths of the blocks along ``axis``, if they are not all equal, as
        with fewer keys and values than queries. They must add up to the axis.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer of the fused array.

    Raises:
      TypeError: if an initializer is not callable or ``num_blocks`` not an integer.
      ValueError: if the number of blocks is not given or given twice differently, or,
        when called, if the blocks do not fill the axis.

    Examples:
      >>> gates = blocked(jax.nn.initializers.orthogonal(), 4)
      >>> w = gates(jax.random.key(0), (8, 32))
      >>> block = w[:, 8:16]
      >>> bool(jnp.allclose(block.T @ block, jnp.eye(8), atol=1e-5))
      True
    """
    blocks = _blocks(bases, num_blocks, sizes)
    advice = "It holds the lengths of the blocks."
    lengths = None if sizes is None else as_axes(check_integers("sizes", sizes, advice))

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        (at,) = normalize_axes("axis", (axis,), shape)
        widths = lengths or (shape[at] // len(blocks),) * len(blocks)
        keys = jax.random.split(key, len(blocks))
        return jnp.concatenate(
            [
                call_rounded(block, one, (*shape[:at], width, *shape[at + 1 :]), dtype)
                for block, one, width in zip(blocks, keys, widths, strict=True)
            ],
            axis=at,
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        (at,) = normalize_axes("axis", (axis,), shape)
        if lengths is None and shape[at] % len(blocks):
            raise ValueError(
                f"`num_blocks` is {len(blocks)}, which does not divide axis {axis} of "
                f"the shape {shape}. Give the lengths of the blocks as `sizes`."
            )
        if lengths is not None and sum(lengths) != shape[at]:
            raise ValueError(
                f"`sizes` {lengths} add up to {sum(lengths)}, but axis {axis} of the "
                f"shape {shape} has {shape[at]}. Give lengths that fill the axis."
            )

    laws = dict.fromkeys(law_of(block) for block in blocks)
    return from_maker(
        make,
        default_dtype(*blocks, given=dtype),
        check_shape=check_shape,
        law=f"{' | '.join(laws)}, each of {len(blocks)} blocks by itself",
    )


def _blocks(
    bases: Initializer | Sequence[Initializer],
    num_blocks: int | None,
    sizes: Sequence[int] | None,
) -> tuple[Initializer, ...]:
    """One initializer for each block."""
    counts = {}
    if num_blocks is not None:
        counts["num_blocks"] = check_count("num_blocks", num_blocks, "It counts gates.")
    if sizes is not None:
        lengths = as_axes(check_integers("sizes", sizes, "Give the blocks' lengths."))
        counts["sizes"] = len(lengths)
        for length in lengths:
            check_count("sizes", length, "It holds the lengths of the blocks.")
    if isinstance(bases, Sequence):
        counts["bases"] = len(bases)
    if len(set(counts.values())) != 1 or 0 in counts.values():
        got = ", ".join(f"{count} by `{name}`" for name, count in counts.items())
        raise ValueError(
            "`bases`, `num_blocks` or `sizes` must give the number of blocks, above 0 "
            f"and the same wherever it is, got {got or 'none'}. Pass one of the last "
            "two, or a list of initializers."
        )
    (count,) = set(counts.values())
    blocks = tuple(bases) if isinstance(bases, Sequence) else (bases,) * count
    for block in blocks:
        check_initializer("bases", block)
    return blocks
