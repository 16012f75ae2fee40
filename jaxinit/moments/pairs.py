"""Two samples of one entry: the mean of their product, and how alike they are.

Samples share the weights of a model and not its inputs. Each variable of a law says by
``alike`` how its values in two samples belong together: of a normal variable it is
their correlation, of any other the chance that they are the same one.
"""

import dataclasses
import functools
import math

import numpy as np

from jaxinit.moments.law import PANEL, Law, Source, expectation

# Normal steps from one sample's value to the other's: a trapezoid rule.
_STEPS = np.linspace(-6.0, 6.0, 241)
_WEIGHTS = np.exp(-np.square(_STEPS) / 2)
_WEIGHTS /= _WEIGHTS.sum()


def cross_moment(law: Law) -> float:
    r"""The mean of the product of an entry's values in two samples; NaN if not known.

    :math:`E[f(u) f(u')]`, for normal :math:`u` with
    :math:`u' = \rho u + \sqrt{1 - \rho^2} w`.
    """
    other = np.asarray(law.values, np.float64)
    if any(math.isnan(source.alike) for source in law.sources):
        return math.nan
    for axis, source in enumerate(law.sources):
        other = in_another(source, other, axis)
    return float(expectation(law.values * other, law.sources))


def alike(law: Law) -> float:
    """How alike two samples of it are, as one variable: their correlation."""
    variance = law.variance
    if not law.sources or not variance > 0:
        return 1.0
    return float((cross_moment(law) - law.mean**2) / variance)


def cosine(law: Law) -> float:
    """The cosine between two samples of an array of such entries."""
    second = law.second_moment
    return cross_moment(law) / second if second > 0 else math.nan


def with_alike(law: Law, value: float) -> Law:
    """A law whose variables are as alike as given where that was not known."""

    def told(source: Source) -> Source:
        unknown = math.isnan(source.alike)
        return dataclasses.replace(source, alike=value) if unknown else source

    return dataclasses.replace(law, sources=tuple(map(told, law.sources)))


def in_another(source: Source, values: np.ndarray, axis: int) -> np.ndarray:
    """What is expected of values in another sample, given this one's along an axis."""
    if math.isnan(source.alike):
        return np.full_like(values, math.nan, dtype=np.float64)
    turned = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    return np.moveaxis(_given(source, turned), 0, axis)


def _given(source: Source, values: np.ndarray) -> np.ndarray:
    """The mean in the other sample, given each node in this one.

    Args:
      source: the variable.
      values: of a function of it and of others, its own axis first.
    """
    used = source.weights > 0
    mean = np.tensordot(source.weights[used], values[used], axes=1)
    if source.nodes is None or source.alike in (0.0, 1.0):
        return source.alike * values + (1 - source.alike) * mean
    flat = np.reshape(values[1:], (len(values) - 1, -1))
    moved = _step(source.nodes[1:].tobytes(), source.alike) @ flat
    return np.concatenate([mean[None], moved.reshape(values[1:].shape)])


@functools.lru_cache(maxsize=8)
def _step(nodes: bytes, rho: float) -> np.ndarray:
    """`(nodes, nodes)`: from values on the nodes to their means given the other one.

    On each panel of the nodes the function is a polynomial through them.
    """
    z = np.frombuffer(nodes).reshape(-1, PANEL)
    points, _ = np.polynomial.legendre.leggauss(PANEL)
    middle = (z[:, 0] + z[:, -1]) / 2
    half = (z[:, -1] - z[:, 0]) / np.ptp(points)
    edges = (middle + half)[:-1]
    there = rho * z.reshape(-1, 1) + math.sqrt(max(1 - rho**2, 0.0)) * _STEPS
    panel = np.searchsorted(edges, there)
    place = (there - middle[panel]) / half[panel]
    powers = np.linalg.inv(np.vander(points, increasing=True))
    weights = np.vander(place.clip(-1, 1).ravel(), PANEL, increasing=True) @ powers
    weights *= np.tile(_WEIGHTS, z.size)[:, None]
    rows = np.repeat(np.arange(z.size), len(_STEPS))
    cells = rows[:, None] * z.size + panel.ravel()[:, None] * PANEL + np.arange(PANEL)
    found = np.bincount(cells.ravel(), weights.ravel(), z.size**2)
    return found.reshape(z.size, z.size)
