"""By how much mean squares of gradients grow from one layer to the next."""

from collections.abc import Container

import numpy as np

from jaxinit.moments.law import PANEL, Law
from jaxinit.moments.values import Context, Product
from jaxinit.program.paths import Location, Path
from jaxinit.roles.network import Network


def growth_of(
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
