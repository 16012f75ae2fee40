"""Whether one seed fits into memory, said before anything is drawn."""

import math

import jax
import jax.numpy as jnp

from jaxinit.signal import resources
from jaxinit.signal.engine import Engine, abstract_arguments
from jaxinit.signal.statistics import Analysis


def check_fits(
    engine: Engine, memory_budget: int | None, *, compiled: bool = True
) -> None:
    """Raises if one seed needs more memory than there is.

    First by the weights alone, which needs no compiler; then by what the compiler says
    that a seed takes.

    Args:
      engine: what is to be run.
      memory_budget: the user's limit in bytes, or ``None``.
      compiled: whether to compile for one seed and to ask the compiler.

    Raises:
      RuntimeError: with the bytes needed, the bytes there and what would help.
    """
    there = _there(memory_budget)
    if least_bytes(engine.analysis) > there:
        raise too_large(engine, least_bytes(engine.analysis), there)
    if compiled and engine.measure_memory(0) > there:
        raise too_large(engine, engine.bytes_per_seed, there)


def too_large(
    engine: Engine, needed: int | None = None, there: int | None = None
) -> RuntimeError:
    """The error for one seed that does not fit."""
    analysis = engine.analysis
    needed = needed or max(engine.bytes_per_seed, least_bytes(analysis))
    there = resources.free_memory() if there is None else there
    weights = weight_bytes(analysis)
    advice = "a wider device or `devices=`"
    if needed > 3 * weights:
        advice = "jax.checkpoint (nn.remat) around the blocks, or bfloat16 activations"
    return RuntimeError(
        f"one seed does not fit the memory: {analysis.traced.name} needs "
        f"{in_bytes(needed)} ({in_bytes(weights)} of them weights, as much again "
        f"their gradients), and there are {in_bytes(there)}. What would help: "
        f"a smaller batch (now {analysis.batch}) or a shorter sequence; {advice}; "
        "analyze(..., plan=True) says what a call would take."
    )


def weight_bytes(analysis: Analysis) -> int:
    """Bytes of parameters and state."""
    variables, _, _ = abstract_arguments(analysis, 0)
    return sum(math.prod(v.shape) * _itemsize(v.dtype) for v in variables)


def input_bytes(analysis: Analysis) -> int:
    _, _, inputs = abstract_arguments(analysis, 0)
    return sum(math.prod(x.shape) * _itemsize(x.dtype) for x in inputs)


def least_bytes(analysis: Analysis) -> int:
    """What a seed takes in any case: inputs, weights, and gradients if there are any.

    A parameter's gradient is reduced as soon as it is there, so only the weights are
    certain to be held at once.
    """
    return weight_bytes(analysis) + input_bytes(analysis)


def in_bytes(number: float) -> str:
    """A number of bytes for people: ``3.2 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _there(memory_budget: int | None) -> int:
    free = resources.free_memory()
    return free if memory_budget is None else min(free, memory_budget)


def _itemsize(dtype: object) -> int:
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return 8
    return int(jnp.dtype(dtype).itemsize)
