"""Shares of a sum, as in a softmax."""

import math
from collections.abc import Sequence

import numpy as np

from jaxinit.moments.combine import combined
from jaxinit.moments.law import Group, Law, binned


def share(part: Law, whole: Law) -> Law:
    r"""A positive entry divided by the sum of all of its row, as in a softmax.

    The mean is one over the number of entries. With :math:`S` the sum of the entries
    :math:`a_j`, :math:`E[a_i^2/S^2] = \int_0^\infty t\, E[a_i^2 e^{-t a_i}]
    \prod_{j \ne i} E[e^{-t a_j}]\, dt`.
    """
    total = whole.sum
    assert total is not None
    rough = combined(np.divide, [part, whole])
    mean = 1.0 / total.size
    second = sum(p * _sum_of_squares(groups) for p, groups in total.rows()) / total.size
    variance = max(second - mean**2, 0.0)
    scale = math.sqrt(variance / rough.variance) if rough.variance > 0 else 0.0
    return Law(
        mean + scale * (rough.values - rough.mean),
        rough.sources,
        rough.spread,
        rough.codes,
    )


def is_share(part: Law, whole: Law) -> bool:
    """Whether ``part`` is one of the entries that ``whole`` is the sum of."""
    total = whole.sum
    if total is None or part.values is not total.values:
        return False
    return bool(part.values.min() >= 0) and total.size > 1


def _fewer(group: Group) -> Group:
    order = np.argsort(group.values, kind="stable")
    if len(order) < 1024:
        return group
    return Group(*binned(group.values[order], group.weights[order]), group.size)


def _sum_of_squares(groups: Sequence[Group]) -> float:
    r"""The expected sum over a row of the squares of its entries' shares."""
    whole = sum(g.size * float(np.sum(g.values * g.weights)) for g in groups)
    if not whole > 0:
        return 0.0
    step = 0.1
    t = np.exp(np.arange(-25.0, 25.0, step)) / whole
    log, own = np.zeros(len(t)), np.zeros(len(t))
    for group in map(_fewer, groups):
        damped = np.exp(-np.multiply.outer(t, group.values)) * group.weights
        one = np.maximum(damped.sum(axis=1), 1e-300)
        log += group.size * np.log(one)
        own += group.size * (damped @ np.square(group.values)) / one
    return float(np.sum(t**2 * own * np.exp(log)) * step)
