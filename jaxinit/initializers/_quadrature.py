"""Expectations over a standard normal variable, to about twelve digits."""

import math
from collections.abc import Callable, Sequence

import numpy as np

# The normal density at 16 is 1e-56: any integrand whose expectation exists in
# practice has nothing left there, and a polynomial one much earlier.
_LIMIT = 16.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# Half-unit panels, so that a kink at a half integer never needs refinement, and
# geometrically finer ones at 0, where a steep function of a wide input changes.
_HALVES = np.arange(0.5, _LIMIT + 0.25, 0.5)
_FINE = 2.0 ** np.arange(-12.0, -1.0)
_EDGES = np.concatenate([-_HALVES[::-1], -_FINE[::-1], [0.0], _FINE, _HALVES])
_PANEL_TOLERANCE = 1e-13
_MAX_LEVELS = 60
_MAX_PANELS = 4096
# An integrand that rounds to float32 inside never meets the panel tolerance.
_ROUNDED_TOLERANCE = 1e-6
_TAIL_TOLERANCE = 1e-10
# The scan for what is narrower than the distance of nodes.
_SCANNED = 8.0
_SCAN_POINTS = 2048
_SPLIT = 256
# The midpoint rule over the scan's points is good to it for all that is smooth.
_SCAN_TOLERANCE = 1e-7
# Ever finer panels on both sides of where something is known to happen.
_LADDER = 2.0 ** np.arange(-44.0, -1.0)
_MAX_NEAR = 64


class NoExpectation(Exception):
    """The integral is not finite, or no refinement makes it settle."""


def normal_expectation(
    integrand: Callable[[np.ndarray], np.ndarray],
    near: Sequence[float] = (),
) -> np.ndarray:
    r"""The expectations :math:`E[f_i(z)]` for :math:`z \sim N(0, 1)`.

    Gauss-Legendre panels are halved until a panel and its two halves agree, so kinks
    and jumps are found and closed in on, wherever they are.

    Args:
      integrand: from points of shape ``(n,)`` to values of shape ``(k, n)``, float64.
      near: points about which it may change within any distance, however short; of
        many, those next to zero count.

    Returns:
      The ``(k,)`` expectations, float64.

    Raises:
      NoExpectation: if a value is not finite, if the tails still contribute at 16
        standard deviations, or if refinement does not converge.
    """
    low, high = _with_seen(integrand, _EDGES[:-1], _EDGES[1:])
    low, high = _finer_near(near, low, high)
    values = _panels(integrand, low, high)
    scale = np.sum(np.abs(values), axis=1, keepdims=True)
    total = np.zeros(len(values))
    for _ in range(_MAX_LEVELS):
        middle = (low + high) / 2
        left, right = np.split(
            _panels(
                integrand,
                np.concatenate([low, middle]),
                np.concatenate([middle, high]),
            ),
            2,
            axis=1,
        )
        error = np.abs(left + right - values)
        open_ = np.any(error > _PANEL_TOLERANCE * scale, axis=0)
        total += np.sum((left + right)[:, ~open_], axis=1)
        _check_tails(left + right, low, high, scale)
        if not open_.any():
            return total
        rest = np.sum(np.where(open_, error, 0.0), axis=1, keepdims=True)
        low, middle, high = low[open_], middle[open_], high[open_]
        left, right = left[:, open_], right[:, open_]
        if 2 * len(low) > _MAX_PANELS:
            break
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        values = np.concatenate([left, right], axis=1)
    if np.all(rest <= _ROUNDED_TOLERANCE * scale):
        return np.asarray(total + np.sum(left + right, axis=1))
    raise NoExpectation(
        f"refining near z = {low[0]:.6g} does not converge (a singularity, or values "
        "that are rounded to less than float32)"
    )


def _with_seen(
    integrand: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The panels, with those split finely in which a scan sees what the nodes do not.

    A spike between the nodes of a panel and of its halves leaves all three in
    agreement. The scan's points are 1/4096 apart: what is narrower may be missed.
    """
    seen = (low >= -_SCANNED) & (high <= _SCANNED)
    start, width = low[seen], (high - low)[seen]
    shares = (np.arange(_SCAN_POINTS) + 0.5) / _SCAN_POINTS
    z = start[:, None] + width[:, None] * shares
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    values = integrand(z.ravel()).reshape(-1, *z.shape)
    with np.errstate(invalid="ignore"):
        scanned = np.mean(values * density, axis=-1) * width
    panels = _panels(integrand, start, start + width)
    scale = np.sum(np.abs(panels), axis=1, keepdims=True)
    odd = ~(np.abs(scanned - panels) <= _SCAN_TOLERANCE * scale).all(axis=0)
    if not odd.any():
        return low, high
    edges = start[odd, None] + width[odd, None] * np.linspace(0, 1, _SPLIT + 1)
    kept = ~seen
    kept[seen] = ~odd
    return (
        np.concatenate([low[kept], edges[:, :-1].ravel()]),
        np.concatenate([high[kept], edges[:, 1:].ravel()]),
    )


def _finer_near(
    points: Sequence[float], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The panels, with more of them that shrink towards each of the points."""
    inside = sorted((p for p in points if abs(p) < _LIMIT), key=abs)[:_MAX_NEAR]
    if not inside:
        return low, high
    center = np.asarray(inside)[:, None]
    offsets = np.concatenate([-_LADDER, [0.0], _LADDER])
    added = np.clip(center + offsets, -_LIMIT, _LIMIT)
    edges = np.unique(np.concatenate([low, high, added.ravel()]))
    return edges[:-1], edges[1:]


def _panels(
    integrand: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The integrals over each panel, ``(k, panels)``."""
    half = (high - low) / 2
    z = ((low + high) / 2)[:, None] + half[:, None] * _NODES
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    values = integrand(z.ravel())
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        raise NoExpectation(f"it is not finite at z = {z.ravel()[~finite][0]:.6g}")
    values = values.reshape(len(values), *z.shape)
    return np.asarray(np.sum(values * (density * _WEIGHTS), axis=-1) * half)


def _check_tails(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, scale: np.ndarray
) -> None:
    outer = (low <= 0.5 - _LIMIT) | (high >= _LIMIT - 0.5)
    if np.any(np.abs(values[:, outer]) > _TAIL_TOLERANCE * scale):
        raise NoExpectation(f"it grows too fast at z = +-{_LIMIT:g}")
