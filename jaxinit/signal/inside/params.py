"""Statistics of parameters and of their gradients, inside a step of training."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.names import param_name
from jaxinit.program import versions
from jaxinit.signal.cells import suffix
from jaxinit.signal.inside.program import Program
from jaxinit.signal.records import size_record

Array = jax.Array

WEIGHTS = ("weight_norm", "wgrad_norm", "wgrad_rms", "wgrad_rel")


def watched_params(program: Program, every: bool) -> list[int]:
    """The leaves to measure: those of the rows that are watched, or all of them."""
    leaves = program.watched.analysis.sites.leaf_order(len(program.split.params))
    if every:
        return leaves
    used = {leaf for event in program.watched.events.values() for leaf in event.params}
    return [leaf for leaf in leaves if leaf in used]


def param_names(program: Program, leaves: Sequence[int]) -> tuple[str, ...]:
    """The names of parameters, those that a scan slices one for each layer."""
    names = []
    for leaf in leaves:
        split = program.watched.analysis.sites.scanned.get(leaf, ())
        lengths = [program.split.params[leaf].shape[axis] for axis in split]
        for index in itertools.product(*map(range, lengths)):
            names.append(param_name(program.split.paths[leaf]) + suffix(index))
    return tuple(names)


def weights(
    program: Program, leaves: Sequence[int], gradients: Sequence[Array], names: Any
) -> dict[str, Array]:
    """Statistics of parameters and of their gradients, each `(params,)`."""
    params = program.split.params
    sizes, roots, slopes = [], [], []
    for leaf in leaves:
        kept = program.watched.analysis.sites.scanned.get(leaf, ())
        parts = math.prod(params[leaf].shape[axis] for axis in kept)
        size = params[leaf].size // max(parts, 1)
        sizes += [size] * parts
        roots.append(_roots(params[leaf], kept))
        slopes.append(_roots(gradients[leaf], kept))
    root = jnp.sqrt(np.array(sizes, np.float32))
    norm, rms = jnp.concatenate(roots) * root, jnp.concatenate(slopes)
    found = {
        "weight_norm": norm,
        "wgrad_norm": rms * root,
        "wgrad_rms": rms,
        "wgrad_rel": jnp.where(norm > 0, rms * root / norm, jnp.nan),
    }
    return {name: found[name] for name in names}


def _roots(value: Array, kept: tuple[int, ...]) -> Array:
    """Root mean squares, one for each index of the axes ``kept``."""
    record = versions.summarized(lambda x: size_record(x, kept), value)
    flat = record.reshape(-1, record.shape[-1]).astype(jnp.float32)
    return jnp.sqrt(flat[:, 2]) * jnp.exp2(flat[:, 1])
