"""How many runs are trained at once, and in groups of how many."""

import math
from typing import Literal, NamedTuple

import jax

from jaxinit._resources import cores, free_memory
from jaxinit.roles.network import Network

# Per run: weights, gradients and up to three accumulators, and one for what is built
# while another lives. Activations live until the backward pass, with their gradients.
_WEIGHT_COPIES, _ACTIVATION_COPIES = 6, 4
# Runs of one product on a core of a CPU. An MLP of 6 layers under Adam, batches of 64,
# CPU microseconds a step and run on a busy machine, by the width of its layers:
#
#     runs     16    64   128     512
#     1        92   309   854  19,000
#     2        85   250   771  11,500
#     4        60   215   771  11,700
#     8        52   233   802  12,300
#     all      48   236   781  12,100
#
# Of fewer each operation costs its call; of more what they compute leaves the cache.
# Runs that fill so many bytes are near the least; those of width 64 take 1.0 MB each.
_GROUP_BYTES, _GROUPS = 4.5e6, (4, 16)

Strategy = Literal["auto", "vmap", "loop"]


class Layout(NamedTuple):
    """How runs are trained.

    Attributes:
      chunk: how many at once.
      group: how many of these are one product, a divisor; 0 if each is by itself.
    """

    chunk: int
    group: int


def laid_out(
    network: Network,
    runs: int,
    strategy: Strategy,
    chunk: int | None,
    budget: int | None,
    devices: int,
) -> Layout:
    """The layout of the runs of a process, alike on all of its devices.

    Args:
      network: the model.
      runs: how many there are.
      strategy: as in ``race``.
      chunk: how many are trained at once; by default as many as fit.
      budget: bytes; by default a half of what is free.
      devices: over how many a chunk is spread.
    """
    if strategy == "loop":
        return Layout(1, 0)
    best = _best_group(network)
    size = min(chunk, runs) if chunk else _chunk_size(network, runs, budget, best)
    if strategy == "auto" and not vectorizing_pays(network):
        return Layout(min(size, cores()), 0)
    size = -(-size // devices) * devices
    if devices > 1 or jax.default_backend() != "cpu":
        return Layout(size, size)  # one program uses all that is there
    each = size // _largest_divisor(size, cores())
    return Layout(size, _largest_divisor(each, best + best // 2))


def _largest_divisor(number: int, at_most: int) -> int:
    return max(d for d in range(1, min(number, at_most) + 1) if number % d == 0)


def _chunk_size(network: Network, runs: int, budget: int | None, group: int) -> int:
    """How many runs are trained at once, by an estimate of what fits into memory.

    At least 1; up to so many more than ``runs`` that cores have equal shares.
    """
    budget = free_memory() // 2 if budget is None else budget
    fits = max(1, budget // max(_bytes_of_run(network), 1))
    # Chunks of one size, so that one program serves them all.
    size = math.ceil(runs / math.ceil(runs / min(fits, runs)))
    shared = _shared_out(size, group)
    return shared if shared <= fits else size


def _bytes_of_run(network: Network) -> int:
    weights = sum(math.prod(p.shape) * p.dtype.itemsize for p in network.params)
    activations = sum(
        4 * math.prod(event.shape) * math.prod(max(lp.length, 1) for lp in event.loops)
        for event in network.sites.events
    )
    return _WEIGHT_COPIES * weights + _ACTIVATION_COPIES * activations


def _best_group(network: Network) -> int:
    fewest, most = _GROUPS
    fill = int(_GROUP_BYTES) // max(_bytes_of_run(network), 1)
    return min(max(fill, fewest), most)


def _shared_out(runs: int, group: int) -> int:
    """``runs``, filled up until they are equal groups on each core of a CPU."""
    if jax.default_backend() != "cpu":
        return runs
    parts = min(cores(), runs)
    each = math.ceil(runs / parts)
    groups = math.ceil(each / group)
    return parts * groups * math.ceil(each / groups)


def vectorizing_pays(network: Network) -> bool:
    """Not for convolutions on CPU: those of several kernels at once are slow there."""
    convolves = any("conv" in event.operation for event in network.sites.events)
    return jax.default_backend() != "cpu" or not convolves
