"""Whether one seed fits into memory, said before anything is drawn."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit import _resources as resources
from jaxinit._collector import collecting_rarely
from jaxinit.signal.compiled import abstract_arguments
from jaxinit.signal.engine import Engine
from jaxinit.signal.statistics import Analysis


@collecting_rarely()  # it lowers the program
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
    return sum(map(bytes_of, variables))


def input_bytes(analysis: Analysis) -> int:
    _, _, inputs = abstract_arguments(analysis, 0)
    return sum(map(bytes_of, inputs))


def bytes_of(value: Any) -> int:
    """Bytes of an array, or of a shape; a typed key counts 8."""
    key = jnp.issubdtype(value.dtype, jax.dtypes.extended)
    size = 8 if key else int(jnp.dtype(value.dtype).itemsize)
    return int(math.prod(value.shape)) * size


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
