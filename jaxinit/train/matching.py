"""Which hidden units of one network are which of another's, in a chain of layers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxinit.roles.network import Network

Leaves = Sequence[np.ndarray]
_SWEEPS = 20


class Chain(NamedTuple):
    """Dense layers one behind the other, each fed by the one before alone.

    Attributes:
      kernels: for each layer, its kernel's leaf and which axes are inputs and outputs.
      vectors: for each layer, the leaves along its outputs: biases, gains.
    """

    kernels: tuple[tuple[int, int, int], ...]
    vectors: tuple[tuple[int, ...], ...]


def find_chain(network: Network) -> Chain | None:
    """The chain that a network is; ``None`` if it is none or has no hidden layer.

    Every layer must be a product with one matrix that no other layer uses. Whether
    what is between layers goes unit by unit is not read off: ``keeps_output`` tries.
    """
    sites = network.sites
    kernels, vectors = [], []
    for position, (number, event) in enumerate(
        zip(sites.numbers, sites.events, strict=True)
    ):
        before = sites.numbers[position - 1] if position else None
        fed = {p for p in event.parents if sites.ancestry[p].kind != "source"}
        if event.kind != "layer" or event.loops or fed != ({before} - {None}):
            return None
        others = tuple(leaf for leaf in event.params)
        if event.uses:
            (use, *more) = event.uses
            if more or event.operation != "dot_general":
                return None
            if len(use.in_axis) != 1 or len(use.out_axis) != 1 or use.batch_axis:
                return None
            kernels.append((use.leaf, use.in_axis[0], use.out_axis[0]))
            vectors.append([leaf for leaf in others if leaf != use.leaf])
        elif vectors:
            vectors[-1] += others  # a normalization behind the layer
        else:
            return None
        del number
    used = [k[0] for k in kernels] + [leaf for v in vectors for leaf in v]
    if len(kernels) < 2 or sorted(used) != list(range(len(network.params))):
        return None
    if any(len(network.params[leaf].shape) != 2 for leaf, _, _ in kernels):
        return None
    return Chain(tuple(kernels), tuple(tuple(v) for v in vectors))


def permuted(
    leaves: Leaves, chain: Chain, orders: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """The same function with hidden units in another order.

    Args:
      leaves: parameters.
      chain: what they are.
      orders: for each layer but the last, which unit comes in each place.
    """
    found = [np.asarray(leaf) for leaf in leaves]
    for layer, order in enumerate(orders):
        leaf, _, out_axis = chain.kernels[layer]
        found[leaf] = np.take(found[leaf], order, out_axis)
        following, in_axis, _ = chain.kernels[layer + 1]
        found[following] = np.take(found[following], order, in_axis)
        for vector in chain.vectors[layer]:
            if found[vector].ndim == 1 and len(found[vector]) == len(order):
                found[vector] = found[vector][order]
    return tuple(found)


def keeps_output(network: Network, chain: Chain, run: Any, leaves: Leaves) -> bool:
    """Whether a random order of hidden units leaves the output as it is.

    Args:
      network: the model.
      chain: its layers.
      run: from parameters to the output's leaves.
      leaves: parameters to try it with.
    """
    rng = np.random.default_rng(0)
    shapes = [network.params[leaf].shape[out] for leaf, _, out in chain.kernels[:-1]]
    moved = permuted(leaves, chain, [rng.permutation(size) for size in shapes])
    for a, b in zip(run(leaves), run(moved), strict=True):
        scale = float(jnp.abs(a).max()) if a.size else 0.0
        if not np.allclose(a, b, rtol=0, atol=1e-3 * scale + 1e-12):
            return False
    return True


def matched(fixed: Leaves, moving: Leaves, chain: Chain) -> tuple[np.ndarray, ...]:
    """``moving`` with its hidden units in the order that is nearest to ``fixed``.

    Weight matching: the order of one layer at a time is the best assignment given all
    others, until none changes. It finds a local optimum.

    Args:
      fixed: parameters.
      moving: those of another network of the same shapes.
      chain: what they are.

    References:
      Ainsworth, Hayase and Srinivasa, "Git Re-Basin: Merging Models modulo
      Permutation Symmetries", 2023, algorithm 1.
    """
    from scipy.optimize import (
        linear_sum_assignment,
    )

    current = tuple(np.asarray(leaf) for leaf in moving)
    rng = np.random.default_rng(0)
    layers = len(chain.kernels) - 1
    for _ in range(_SWEEPS):
        changed = False
        for layer in rng.permutation(layers):
            gain = _similarity(fixed, current, chain, int(layer))
            _, order = linear_sum_assignment(gain, maximize=True)
            identity = np.arange(len(order))
            if gain[identity, order].sum() > gain.trace() + 1e-9 * np.abs(gain).max():
                orders = [np.arange(_units(fixed, chain, n)) for n in range(layers)]
                orders[layer] = order
                current = permuted(current, chain, orders)
                changed = True
        if not changed:
            break
    return current


def _units(leaves: Leaves, chain: Chain, layer: int) -> int:
    leaf, _, out_axis = chain.kernels[layer]
    return int(np.shape(leaves[leaf])[out_axis])


def _similarity(a: Leaves, b: Leaves, chain: Chain, layer: int) -> np.ndarray:
    """Inner products of all weights into and out of each pair of units."""
    leaf, _, out_axis = chain.kernels[layer]
    following, in_axis, _ = chain.kernels[layer + 1]
    total = _rows(a[leaf], out_axis) @ _rows(b[leaf], out_axis).T
    total = total + _rows(a[following], in_axis) @ _rows(b[following], in_axis).T
    for vector in chain.vectors[layer]:
        if np.ndim(a[vector]) == 1 and len(a[vector]) == len(total):
            total = total + np.outer(a[vector], b[vector])
    return np.asarray(total)


def _rows(matrix: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.asarray(matrix, np.float64), axis, 0)
