"""What is known of a program's inputs once weights were drawn and data are there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinit.moments.entry import entry_values
from jaxinit.moments.law import Law, discrete
from jaxinit.moments.pairs import with_alike
from jaxinit.moments.values import Chosen, Context, Value, known
from jaxinit.roles.network import Network

# Quantiles that stand for an input's values.
_QUANTILES = 256
# A kernel's mean is zero within so many of its standard errors.
_ERRORS = 5.0

Squares = Mapping[int, Chosen]
"""For each weight's leaf the mean square of its entries, by stacked layer."""


def given_values(
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


def has_mean_zero(values: np.ndarray) -> bool:
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
