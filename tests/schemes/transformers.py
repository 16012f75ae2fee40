"""Transformers of any depth and width that are cheap to initialize and to trace.

Written without a library of layers; nothing in them has a telling name.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit import Functional
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.rules import rules

VOCAB = 8
Params = dict[str, Any]
Norm = Callable[[jax.Array], jax.Array]


def attend(p: Params, prefix: str, x: jax.Array, memory: jax.Array) -> jax.Array:
    """Attention with kernels ``(d, heads, size)`` and ``(heads, size, d)``."""
    q = jnp.einsum("btd,dhk->bthk", x, p[prefix + "1"])
    k = jnp.einsum("btd,dhk->bthk", memory, p[prefix + "2"])
    v = jnp.einsum("btd,dhk->bthk", memory, p[prefix + "3"])
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", q, k))
    return jnp.einsum(
        "bthk,hkd->btd", jnp.einsum("bhts,bshk->bthk", weights, v), p[prefix + "4"]
    )


def standardized(x: jax.Array) -> jax.Array:
    """A layer norm without parameters."""
    return jax.nn.standardize(x)


def block(
    p: Params, x: jax.Array, memory: jax.Array | None, norm: Norm = standardized
) -> jax.Array:
    """A pre-LN block; with a memory, cross-attention in the middle."""
    h = norm(x)
    x = x + attend(p, "a", h, h)
    if memory is not None:
        x = x + attend(p, "b", norm(x), memory)
    return x + jax.nn.relu(norm(x) @ p["m1"]) @ p["m2"]


def stack_shapes(
    blocks: int, width: int, heads: int, size: int, hidden: int, cross: bool
) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of stacked blocks."""
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix in "ab" if cross else "a":
        for part in "123":
            shapes[prefix + part] = (blocks, width, heads, size)
        shapes[prefix + "4"] = (blocks, heads, size, width)
    shapes["m1"], shapes["m2"] = (blocks, width, hidden), (blocks, hidden, width)
    return shapes


def run(
    p: Params,
    x: jax.Array,
    memory: jax.Array | None = None,
    norm: Norm = standardized,
) -> jax.Array:
    """Stacked blocks, scanned."""
    return jax.lax.scan(lambda x, p: (block(p, x, memory, norm), None), x, p)[0]


def single(
    blocks: int, width: int = 8, heads: int = 1, size: int = 4, hidden: int = 8
) -> Functional:
    """A language model of one stack, embedding ``e`` and readout ``r``."""
    shapes = {
        "stack": stack_shapes(blocks, width, heads, size, hidden, False),
        "e": (VOCAB, width),
        "r": (width, VOCAB),
    }

    def apply(p: Params, tokens: jax.Array) -> jax.Array:
        return standardized(run(p["stack"], p["e"][tokens])) @ p["r"]

    return Functional(partial(drawn, shapes), apply, name="single")


def pair(
    encoder: int, decoder: int, width: int = 8, heads: int = 1, size: int = 4
) -> Functional:
    """An encoder and a decoder with cross-attention."""
    shapes = {
        "encoder": stack_shapes(encoder, width, heads, size, 8, False),
        "decoder": stack_shapes(decoder, width, heads, size, 8, True),
        "e": (VOCAB, width),
        "r": (width, VOCAB),
    }

    def apply(p: Params, source: jax.Array, target: jax.Array) -> jax.Array:
        memory = standardized(run(p["encoder"], p["e"][source]))
        x = run(p["decoder"], p["e"][target], memory)
        return standardized(x) @ p["r"]

    return Functional(partial(drawn, shapes), apply, name="pair")


def drawn(shapes: Mapping[str, Any], key: jax.Array, *inputs: jax.Array) -> Params:
    """The models' own init: every entry from N(0, 1)."""
    del inputs
    leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda s: isinstance(s, tuple))
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, s) for k, s in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


TOKENS = jnp.zeros((1, 2), jnp.int32)


def stds(
    model: Functional, scheme: Any, reference: Any, *inputs: jax.Array
) -> dict[str, np.ndarray]:
    """What a scheme multiplies unit samples by, exactly.

    Both draw a parameter with the same key, so that the ratio of two entries is the
    ratio of the two laws' scales.

    Args:
      model: the model.
      scheme: the scheme.
      reference: an initializer for every parameter, of the same kind as the scheme's.
      *inputs: the model's inputs.

    Returns:
      For each parameter, the ratios of its entries.
    """
    inputs = inputs or (TOKENS,)
    found = initialize(model, scheme, 0, *inputs)
    unit = initialize(model, rules([("**", reference)]), 0, *inputs)
    # Not in jax, where every shape would be compiled.
    ratios = jax.tree.map(lambda a, b: np.asarray(a) / np.asarray(b), found, unit)
    return {
        "/".join(str(part.key) for part in path): ratio
        for path, ratio in jax.tree_util.tree_leaves_with_path(ratios)
    }
