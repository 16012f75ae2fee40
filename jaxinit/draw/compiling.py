"""When to compile in a hurry: programs that run for less time than they compile."""

import math
from typing import Any

import jax

from jaxinit.layers.find import Sites

# On CPU they halve the time to compile and cost up to half of the speed.
_QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
_LITTLE_WORK = 1e10


def quick_options(sites: Sites, passes: int) -> dict[str, Any] | None:
    """Options for a compiler whose program will run ``passes`` forward passes.

    Args:
      sites: the layers of the model.
      passes: how often data go through it; a gradient counts as two more.

    Returns:
      Options that save time if there is little to run on a CPU, else ``None``.
    """
    if jax.default_backend() != "cpu":
        return None
    products = 0.0
    for event in sites.events:
        repeats = math.prod(max(loop.length, 1) for loop in event.loops)
        for use in event.uses:
            products += repeats * use.fan_in * math.prod(event.shape)
    return _QUICK if 2 * products * passes < _LITTLE_WORK else None
