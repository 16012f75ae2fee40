"""An entry of one of several arrays, or one of the largest of one."""

import math
from collections.abc import Sequence

import numpy as np

from jaxinit.moments.law import (
    Law,
    binned,
    constant,
    discrete,
    normal,
    points,
)
from jaxinit.moments.pairs import alike, cross_moment


def mixture(parts: Sequence[tuple[float, Law]], shape: tuple[int, ...]) -> Law:
    """An entry of one of several arrays, by their sizes."""
    parts = [(size, law) for size, law in parts if size > 0]
    total = sum(size for size, _ in parts)
    first = parts[0][1]
    if all(
        law.is_normal
        and math.isclose(law.variance, first.variance, rel_tol=1e-9)
        and abs(law.mean - first.mean) <= 1e-9 * math.sqrt(first.variance)
        for _, law in parts
    ):
        same = sum(size * alike(law) for size, law in parts) / total
        return normal(first.mean, first.variance, shape, alike=same)
    pieces = [(size / total, *binned(*points(law))) for size, law in parts]
    values = np.concatenate([v for _, v, _ in pieces])
    weights = np.concatenate([p * w for p, _, w in pieces])
    order = np.argsort(values, kind="stable")
    values, weights = binned(values[order], weights[order])
    if np.all(values == values[0]):
        return constant(values[0])
    mean, square = np.sum(weights * values), np.sum(weights * np.square(values))
    both = sum(size * cross_moment(law) for size, law in parts) / total
    same = (both - mean**2) / (square - mean**2)
    return discrete(values, weights, shape, alike=float(same))


def top(law: Law, size: int, count: int, shape: tuple[int, ...]) -> Law:
    """One of the ``count`` largest of ``size`` entries."""
    values, weights = points(law)
    above = 1.0 - (np.cumsum(weights) - weights / 2)
    chance = np.zeros_like(above)
    for rank in range(count):
        log = (
            math.lgamma(size)
            - math.lgamma(rank + 1)
            - math.lgamma(size - rank)
            + rank * np.log(np.maximum(above, 1e-300))
            + (size - 1 - rank) * np.log(np.maximum(1 - above, 1e-300))
        )
        chance += np.exp(log)
    chosen = weights * chance
    return discrete(*binned(values, chosen / chosen.sum()), shape)
