"""How far apart solutions are: distances and barriers between pairs of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.train.matching import find_chain, keeps_output, matched
from jaxinit.train.training import Training

Solution = tuple[np.ndarray, ...]
_POINTS = 11


class Pair(NamedTuple):
    """Two solutions.

    Attributes:
      first: scheme and seed of one.
      second: of the other.
      distance: between their parameters, over the root of the product of their norms.
      barrier: the largest rise of the loss on the line between them above the line
        between their losses.
      matched_distance: the distance with hidden units matched; NaN if not possible.
      matched_barrier: likewise the barrier.
    """

    first: tuple[str, int]
    second: tuple[str, int]
    distance: float
    barrier: float
    matched_distance: float
    matched_barrier: float

    @property
    def same_scheme(self) -> bool:
        return self.first[0] == self.second[0]


def compare_optima(
    training: Training,
    solutions: Mapping[tuple[str, int], Solution],
    state: Sequence[Any],
    batch: Any,
    key: jax.Array,
) -> tuple[list[Pair], str]:
    """Pairs of one scheme, and pairs of one seed.

    Args:
      training: the model and its loss.
      solutions: parameters by scheme and seed; those that are finite are compared.
      state: the model's other variables.
      batch: on which losses are taken.
      key: for dropout and the like.

    Returns:
      The pairs, and why hidden units were not matched, or nothing.

    References:
      Frankle, Dziugaite, Roy and Carbin, "Linear Mode Connectivity and the Lottery
      Ticket Hypothesis", 2020, section 2, but for the line between the two losses in
      place of their mean. Ainsworth et al., "Git Re-Basin", 2023.
    """
    network = training.network
    known = {name: s for name, s in solutions.items() if _finite(s)}
    if len(known) < 2:
        return [], "fewer than two finite solutions were kept"

    @jax.jit
    def on_line(a: Any, b: Any) -> Any:
        def at(share: Any) -> Any:
            params = [_between(x, y, share) for x, y in zip(a, b, strict=True)]
            return training.values(params, list(state), key, batch)[0]

        return jax.lax.map(at, jnp.linspace(0.0, 1.0, _POINTS))

    @jax.jit
    def output(leaves: Any) -> Any:
        found = network.forward(list(leaves), list(state), key, batch[0])
        return jax.tree.leaves(found)

    chain, why = find_chain(network), ""
    if chain is None:
        why = "the model is no plain chain of dense layers"
    elif not keeps_output(network, chain, output, next(iter(known.values()))):
        chain, why = None, "its output changes with the order of hidden units"
    pairs = []
    for one, two in combinations(known, 2):
        if one[0] != two[0] and one[1] != two[1]:
            continue
        a, b = known[one], known[two]
        near = np.nan, np.nan
        if chain is not None:
            moved = matched(a, b, chain)
            near = _distance(a, moved), _barrier(on_line(a, moved))
        pairs.append(Pair(one, two, _distance(a, b), _barrier(on_line(a, b)), *near))
    return pairs, why


def _between(a: Any, b: Any, share: Any) -> Any:
    return ((1 - share) * a + share * b).astype(a.dtype)


def _barrier(losses: Any) -> float:
    losses = np.asarray(losses, np.float64)
    line = np.linspace(losses[0], losses[-1], len(losses))
    return float((losses - line).max())


def _distance(a: Solution, b: Solution) -> float:
    def norm(leaves: Sequence[np.ndarray]) -> float:
        return float(np.sqrt(sum(np.square(np.abs(x)).sum() for x in leaves)))

    wide = [
        (np.asarray(x, np.float64), np.asarray(y, np.float64))
        for x, y in zip(a, b, strict=True)
    ]
    scale = np.sqrt(norm([x for x, _ in wide]) * norm([y for _, y in wide]))
    return norm([x - y for x, y in wide]) / max(float(scale), 1e-300)


def _finite(solution: Solution) -> bool:
    return all(bool(np.isfinite(np.asarray(x, np.float64)).all()) for x in solution)
