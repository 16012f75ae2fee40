"""What theory expects at each layer, given the weights' realized variances.

The machine is that of AutoInit. Where it knows no law nothing is predicted, there and
behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._activations import _float64_on_host
from jaxinit.moments.entry import entry_values
from jaxinit.moments.law import PANEL, Law, discrete
from jaxinit.moments.propagate import moments_of, read_laws
from jaxinit.moments.values import (
    KEY,
    Chosen,
    Context,
    Product,
    Rearranged,
    Value,
    Watch,
    known,
)
from jaxinit.program.paths import Location, Path
from jaxinit.roles.network import Network

# Quantiles that stand for an input's values.
_QUANTILES = 256
# A kernel's mean is zero within so many of its standard errors.
_ERRORS = 5.0

Squares = Mapping[int, Chosen]
"""For each weight's leaf the mean square of its entries, by stacked layer."""
Seen = dict[Location, list[Value]]
"""What was known at the outputs of layers and joins, each time that they ran."""


class Predicted(NamedTuple):
    """What theory says.

    Attributes:
      second_moments: by the number of an event, one for each time that it runs.
      growth: by the number of an event, by how much the mean square of the gradient
        there exceeds that at the layer behind it, and that layer's number.
      stopped: why nothing is known further on, or ``None``.
    """

    second_moments: dict[int, list[float]]
    growth: dict[int, tuple[int, float]]
    stopped: str | None


def predict(
    network: Network,
    squares: Squares,
    leaves: Sequence[np.ndarray],
    inputs: Sequence[Any],
) -> Predicted:
    """Second moments and growth of gradients, by mean-field theory.

    Entries of kernels are taken as independent and of mean zero; all other parameters
    are known, and so is the distribution of the inputs' values.

    Args:
      network: a network that was read.
      squares: mean squares of weights.
      leaves: one draw of parameters and state.
      inputs: the model's inputs.

    Returns:
      What is known.
    """
    weights = frozenset(
        p.leaf
        for p in network.params
        if p.leaf in squares and "embedding" not in p.roles and p.use is not None
    )
    while True:
        context = Context(network, inside=True)
        seen: Seen = {}
        context.watch = _recorder(network, seen)
        stopped = None
        try:
            with _float64_on_host(), np.errstate(all="ignore"):
                entry = _entry(network, context, weights, squares, leaves, inputs)
                read_laws(context, entry)
        except Rearranged as found:
            if not found.leaves & weights:
                raise
            weights -= found.leaves
            continue
        except (ValueError, TypeError, NotImplementedError) as error:
            stopped = str(error)
        return Predicted(
            _second_moments(network, seen), _growth(network, context), stopped
        )


def _recorder(network: Network, seen: Seen) -> Watch:
    """Keeps the values at the outputs of layers and joins."""
    wanted = {event.at for event in network.sites.events}

    def watch(path: Path, index: int, results: Sequence[Value]) -> None:
        for number, value in enumerate(results):
            place = Location(path, index, number)
            if place in wanted:
                seen.setdefault(place, []).append(value)

    return watch


def _entry(
    network: Network,
    context: Context,
    weights: frozenset[int],
    squares: Squares,
    leaves: Sequence[np.ndarray],
    inputs: Sequence[Any],
) -> list[Value]:
    """What is known of the program's inputs."""
    own = {i: known(x) for i, x in enumerate(leaves) if i not in weights}
    entry = entry_values(network, context, weights, own, 0.0, 1.0)
    for leaf, value in own.items():
        entry[leaf] = value
    for leaf in weights:
        context.chosen[leaf] = dict(squares[leaf])
        if not _has_mean_zero(leaves[leaf]):
            entry[leaf] = KEY  # no law: what follows is not predicted
    first = len(entry) - len(inputs)
    for position, x in enumerate(inputs, first):
        if jnp.issubdtype(x.dtype, jnp.floating):
            entry[position] = _distribution(np.asarray(x, np.float64))
    return entry


def _has_mean_zero(values: np.ndarray) -> bool:
    wide = np.asarray(values, np.float64)
    rms = np.sqrt(np.mean(wide**2)) if wide.size else 0.0
    return bool(abs(wide.mean()) <= _ERRORS * rms / np.sqrt(wide.size))


def _distribution(x: np.ndarray) -> Law:
    """The law of an array's entries, with their mean and mean square."""
    flat = np.sort(x.ravel())
    parts = [p for p in np.array_split(flat, min(_QUANTILES, flat.size)) if p.size]
    values = np.array([part.mean() for part in parts])
    weights = np.array([part.size for part in parts]) / flat.size
    std = np.sqrt(np.sum(weights * (values - flat.mean()) ** 2))
    scale = flat.std() / std if std > 0 else 1.0
    return discrete(flat.mean() + scale * (values - flat.mean()), weights, x.shape)


def _second_moments(network: Network, seen: Seen) -> dict[int, list[float]]:
    found = {}
    sites = network.sites
    for number, event in zip(sites.numbers, sites.events, strict=True):
        if event.masked:
            continue
        moments = [moments_of(value) for value in seen.get(event.at, [])]
        if moments and all(m is not None for m in moments):
            found[number] = [m.mean**2 + m.variance for m in moments if m is not None]
    return found


def _growth(network: Network, context: Context) -> dict[int, tuple[int, float]]:
    """From each layer to the one layer that takes its output, function by function."""
    sites = network.sites
    made: dict[tuple[Path, int | None], int] = {}
    for number, event in zip(sites.numbers, sites.events, strict=True):
        if not event.loops:
            made[event.start.path, event.start.equation] = number
    found = {}
    for product in context.products.values():
        behind = made.get(product.at)
        sources = product.operand.sources
        if (
            behind is None
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
    std = np.sqrt(before.variance * before.terms * before.operand.second_moment)
    return float(np.sum(w * by_z**2) / std**2)
