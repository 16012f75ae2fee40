"""How many runs are trained at once, and how they lie on the cores."""

import math
from typing import NamedTuple

import jax

from jaxinit._resources import cores, free_memory
from jaxinit.roles.network import Network

# Per run: weights, gradients and up to three accumulators, and one for what is built
# while another lives. Activations live until the backward pass, with their gradients.
_WEIGHT_COPIES, _ACTIVATION_COPIES = 6, 4
# On a CPU, as `benchmarks/race.py` tells: products of a few runs at once cost least at
# all widths from 16 to 512. With fewer each operation costs its call; with more what
# they compute leaves the cache before it is used.
_GROUP, _LARGEST_GROUP = 4, 6


class Layout(NamedTuple):
    """Where the runs of a chunk are.

    Attributes:
      parts: how many equal parts are trained at the same time, each by a core.
      group: how many runs of a part are one product; its groups take turns.
    """

    parts: int
    group: int


def layout(runs: int, spread: bool) -> Layout:
    """The layout of a chunk of ``runs``: its parts and groups have no remainder.

    Args:
      runs: how many there are.
      spread: whether they are spread over several devices.
    """
    if spread or jax.default_backend() != "cpu":
        return Layout(1, runs)  # one program uses all that is there
    parts = _largest_divisor(runs, cores())
    return Layout(parts, _largest_divisor(runs // parts, _LARGEST_GROUP))


def _largest_divisor(number: int, at_most: int) -> int:
    return max(d for d in range(1, min(number, at_most) + 1) if number % d == 0)


def chunk_size(network: Network, runs: int, budget: int | None) -> int:
    """How many runs are trained at once, by an estimate of what fits into memory.

    Args:
      network: the model.
      runs: how many there are.
      budget: bytes; by default a half of what is free.

    Returns:
      At least 1; up to so many more than ``runs`` that cores have equal shares.
    """
    budget = free_memory() // 2 if budget is None else budget
    weights = sum(math.prod(p.shape) * p.dtype.itemsize for p in network.params)
    activations = sum(
        4 * math.prod(event.shape) * math.prod(max(lp.length, 1) for lp in event.loops)
        for event in network.sites.events
    )
    each = _WEIGHT_COPIES * weights + _ACTIVATION_COPIES * activations
    fits = max(1, budget // max(each, 1))
    # Chunks of one size, so that one program serves them all.
    size = math.ceil(runs / math.ceil(runs / min(fits, runs)))
    shared = _shared_out(size)
    return shared if shared <= fits else size


def _shared_out(runs: int) -> int:
    """``runs``, filled up until they are equal groups on each core of a CPU."""
    if jax.default_backend() != "cpu":
        return runs
    parts = min(cores(), runs)
    each = math.ceil(runs / parts)
    groups = math.ceil(each / _GROUP)
    return parts * groups * math.ceil(each / groups)


def vectorizing_pays(network: Network) -> bool:
    """Not for convolutions on CPU: those of several kernels at once are slow there."""
    convolves = any("conv" in event.operation for event in network.sites.events)
    return jax.default_backend() != "cpu" or not convolves
