"""What theory expects at each layer, given the weights' realized variances.

The machine is that of AutoInit. Where it knows no law nothing is predicted, up to the
next layer: its output is a sum over random weights and so a normal variable again,
whose moments, if they were measured, theory goes on from.
"""

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._activations import _float64_on_host
from jaxinit.layers.event import Event
from jaxinit.moments.entry import entry_values
from jaxinit.moments.law import PANEL, Law, discrete, normal
from jaxinit.moments.pairs import cosine, cross_moment, with_alike
from jaxinit.moments.propagate import Moments, moments_of, read_laws
from jaxinit.moments.trust import doubtful
from jaxinit.moments.values import (
    UNKNOWN,
    Chosen,
    Context,
    Product,
    Rearranged,
    Value,
    known,
)
from jaxinit.program.flow import Flow
from jaxinit.program.paths import Location, Path
from jaxinit.program.primitives import CONTRACTIONS
from jaxinit.roles.network import Network

# Quantiles that stand for an input's values.
_QUANTILES = 256
# A kernel's mean is zero within so many of its standard errors.
_ERRORS = 5.0

_NOT_RANDOM = "the entries of {} are no random numbers of mean zero."

Squares = Mapping[int, Chosen]
"""For each weight's leaf the mean square of its entries, by stacked layer."""


class Start(NamedTuple):
    """What was measured at a layer's output: means over seeds, and over samples.

    Attributes:
      second_moment: of its entries.
      mean: of its entries.
      cosine: between two samples; NaN if there is one alone.
    """

    second_moment: float
    mean: float
    cosine: float


class Predicted(NamedTuple):
    """What theory says.

    Attributes:
      second_moments: by the number of an event, one for each time that it runs.
      cosines: between two samples, likewise.
      growth: by the number of an event, by how much the mean square of the gradient
        there exceeds that at the layer behind it, and that layer's number.
      starts: events behind which theory rests on what was measured there.
      stopped: why a law is not known somewhere, or ``None``.
    """

    second_moments: dict[int, list[float]]
    cosines: dict[int, list[float]]
    growth: dict[int, tuple[int, float]]
    starts: frozenset[int]
    stopped: str | None


def predict(
    network: Network,
    squares: Squares,
    leaves: Sequence[np.ndarray],
    inputs: Sequence[Any],
    measured: Mapping[int, Sequence[Start]],
    batch: int,
) -> Predicted:
    """Second moments, cosines and growth of gradients, by mean-field theory.

    Entries of kernels are taken as independent and of mean zero; all other parameters
    are known, and so is the distribution of the inputs' values.

    Args:
      network: a network that was read.
      squares: mean squares of weights.
      leaves: one draw of parameters and state.
      inputs: the model's inputs.
      measured: by the number of an event, for each time that it runs, what to go on
        from if no law is known there.
      batch: the number of samples.

    Returns:
      What is known.
    """
    weights = frozenset(
        p.leaf
        for p in network.params
        if p.leaf in squares and "embedding" not in p.roles and p.use is not None
    )
    random = {leaf for leaf in weights if _has_mean_zero(leaves[leaf])}
    while True:
        stops = [_NOT_RANDOM.format(network.params[i].name) for i in weights - random]
        context = Context(network, inside=True, batch=batch, stops=stops)
        shifts = {i for i, x in enumerate(leaves) if i not in weights and np.any(x)}
        reading = _Reading(network, context, measured, weights & random, shifts)
        context.watch = reading.watch
        try:
            with _float64_on_host():
                for leaf in weights:
                    context.chosen[leaf] = dict(squares[leaf])
                entry = _entry(network, context, weights, squares, leaves, inputs)
                fixed = {leaf: UNKNOWN for leaf in weights - random}
                read_laws(context, [fixed.get(i, v) for i, v in enumerate(entry)])
        except Rearranged as found:
            if not found.leaves & weights:
                raise
            weights -= found.leaves
            continue
        return reading.predicted()


class _Reading:
    """What is known at the outputs of layers and joins, each time that they run."""

    def __init__(
        self,
        network: Network,
        context: Context,
        measured: Mapping[int, Sequence[Start]],
        random: Container[int],
        shifts: set[int],
    ) -> None:
        sites = network.sites
        self.shifts = shifts
        self.network, self.context, self.measured = network, context, measured
        self.numbers = {
            event.at: (number, event)
            for number, event in zip(sites.numbers, sites.events, strict=True)
        }
        self.may_start = {
            number
            for number, event in self.numbers.values()
            if number in measured and _is_sum(event, random)
        }
        flow: Flow = network.anchors.flow
        starts = {event.at for n, event in self.numbers.values() if n in self.may_start}
        self.doubt = doubtful(flow, starts)
        self.moments: dict[int, list[float]] = {}
        self.cosines: dict[int, list[float]] = {}
        self.starts = set[int]()

    def watch(
        self, path: Path, index: int, results: Sequence[Value]
    ) -> Sequence[Value]:
        """Keeps what is known, and puts what was measured where nothing is."""
        return [
            self._seen(Location(path, index, i), value)
            for i, value in enumerate(results)
        ]

    def _seen(self, place: Location, value: Value) -> Value:
        if place not in self.numbers:
            return value
        number, event = self.numbers[place]
        moments = moments_of(value)
        lost = moments is None or place in self.doubt or event.masked
        square = math.nan if lost or moments is None else _square(moments)
        like = math.nan if lost or not isinstance(value, Law) else cosine(value)
        run = len(self.moments.setdefault(number, []))
        self.moments[number].append(square)
        self.cosines.setdefault(number, []).append(like)
        if number not in self.may_start or run >= len(self.measured[number]):
            return value
        start = self.measured[number][run]
        if lost and math.isfinite(start.second_moment):
            self.starts.add(number)
            return self._begin(event, start)
        if math.isnan(like) and isinstance(value, Law):
            return _made_alike(value, start)
        return value

    def _begin(self, event: Event, start: Start) -> Law:
        """A normal law of the measured moments."""
        # A sum over weights of mean zero has none; what its bias adds was measured.
        square, mean = start.second_moment, 0.0
        if set(event.params) & self.shifts:
            mean = start.mean
        variance = max(square - mean**2, 0.0)
        same = math.nan
        if variance > 0:
            same = float(np.clip((start.cosine * square - mean**2) / variance, -1, 1))
        law = normal(mean, variance, event.shape, alike=same)
        for source in law.sources:
            at = event.start.path, event.start.equation
            sizes = 0, math.prod(event.shape)
            std = math.sqrt(variance)
            self.context.products[source.key] = Product(at, law, 0.0, 0.0, sizes, std)
        return law

    def predicted(self) -> Predicted:
        stops = self.context.stops
        return Predicted(
            self.moments,
            self.cosines,
            _growth(self.network, self.context, self.doubt),
            frozenset(self.starts),
            stops[0] if stops else None,
        )


def _is_sum(event: Event, random: Container[int]) -> bool:
    """Whether a layer's outputs are sums over random weights alone."""
    return (
        event.kind == "layer"
        and not event.masked
        and event.operation in CONTRACTIONS
        and bool(event.uses)
        and all(use.leaf in random for use in event.uses)
    )


def _square(moments: Moments) -> float:
    return float(moments.mean**2 + moments.variance)


def _made_alike(law: Law, start: Start) -> Law:
    """A law with the measured cosine between samples, where it has none."""
    none, all_ = (
        dataclasses.replace(
            law,
            sources=tuple(
                dataclasses.replace(s, alike=same) if math.isnan(s.alike) else s
                for s in law.sources
            ),
        )
        for same in (0.0, 1.0)
    )
    low, high = cross_moment(none), cross_moment(all_)
    wanted = start.cosine * law.second_moment
    if not high > low:
        return law
    same = float(np.clip((wanted - low) / (high - low), -1, 1))
    return dataclasses.replace(
        law,
        sources=tuple(
            dataclasses.replace(s, alike=same) if math.isnan(s.alike) else s
            for s in law.sources
        ),
    )


def _entry(
    network: Network,
    context: Context,
    weights: frozenset[int],
    squares: Squares,
    leaves: Sequence[np.ndarray],
    inputs: Sequence[Any],
) -> list[Value]:
    """What is known of the program's inputs."""
    own = {
        i: known(_resized(x, squares.get(i)))
        for i, x in enumerate(leaves)
        if i not in weights
    }
    entry = entry_values(network, context, weights, own, 0.0, 1.0)
    for leaf, value in own.items():
        entry[leaf] = value
    first = len(entry) - len(inputs)
    for position, x in enumerate(inputs, first):
        given = entry[position]
        if jnp.issubdtype(x.dtype, jnp.floating):
            entry[position] = _distribution(np.asarray(x, np.float64), context.batch)
        elif isinstance(given, Law) and x.ndim and x.shape[0] == context.batch:
            entry[position] = with_alike(given, _chance_of_equal(np.asarray(x)))
    return entry


def _resized(x: np.ndarray, squares: Chosen | None) -> np.ndarray:
    """A parameter's values in one draw, with its mean square in all."""
    if not squares or not np.issubdtype(x.dtype, np.floating):
        return x
    wide = x.astype(np.float64)
    own, all_ = np.mean(wide**2), np.mean(list(squares.values()))
    return wide * np.sqrt(all_ / own) if own > 0 else x


def _has_mean_zero(values: np.ndarray) -> bool:
    wide = np.asarray(values, np.float64)
    rms = np.sqrt(np.mean(wide**2)) if wide.size else 0.0
    return bool(abs(wide.mean()) <= _ERRORS * rms / np.sqrt(wide.size))


def _distribution(x: np.ndarray, batch: int) -> Law:
    """The law of an array's entries, with their mean and mean square."""
    flat = np.sort(x.ravel())
    parts = [p for p in np.array_split(flat, min(_QUANTILES, flat.size)) if p.size]
    values = np.array([part.mean() for part in parts])
    weights = np.array([part.size for part in parts]) / flat.size
    std = np.sqrt(np.sum(weights * (values - flat.mean()) ** 2))
    scale = flat.std() / std if std > 0 else 1.0
    same = _alike_entries(x) if x.ndim and x.shape[0] == batch else 1.0
    values = flat.mean() + scale * (values - flat.mean())
    return discrete(values, weights, x.shape, alike=same)


def _alike_entries(x: np.ndarray) -> float:
    """How alike entries at one place of two samples are, for their mean cosine.

    NaN for one sample.
    """
    rows, count = x.reshape(len(x), -1), len(x)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    if count < 2 or not (sizes > 0).all() or not x.std() > 0:
        return math.nan
    cos = (np.square((rows / sizes).sum(axis=0)).sum() - count) / (count * (count - 1))
    return float((cos * np.mean(x**2) - x.mean() ** 2) / x.var())


def _chance_of_equal(x: np.ndarray) -> float:
    """The share of pairs of samples that have one integer at a place."""
    rows = x.reshape(len(x), -1)
    if len(rows) < 2:
        return math.nan
    pairs = 0
    for column in rows.T:
        times = np.unique(column, return_counts=True)[1]
        pairs += int(np.sum(times * (times - 1)))
    return pairs / (rows.shape[1] * len(rows) * (len(rows) - 1))


def _growth(
    network: Network, context: Context, doubt: Container[Location]
) -> dict[int, tuple[int, float]]:
    """From each layer to the one layer that takes its output, function by function."""
    sites = network.sites
    made: dict[tuple[Path, int | None], int] = {}
    lost = set[int]()
    for number, event in zip(sites.numbers, sites.events, strict=True):
        if not event.loops:
            made[event.start.path, event.start.equation] = number
        if event.at in doubt:
            lost.add(number)
    found = {}
    for product in context.products.values():
        behind = made.get(product.at)
        sources = product.operand.sources
        if (
            behind is None
            or behind in lost
            or len(sources) != 1
            or sources[0].key not in context.products
        ):
            continue
        before = context.products[sources[0].key]
        first = made.get(before.at)
        takers = [n for n, e in sites.ancestry.items() if first in e.parents]
        if first is None or takers != [behind] or before.sizes[1] != product.sizes[0]:
            continue
        slope = _mean_square_slope(product.operand, before)
        if slope is not None:
            connections = product.terms * product.sizes[1] / product.sizes[0]
            found[first] = behind, product.variance * connections * slope
    return found


def _mean_square_slope(law: Law, before: Product) -> float | None:
    """The mean of f'(u)^2, for a law that is f of one normal variable u.

    On each panel of the variable's nodes the function is a polynomial through them.
    """
    source = law.sources[0]
    if source.nodes is None or law.values.ndim != 1:
        return None
    z, y, w = source.nodes[1:], law.values[1:], source.weights[1:]
    points, _ = np.polynomial.legendre.leggauss(PANEL)
    powers = np.vander(points, increasing=True)
    slopes = np.vander(points, increasing=True)[:, :-1] * np.arange(1, PANEL)
    derive = slopes @ np.linalg.inv(powers)[1:]
    panels = y.reshape(-1, PANEL) @ derive.T
    half = (z.reshape(-1, PANEL)[:, -1] - z.reshape(-1, PANEL)[:, 0]) / np.ptp(points)
    by_z = (panels / half[:, None]).ravel()
    return float(np.sum(w * by_z**2) / before.std**2)
