"""Which seeds run: as many as were asked for, or as many as tell."""

import math
from collections.abc import Sequence

import numpy as np

from jaxinit.layers.find import Sites

_MIN_SEEDS, _MAX_SEEDS = 8, 64

Seeds = int | Sequence[int] | None
"""A number of seeds, their indices, or ``None`` for as many as tell."""


def seed_numbers(seeds: Seeds, draws: bool, sites: Sites) -> list[int]:
    """The indices of the seeds to draw.

    Raises:
      ValueError: if several are asked for and nothing ``draws`` weights.
    """
    if draws:
        return _listed(_enough(sites) if seeds is None else seeds)
    if seeds is not None and num_seeds(seeds, sites) != 1:
        raise ValueError(
            f"`seeds` must be 1 for an nnx module, which holds one set of weights, "
            f"got {seeds}. Pass a callable from nnx.Rngs to the module, or a scheme."
        )
    return [0]


def set_numbers(seeds: Seeds, count: int) -> list[int]:
    """Which of ``count`` sets of weights that were given are measured.

    Raises:
      ValueError: if there is no such set.
    """
    found = _listed(count if seeds is None else seeds)
    if max(found) >= count:
        raise ValueError(
            f"`seeds` must number the sets of weights in `variables`, of which there "
            f"are {count}, got {seeds}. Leave it out to measure all of them."
        )
    return found


def num_seeds(seeds: Seeds, sites: Sites) -> int:
    """How many seeds that is."""
    return _enough(sites) if seeds is None else len(_listed(seeds))


def _listed(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, int | np.integer):
        return list(range(int(seeds)))
    return [int(seed) for seed in seeds]


def _enough(sites: Sites) -> int:
    """The log of the second moment varies by 5/fan_in per layer over seeds."""
    spread = 0.0
    for event in sites.events:
        repeats = math.prod(lp.length for lp in event.loops if lp.kind == "layers")
        if event.kind == "layer" and event.uses and event.operation != "gather":
            spread += 5 * repeats / max(event.uses[0].fan_in, 1)
    return min(max(math.ceil(100 * spread), _MIN_SEEDS), _MAX_SEEDS)
