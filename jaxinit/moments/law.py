"""The law of a typical entry of an array, as a function of independent variables.

A layer's output is normal, by the central limit theorem. What a model then computes
from it, entry by entry, is a function of that one variable, and is known by its values
on the variable's quadrature nodes: a chain such as ``x * sigmoid(x)`` is integrated as
one function. Functions of several independent variables are known on their product.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]

# Half-unit panels, finer at 0; also panels that end where activations have kinks.
_LIMIT = 8.0
_HALVES = np.arange(0.5, _LIMIT + 0.25, 0.5)
_EDGES = np.concatenate([-_HALVES[::-1], [-0.25, 0.0, 0.25], _HALVES])
_KINKS = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
PANEL = 6
"""Nodes of each panel."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(PANEL)
_BINS = 128

_numbers = itertools.count()


def fresh() -> Hashable:
    """A name for a new independent variable."""
    return next(_numbers)


@dataclass(frozen=True, eq=False)
class Source:
    """An independent random variable, by its nodes.

    Attributes:
      key: its name; two sources with one name are one variable.
      weights: the probability of each node. The first node of a variable that is no
        known array is its mean, with probability 0.
      nodes: the nodes of a normal variable; ``None`` for any other.
      of: names of the variables that it is a sum or an extreme of. Beside them it is
        as good as constant, as a sum over many.
      origins: names of the variables whose entries these are, rearranged.
      parent: name of a variable that is a function of this one, ...
      lifts: ... and its node for each of this one's.
      codes: where it refines a known array, its node for each entry.
      alike: how its values in two samples belong together: the correlation of a normal
        variable, of another the chance that they are one; NaN where it is not known.
      samples: of a sum over samples, how many it sums, or infinity if over more.
      places: of a convolution's output, its variance by place over the mean of all;
        ``None`` if it is one everywhere.
    """

    key: Hashable
    weights: np.ndarray
    nodes: np.ndarray | None = None
    of: frozenset[Hashable] = frozenset()
    origins: frozenset[Hashable] = frozenset()
    parent: Hashable = None
    lifts: np.ndarray | None = None
    codes: np.ndarray | None = None
    alike: float = math.nan
    samples: float = 0.0
    places: np.ndarray | None = None


class Group(NamedTuple):
    """Entries of one law in a row: values, their probabilities, how many there are."""

    values: np.ndarray
    weights: np.ndarray
    size: float


@dataclass(frozen=True, eq=False)
class Sum:
    """Of what a law is the sum, so that a share of it is recognized.

    Attributes:
      values: the values of the law that was summed.
      size: the number of summands.
      rows: returns for each kind of row its probability and its summands.
    """

    values: np.ndarray
    size: int
    rows: Callable[[], tuple[tuple[float, tuple[Group, ...]], ...]]


@dataclass(frozen=True, eq=False)
class Law:
    """The law of a typical entry.

    Attributes:
      values: with one axis for each source.
      sources: the independent variables.
      spread: for each source, the axes of the array along which it varies.
      codes: for each source that is a known array, the node of each entry, with axes
        of size 1 where it does not vary; else ``None``.
      sum: set where it is a sum.
    """

    values: np.ndarray
    sources: tuple[Source, ...] = ()
    spread: tuple[frozenset[int], ...] = ()
    codes: tuple[np.ndarray | None, ...] = ()
    sum: Sum | None = None

    @functools.cached_property
    def mean(self) -> float:
        return float(expectation(self.values, self.sources))

    @functools.cached_property
    def second_moment(self) -> float:
        return float(expectation(np.square(self.values), self.sources))

    @property
    def variance(self) -> float:
        return max(self.second_moment - self.mean**2, 0.0)

    @property
    def keys(self) -> frozenset[Hashable]:
        return frozenset(source.key for source in self.sources)

    @property
    def is_normal(self) -> bool:
        """Whether it is an affine function of one normal variable."""
        if len(self.sources) != 1 or self.sources[0].nodes is None:
            return False
        z, y = self.sources[0].nodes, self.values
        if not np.issubdtype(y.dtype, np.floating):
            return False
        slope = (y[-1] - y[1]) / (z[-1] - z[1])
        line = y[0] + slope * (z - z[0])
        return bool(np.allclose(y, line, rtol=1e-9, atol=1e-9 * abs(slope)))


def expectation(values: np.ndarray, sources: Sequence[Source]) -> np.ndarray:
    """The mean over the leading axes, one for each source."""
    result = np.asarray(values, np.float64)
    for source in sources:
        used = source.weights > 0
        result = np.tensordot(source.weights[used], result[used], axes=1)
    return result


def constant(value: Any) -> Law:
    """One value in all entries."""
    return Law(np.asarray(value))


def normal_source(
    mean: float,
    std: float,
    of: frozenset[Hashable] = frozenset(),
    alike: float = math.nan,
) -> tuple[Source, np.ndarray]:
    """A new standard normal variable and its nodes.

    Args:
      mean: panels end where ``mean + std * z`` is at a kink of common functions.
      std: as above.
      of: the variables that it is a sum of.
      alike: its correlation between two samples.
    """
    kinks = (_KINKS - mean) / std
    edges = np.unique(np.concatenate([_EDGES, kinks[np.abs(kinks) < _LIMIT]]))
    low, high = edges[:-1, None], edges[1:, None]
    z = ((low + high) / 2 + (high - low) / 2 * _NODES).ravel()
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    weights = density * ((high - low) / 2 * _WEIGHTS).ravel()
    key = fresh()
    nodes = np.concatenate([[0.0], z])
    weights = np.concatenate([[0.0], weights / weights.sum()])
    source = Source(key, weights, nodes, of, frozenset({key}), alike=alike)
    return source, nodes


def normal(
    mean: float,
    variance: float,
    shape: Shape,
    of: frozenset[Hashable] = frozenset(),
    spread: frozenset[int] | None = None,
    alike: float = math.nan,
) -> Law:
    """Normal entries that vary along all axes, or those of ``spread``."""
    if not variance > 0:
        return constant(np.float64(mean))
    std = math.sqrt(variance)
    source, nodes = normal_source(mean, std, of, alike)
    return Law(mean + std * nodes, (source,), (_axes(shape, spread),), (None,))


def discrete(
    values: np.ndarray,
    weights: np.ndarray,
    shape: Shape,
    spread: frozenset[int] | None = None,
    of: frozenset[Hashable] = frozenset(),
    alike: float = math.nan,
) -> Law:
    """Independent entries with the given probabilities."""
    center = np.sum(values[weights > 0] * weights[weights > 0]).astype(values.dtype)
    key = fresh()
    source = Source(
        key,
        np.concatenate([[0.0], weights]),
        of=of,
        origins=frozenset({key}),
        alike=alike,
    )
    atoms = np.concatenate([[center], values])
    return Law(atoms, (source,), (_axes(shape, spread),), (None,))


def known(array: np.ndarray, key: Hashable) -> Law:
    """A known array, seen as a variable that takes its entries' values."""
    small = shrunk(array)
    atoms, inverse = np.unique(small, return_inverse=True)
    if len(atoms) == 1:
        return constant(atoms[0])
    codes = inverse.reshape(small.shape)
    if len(atoms) > 64:
        ranks = np.argsort(np.argsort(small, axis=None, kind="stable"), kind="stable")
        codes = (ranks * 64 // small.size).reshape(small.shape)
        exact = small.astype(np.float64)
        sums = np.bincount(codes.ravel(), exact.ravel(), 64)
        atoms = sums / np.bincount(codes.ravel(), minlength=64)
        lost = exact.std() / max(float(atoms[codes].std()), 1e-300)
        atoms = exact.mean() + lost * (atoms - exact.mean())
    weights = np.bincount(codes.ravel()) / codes.size
    spread = frozenset(i for i, n in enumerate(small.shape) if n > 1)
    if np.issubdtype(atoms.dtype, np.floating):
        atoms = atoms.astype(np.float64)
    source = Source(key, weights, origins=frozenset({key}), alike=1.0)
    return Law(atoms, (source,), (spread,), (codes,))


def shrunk(array: np.ndarray) -> np.ndarray:
    """An array without the copies along the axes that it was broadcast along."""
    return array[
        tuple(
            slice(0, 1) if stride == 0 and n > 1 else slice(None)
            for n, stride in zip(array.shape, array.strides, strict=True)
        )
    ]


def points(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """All values and their probabilities, in ascending order."""
    weights = np.ones(())
    for source in law.sources:
        weights = weights[..., None] * source.weights
    flat, mass = np.ravel(law.values), np.ravel(weights)
    seen = mass > 1e-16
    flat, mass = flat[seen], mass[seen]
    order = np.argsort(flat, kind="stable")
    return flat[order], mass[order]


def binned(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fewer points of the same mean and variance: two for each bin."""
    if len(values) <= 2 * _BINS:
        return values, weights
    place = np.cumsum(weights) - weights / 2
    reach = values[-1] - values[0]
    if reach > 0 and np.isfinite(reach):
        place = (place + (values - values[0]) / reach) / 2
    bins = np.minimum((place * _BINS).astype(np.int64), _BINS - 1)
    mass = np.bincount(bins, weights, _BINS)
    mean = np.bincount(bins, weights * values, _BINS) / np.where(mass > 0, mass, 1)
    square = np.bincount(bins, weights * (values - mean[bins]) ** 2, _BINS)
    mean, square, mass = mean[mass > 0], square[mass > 0], mass[mass > 0]
    std = np.sqrt(square / mass)
    return (
        np.concatenate([mean - std, mean + std]),
        np.concatenate([mass, mass]) / 2,
    )


def with_sources(law: Law, change: Callable[[Source], Source]) -> Law:
    """The law as a function of other variables with the same nodes."""
    return replace(law, sources=tuple(map(change, law.sources)), sum=None)


def view(law: Law, what: Hashable) -> Law:
    """Entries at other places: independent of those of ``law``, of the same law."""

    def change(source: Source) -> Source:
        key = (source.key, what)
        parent = None if source.parent is None else (source.parent, what)
        origins = source.origins | {key}
        return replace(source, key=key, origins=origins, parent=parent, places=None)

    return with_sources(replace(law, codes=(None,) * len(law.sources)), change)


def _axes(shape: Shape, spread: frozenset[int] | None) -> frozenset[int]:
    if spread is not None:
        return spread
    return frozenset(i for i, n in enumerate(shape) if n > 1)
