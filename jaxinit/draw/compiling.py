"""How hard the compiler should try: most programs run for less time than they compile.

On two CPU cores, jax 0.10.2, seconds on all cores of the first call with 8 seeds, and
of later ones in brackets, by LLVM's level of optimization:

    model                        0             1             3 (XLA's own)
    MLP, 30 x 256                4.3 (0.37)    4.1 (0.29)     4.6 (0.28)
    convnet, 14 layers           5.2 (0.33)    5.7 (0.14)     7.7 (0.15)
    GPT, 4 blocks x 128          7.9 (0.91)    9.0 (0.37)    11.4 (0.38)
    ResNet-18, 16 features      12.3 (0.95)   12.6 (0.48)    17.0 (0.53)
"""

import math
from typing import Any

import jax

from jaxinit.layers.find import Sites

# As `benchmarks/compiler.py` prints: level 1 runs as fast as level 3, which takes up to
# a third longer to compile.
_LITTLE: dict[str, Any] = {"xla_backend_optimization_level": 1}
# Half as slow again to run, and a little faster to compile.
_LEAST: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
# At some 1e10 operations a second a tenth of a second, and hours.
_LEAST_WORK, _MUCH_WORK = 1e9, 1e14


def quick_options(sites: Sites, passes: int) -> dict[str, Any] | None:
    """Options for a compiler whose program will run ``passes`` forward passes.

    Args:
      sites: the layers of the model.
      passes: how often data go through it; a gradient counts as two more.

    Returns:
      Options that save time on a CPU; ``None`` on others, and for runs so long that
      compiling counts for nothing.
    """
    if jax.default_backend() != "cpu":
        return None
    products = 0.0
    for event in sites.events:
        repeats = math.prod(max(loop.length, 1) for loop in event.loops)
        for use in event.uses:
            products += repeats * use.fan_in * math.prod(event.shape)
    work = 2 * products * passes
    if work > _MUCH_WORK:
        return None
    return _LEAST if work < _LEAST_WORK else _LITTLE
