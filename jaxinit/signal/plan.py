"""``analyze(..., plan=True)``: what a call would take, before anything is allocated."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit import _resources as resources
from jaxinit.program import versions
from jaxinit.program.program import Region
from jaxinit.signal.fitting import bytes_of, in_bytes, input_bytes, weight_bytes
from jaxinit.signal.statistics import Analysis, plain_forward

_DRAW_SECONDS = 2e-8  # a normal number on one core, see the benchmarks
_SIZE = 512


@dataclass(frozen=True)
class RunPlan:
    """What an analysis would take. ``print`` it.

    Attributes:
      model: its name.
      rows: places at which the signal is measured.
      parameters: numbers that training changes.
      seeds: how many would be run.
      weight_bytes: bytes of the weights of one seed.
      bytes_per_seed: bytes that one seed takes while it runs: weights, inputs, and what
        the backward pass keeps. The compiler may do with less.
      free_bytes: bytes that are free now.
      chunk: seeds at once.
      flops_per_seed: operations of one seed's products, forward and backward.
      seconds: estimated time to draw and to run all seeds, compiling apart.
    """

    model: str
    rows: int
    parameters: int
    seeds: int
    weight_bytes: int
    bytes_per_seed: int
    free_bytes: int
    chunk: int
    flops_per_seed: float
    seconds: float

    @property
    def fits(self) -> bool:
        """Whether one seed fits the memory that is free."""
        return self.bytes_per_seed <= self.free_bytes

    def __str__(self) -> str:
        fits = "fits" if self.fits else "does not fit"
        return "\n".join(
            [
                f"Plan for {self.model}: {self.rows} rows, "
                f"{self.parameters:,} parameters, {self.seeds} seeds",
                f"memory  {in_bytes(self.bytes_per_seed)} a seed, "
                f"{in_bytes(self.weight_bytes)} of them weights; "
                f"{in_bytes(self.free_bytes)} are free: {fits}",
                f"chunk   {self.chunk} at once",
                f"work    {self.flops_per_seed:.3g} operations a seed, about "
                f"{self.seconds:.3g} s for all seeds, compiling apart",
            ]
        )


def plan_run(
    analysis: Analysis,
    seeds: int,
    chunk: int | None,
    memory_budget: int | None,
) -> RunPlan:
    """Plans an analysis from its programs alone.

    Args:
      analysis: what would be measured.
      seeds: how many seeds.
      chunk: the user's, or ``None``.
      memory_budget: the user's, or ``None``.
    """
    traced = analysis.traced
    weights = weight_bytes(analysis)
    needed = weights + input_bytes(analysis) + kept_bytes(analysis)
    free = resources.free_memory()
    fits = max((memory_budget or resources.budget()) // max(needed, 1), 1)
    flops = sum(_flops(traced.forward, 3 if analysis.backward else 1))
    params = [v.aval for v in traced.apply.jaxpr.invars[: len(traced.params)]]
    numbers = sum(math.prod(a.shape) for a in params)
    on_cpu = jax.default_backend() == "cpu"
    cores = resources.cores() if on_cpu else 1
    drawing = numbers * _DRAW_SECONDS / cores if on_cpu else 0.0
    rows = sum(
        math.prod(loop.length for loop in event.loops if loop.kind == "layers")
        for event in analysis.sites.events
    )
    return RunPlan(
        model=traced.name,
        rows=rows,
        parameters=numbers,
        seeds=seeds,
        weight_bytes=weights,
        bytes_per_seed=needed,
        free_bytes=free,
        chunk=min(chunk or (min(cores, fits) if on_cpu else fits), seeds),
        flops_per_seed=flops,
        seconds=seeds * (flops / _flops_per_second() + drawing),
    )


def kept_bytes(analysis: Analysis) -> int:
    """Bytes that a backward pass takes besides weights and inputs.

    They are what the derivative of the plain model keeps of the forward pass, as jax
    says it, and, of what the backward pass makes, at least one cotangent of the largest
    of that and the largest weight's gradient: nothing is computed for it. A scan or a
    checkpoint keeps what it says that it keeps.
    """
    if not analysis.backward:
        return _largest(analysis.traced.forward)
    forward, params, rest = plain_forward(analysis)
    inside: list[int] = []

    def keep(params: list[Any], rest: list[Any]) -> Any:
        result, pull = jax.vjp(lambda p: forward(p, rest), params)
        given = {id(x) for x in (*params, *rest)}
        held = {id(x): x for x in jax.tree.leaves(pull) if id(x) not in given}
        sizes = [bytes_of(x) for x in held.values()]
        inside.append(sum(sizes) + max(sizes, default=0))
        return result

    try:
        jax.eval_shape(keep, params, rest)
    except (ValueError, TypeError, NotImplementedError):  # it cannot be differentiated
        return _largest(analysis.traced.forward)
    return inside[-1] + max(map(bytes_of, params), default=0)


def _largest(region: Region) -> int:
    """Bytes of the two largest values: what a forward pass holds at least."""
    made = [v for node in region.nodes for v in node.equation.outvars]
    return sum(sorted(bytes_of(v.aval) for v in made)[-2:])


def _flops(region: Region, factor: float) -> Iterator[float]:
    """Operations of each product, ``factor`` times, inner programs included.

    The longest branch of a ``cond`` would be right; all are counted. A ``while`` loop
    counts once.
    """
    for node in region.nodes:
        equation = node.equation
        if node.primitive == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            yield factor * 2.0 * depth * math.prod(equation.outvars[0].aval.shape)
        elif node.primitive == "conv_general_dilated":
            numbers = equation.params["dimension_numbers"]
            kernel = equation.invars[1].aval.shape
            depth = math.prod(kernel) // max(kernel[numbers.rhs_spec[0]], 1)
            yield factor * 2.0 * depth * math.prod(equation.outvars[0].aval.shape)
        inner_factor = factor
        if node.kind == "scan":
            inner_factor *= versions.scan_parts(equation).length
        elif node.kind == "remat":
            inner_factor *= 4 / 3  # forward once more
        for body in node.bodies:
            yield from _flops(body, inner_factor)


def _flops_per_second() -> float:
    """What a product of two matrices of moderate size reaches here, measured."""
    x = jnp.asarray(np.ones((_SIZE, _SIZE), np.float32))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2.0 * _SIZE**3 / best
