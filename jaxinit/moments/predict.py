"""What theory expects at each layer, given the weights' realized variances.

The machine is that of AutoInit. Where it knows no law nothing is predicted, up to the
next layer: its output is a sum over random weights and so a normal variable again,
whose moments, if they were measured, theory goes on from.
"""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxinit.initializers._activations import _float64_on_host
from jaxinit.moments.given import Squares as Squares
from jaxinit.moments.given import given_values, has_mean_zero
from jaxinit.moments.growth import Size, gradients
from jaxinit.moments.law import Law, normal
from jaxinit.moments.pairs import cosine, cross_moment, with_alike
from jaxinit.moments.propagate import Moments, moments_of, read_laws
from jaxinit.moments.trust import Trust
from jaxinit.moments.values import (
    UNKNOWN,
    Context,
    Product,
    Rearranged,
    Value,
)
from jaxinit.program.flow import Flow
from jaxinit.program.paths import Location, Path
from jaxinit.program.primitives import CONTRACTIONS
from jaxinit.roles.anchors import is_weight
from jaxinit.roles.network import Network

_NOT_RANDOM = "the entries of {} are no random numbers of mean zero."


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
      gradients: by the number of an event, the mean square of the gradient there.
      starts: events behind which theory rests on what was measured there.
      stopped: why a law is not known somewhere, or ``None``.
    """

    second_moments: dict[int, list[float]]
    cosines: dict[int, list[float]]
    gradients: dict[int, Size]
    starts: frozenset[int]
    stopped: str | None


def predict(
    network: Network,
    squares: Squares,
    leaves: Sequence[np.ndarray],
    inputs: Sequence[Any],
    measured: Mapping[int, Sequence[Start]],
    batch: int,
    loss: bool = False,
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
      loss: whether gradients start from a loss, not from independent numbers.

    Returns:
      What is known.
    """
    weights = frozenset(
        p.leaf
        for p in network.params
        if p.leaf in squares and "embedding" not in p.roles and p.use is not None
    )
    random = {leaf for leaf in weights if has_mean_zero(leaves[leaf])}
    while True:
        stops = [_NOT_RANDOM.format(network.params[i].name) for i in weights - random]
        context = Context(network, inside=True, batch=batch, stops=stops)
        shifts = {i for i, x in enumerate(leaves) if i not in weights and np.any(x)}
        reading = _Reading(network, context, measured, weights & random, shifts)
        context.watch = reading.watch
        try:
            with _float64_on_host(), np.errstate(all="ignore"):
                for leaf in weights:
                    context.chosen[leaf] = dict(squares[leaf])
                entry = given_values(network, context, weights, squares, leaves, inputs)
                fixed = {leaf: UNKNOWN for leaf in weights - random}
                read_laws(context, [fixed.get(i, v) for i, v in enumerate(entry)])
        except Rearranged as found:
            if not found.leaves & weights:
                raise
            weights -= found.leaves
            continue
        return reading.predicted(inputs, loss)


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
        self.trust = Trust(flow, starts)
        self.doubt = self.trust.doubtful
        self.laws: dict[Location, Value] = {}
        self.moments: dict[int, list[float]] = {}
        self.cosines: dict[int, list[float]] = {}
        self.starts = set[int]()

    def watch(
        self, path: Path, index: int, results: Sequence[Value]
    ) -> Sequence[Value]:
        """Keeps what is known, and puts what was measured where nothing is."""
        places = [Location(path, index, i) for i in range(len(results))]
        seen = list(map(self._seen, places, results))
        self.laws.update(zip(places, seen, strict=True))
        return seen

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

    def _begin(self, event: Any, start: Start) -> Law:
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

    def predicted(self, inputs: Sequence[Any], loss: bool) -> Predicted:
        stops, context = self.context.stops, self.context
        return Predicted(
            self.moments,
            self.cosines,
            gradients(self.network, context, self.trust, self.laws, inputs, loss),
            frozenset(self.starts),
            stops[0] if stops else None,
        )


def _is_sum(event: Any, random: Container[int]) -> bool:
    """Whether a layer's outputs are sums over random weights alone."""
    return (
        event.kind == "layer"
        and not event.masked
        and event.operation in CONTRACTIONS
        and is_weight(event)
        and all(use.leaf in random for use in event.uses)
    )


def _square(moments: Moments) -> float:
    return float(moments.mean**2 + moments.variance)


def _made_alike(law: Law, start: Start) -> Law:
    """A law with the measured cosine between samples, where it has none."""
    low, high = (cross_moment(with_alike(law, same)) for same in (0.0, 1.0))
    if not high > low:
        return law
    wanted = (start.cosine * law.second_moment - low) / (high - low)
    return with_alike(law, float(np.clip(wanted, -1, 1)))
