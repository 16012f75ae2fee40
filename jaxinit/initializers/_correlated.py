"""Expectations of products over two correlated normal variables."""

import math
from collections.abc import Callable

import numpy as np


def product_expectation(
    function: Callable[[np.ndarray], np.ndarray], q: float, c: float
) -> float:
    r""":math:`E[f(u_1) f(u_2)]` for normal variables of correlation ``c``.

    In polar coordinates, where a kink of :math:`f` at 0 lies at four angles: the
    integral is split there, and is exact to about ten digits. Kinks elsewhere cost
    digits: about five are left for a hard tanh.

    Args:
      function: :math:`f`, from points of shape ``(n,)`` to values of that shape,
        float64.
      q: the second moment of both variables, whose means are 0.
      c: their correlation, from -1 to 1.

    Returns:
      The expectation.
    """
    between = math.acos(c)
    quarter = math.pi / 2
    kinks = [quarter, 3 * quarter, between + quarter, between + 3 * quarter]
    edges = np.unique([0.0, *np.mod(kinks, 2 * math.pi), math.pi, 2 * math.pi])
    angle, angle_weight = _panels(edges)
    radius, radius_weight = _RADII
    u = math.sqrt(q) * radius[:, None] * np.cos([angle, angle - between])[:, None]
    first, second = function(u.ravel()).reshape(u.shape)
    return float(radius_weight @ (first * second) @ angle_weight / (2 * math.pi))


def _panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights, forty between each two edges."""
    low, high = edges[:-1, None], edges[1:, None]
    nodes = (low + high) / 2 + (high - low) / 2 * _NODES
    return nodes.ravel(), ((high - low) / 2 * _WEIGHTS).ravel()


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def _radial() -> tuple[np.ndarray, np.ndarray]:
    radius, weight = _panels(np.arange(0.0, 13.0, 2.0))
    return radius, weight * radius * np.exp(-(radius**2) / 2)


_RADII = _radial()
