"""Sums and extremes of many entries."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.moments.law import (
    Group,
    Law,
    Source,
    Sum,
    binned,
    discrete,
    expectation,
    normal_source,
    points,
)
from jaxinit.moments.pairs import in_another

# Sums of fewer terms are convolved, sums of more are normal.
_FEW = 4
# Pairs of a kind of row and a node, at most.
_PAIRS = 128


def summed(law: Law, counts: Mapping[int, int]) -> Law:
    """The sum of as many entries along each axis, as if each axis were kept.

    Entries are independent along the axes along which they vary. A known array (a mask,
    say) among the variables is counted exactly, row by row.

    Args:
      law: of the entries.
      counts: for each axis, how many entries are summed.
    """
    view = _split(law, counts)
    if view is None:
        return Law(
            law.values * math.prod(counts.values()), law.sources, law.spread, law.codes
        )
    size, copies = view.size, view.copies
    first = expectation(_last(view.values, len(view.averaged)), view.averaged)
    second = expectation(
        _last(np.square(view.values), len(view.averaged)), view.averaged
    )
    within = np.maximum(second - np.square(first), 0.0)
    other = expectation(
        _last(view.values * _others(view), len(view.averaged)), view.averaged
    )
    shares = view.shares  # (kinds of rows, nodes)
    mean = copies * size * np.tensordot(first, shares, axes=(-1, 1))
    variance = copies**2 * size * np.tensordot(within, shares, axes=(-1, 1))
    if size <= _FEW and not view.kept and view.coded is None and copies == 1:
        result = _convolved(law, size, view)
    else:
        both = np.tensordot(other - np.square(first), shares, axes=(-1, 1))
        result = _around(
            mean,
            variance,
            view,
            _ratio(both, np.tensordot(within, shares, axes=(-1, 1))),
        )
    if view.kept or copies > 1:
        return result
    return Law(
        result.values,
        result.sources,
        result.spread,
        result.codes,
        Sum(law.values, size, view.rows),
    )


def largest(law: Law, counts: Mapping[int, int]) -> Law:
    """The largest of as many entries along each axis, as if each axis were kept."""
    view = _split(law, counts)
    if view is None:
        return law
    kept = tuple(len(source.weights) for source in view.kept)
    means = np.zeros((*kept, len(view.shares)))
    variances = np.zeros_like(means)
    for index in np.ndindex(*kept):
        for row, (_, groups) in enumerate(view.rows(index)):
            moments = _extreme(groups)
            means[(*index, row)], variances[(*index, row)] = moments
    return _around(means, variances, view)


class _Split(NamedTuple):
    """A law with its variables sorted by what a reduction does to them.

    Attributes:
      values: axes in the order of kept, coded and averaged variables.
      kept: variables that do not vary along the reduced axes.
      coded: the known array among the others, if any; else an axis of size 1.
      averaged: the rest.
      shares: for each kind of row, how often each node of ``coded`` is in it.
      chances: the probability of each kind of row.
      fine: the node of each entry in the refinement of ``coded`` by kinds of row.
      size: number of independent entries.
      copies: number of copies of each.
      spread: of each kept variable, of ``coded`` behind the reduction, of the others.
      axes: the reduced axes along which something varies.
    """

    values: np.ndarray
    kept: tuple[Source, ...]
    coded: Source | None
    averaged: tuple[Source, ...]
    shares: np.ndarray
    chances: np.ndarray
    fine: np.ndarray | None
    size: int
    copies: int
    spread: tuple[tuple[frozenset[int], ...], frozenset[int], frozenset[int]]
    axes: tuple[int, ...]

    def rows(
        self, index: tuple[int, ...] = ()
    ) -> tuple[tuple[float, tuple[Group, ...]], ...]:
        """The kinds of rows, for one node of each kept variable."""
        weights = np.ones(())
        for source in self.averaged:
            weights = weights[..., None] * source.weights
        mass = weights.ravel()
        values = self.values[index].reshape(self.values.shape[len(self.kept)], -1)
        rows = []
        for chance, shares in zip(self.chances, self.shares, strict=True):
            groups = tuple(
                Group(values[node][mass > 0], mass[mass > 0], float(self.size * part))
                for node, part in enumerate(shares)
                if part > 0
            )
            rows.append((float(chance), groups))
        return tuple(rows)


def _split(law: Law, counts: Mapping[int, int]) -> _Split | None:
    """``None`` if nothing varies along the reduced axes."""
    reduced = frozenset(axis for axis, n in counts.items() if n > 1)
    everywhere = frozenset[int]().union(*law.spread)
    varying = reduced & everywhere
    if not varying:
        return None
    number = range(len(law.sources))
    kept = [i for i in number if not law.spread[i] & reduced]
    coded = None
    for i in number:
        codes = law.codes[i]
        if i not in kept and codes is not None and coded is None:
            if all(counts[a] == codes.shape[a] for a in law.spread[i] & reduced):
                coded = i
    averaged = [i for i in number if i not in kept and i != coded]
    order = [*kept, *([] if coded is None else [coded]), *averaged]
    values = np.transpose(law.values, order)
    shares, chances = np.ones((1, 1)), np.ones(1)
    fine, after = None, frozenset[int]()
    if coded is None:
        values = np.expand_dims(values, len(kept))
    else:
        codes = law.codes[coded]
        assert codes is not None
        nodes = len(law.sources[coded].weights)
        shares, chances, fine = _kinds_of_rows(
            codes, sorted(law.spread[coded] & reduced), nodes
        )
        after = law.spread[coded] - reduced
    return _Split(
        values,
        tuple(law.sources[i] for i in kept),
        None if coded is None else law.sources[coded],
        tuple(law.sources[i] for i in averaged),
        shares,
        chances,
        fine,
        math.prod(counts[a] for a in varying),
        math.prod(counts[a] for a in reduced - varying),
        (tuple(law.spread[i] for i in kept), after, everywhere - reduced),
        tuple(sorted(varying)),
    )


def _kinds_of_rows(
    codes: np.ndarray, axes: Sequence[int], nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kinds of rows along ``axes``.

    Returns:
      The shares of each node in each kind of row, how often each kind occurs, and for
      each entry the number of its pair of kind and node.
    """
    last = range(-len(axes), 0)
    turned = np.moveaxis(codes, axes, last)
    length = math.prod(codes.shape[a] for a in axes)
    rows = turned.reshape(-1, length)
    offsets = np.arange(len(rows))[:, None] * nodes
    found = np.bincount((rows + offsets).ravel(), minlength=len(rows) * nodes)
    unique, which, times = np.unique(
        found.reshape(len(rows), nodes), axis=0, return_inverse=True, return_counts=True
    )
    kinds, which = unique.astype(np.float64), which.ravel()
    most = max(_PAIRS // nodes, 1)
    if len(kinds) > most:  # rows that are nearly alike count as one kind
        groups = np.arange(len(kinds)) * most // len(kinds)
        sums = np.zeros((most, nodes))
        np.add.at(sums, groups, kinds * times[:, None])
        times = np.bincount(groups, times)
        kinds, which = sums / times[:, None], groups[which]
    pairs = np.cumsum(kinds.ravel() > 0).reshape(kinds.shape) - 1
    fine = np.moveaxis(pairs[which[:, None], rows].reshape(turned.shape), last, axes)
    return kinds / length, times / times.sum(), fine


def _around(
    mean: np.ndarray, variance: np.ndarray, view: _Split, alike: float = math.nan
) -> Law:
    """A normal law for each node of the kept variables and each kind of row."""
    sources, spread = list(view.kept), list(view.spread[0])
    if len(view.chances) > 1:
        assert view.coded is not None
        kind, node = np.nonzero(view.shares)
        coded = view.coded
        weights = view.chances[kind] * view.shares[kind, node]
        fine = Source(
            (coded.key, "rows", view.axes),
            weights,
            origins=coded.origins,
            parent=coded.key,
            lifts=node,
            codes=view.fine,
            alike=coded.alike,
        )
        sources.append(fine)
        spread.append(view.spread[1])
        mean, variance = mean[..., kind], variance[..., kind]
    else:
        mean, variance = mean[..., 0], variance[..., 0]
    if np.any(variance > 0):
        std = np.sqrt(variance)
        of = frozenset[Hashable]().union(*(s.origins for s in view.averaged))
        # The kinks of functions are placed for a typical mean and deviation.
        source, z = normal_source(float(mean.mean()), float(std.mean()), of, alike)
        mean = mean[..., None] + std[..., None] * z
        sources.append(source)
        spread.append(view.spread[2])
    return Law(mean, tuple(sources), tuple(spread), (None,) * len(sources))


def _convolved(law: Law, size: int, view: _Split) -> Law:
    values, weights = one = binned(*points(law))
    for _ in range(size - 1):
        sums = np.add.outer(values, one[0]).ravel()
        mass = np.multiply.outer(weights, one[1]).ravel()
        order = np.argsort(sums, kind="stable")
        values, weights = binned(sums[order], mass[order])
    of = frozenset[Hashable]().union(*(s.origins for s in law.sources))
    return discrete(values, weights, (), view.spread[2], of)


def _others(view: _Split) -> np.ndarray:
    """The mean in another sample, of the variables that are averaged."""
    found, first = view.values, view.values.ndim - len(view.averaged)
    for axis, source in enumerate(view.averaged, first):
        found = in_another(source, found, axis)
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    total = float(np.sum(whole))
    return float(np.sum(part)) / total if total > 0 else 1.0


def _last(values: np.ndarray, count: int) -> np.ndarray:
    """The last ``count`` axes in front, for ``expectation``."""
    rank = values.ndim
    return np.moveaxis(values, range(rank - count, rank), range(count))


def _extreme(groups: Sequence[Group]) -> tuple[float, float]:
    """Mean and variance of the largest entry of a row."""
    grid = np.unique(np.concatenate([group.values for group in groups]))
    log = np.zeros(len(grid))
    for group in groups:
        order = np.argsort(group.values, kind="stable")
        reached = np.concatenate([[0.0], np.cumsum(group.weights[order])])
        below = reached[np.searchsorted(group.values[order], grid, side="right")]
        log += group.size * np.log(np.maximum(below, 1e-300))
    chance = np.diff(np.exp(log), prepend=0.0)
    grid, chance = grid[chance > 0], chance[chance > 0] / chance.sum()
    mean = float(np.sum(grid * chance))
    return mean, float(np.sum(np.square(grid - mean) * chance))
