"""A function with statistics at the rows that are watched."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.layers.taps import plan_taps
from jaxinit.program import versions
from jaxinit.program.run import Hooks, Plan, Tap, replay
from jaxinit.signal.inside.program import Program
from jaxinit.signal.inside.rows import COUNT, at, pooled, tabulated
from jaxinit.signal.metrics import METRICS, Seen
from jaxinit.signal.records import Axes, size_record
from jaxinit.signal.statistics import sample_axis

Array = jax.Array


def forward(
    program: Program, params: Sequence[Array], on: Array | None, probes: Any
) -> tuple[Any, list[Array], dict[str, Array]]:
    """Runs the function and takes the statistics of its activations.

    Args:
      program: the function.
      params: arrays in place of the variables that are trained.
      on: whether to take them, or ``None`` to.
      probes: by event, as for ``replay``; empty without gradients.

    Returns:
      The function's output, what it made of its state, and the statistics.
    """
    traced = program.analysis.traced
    numbers, events = list(program.events), list(program.events.values())
    if not any(METRICS[name].behind for name in program.metrics):
        events = [dataclasses.replace(event, activation=None) for event in events]
    plan = plan_taps(numbers, events) if program.metrics or probes else Plan()
    outputs, records = replay(
        traced.apply, program.values(params), plan, _hooks(program, on), probes
    )
    output, state = traced.output(outputs)
    return output, state, tabulated(program, records)


def _hooks(program: Program, on: Array | None) -> Hooks:
    batch = program.analysis.batch

    def record(tap: Tap, value: Array) -> Array:
        event = program.events[tap.number]
        axes = Axes(
            sample_axis(event.shape, batch),
            () if event.masked and event.kind == "layer" else event.channels,
            event.masked,
        )
        here = [at(event, name) == tap.point for name in program.metrics]

        def taken(x: Array) -> Array:
            seen = Seen(x, axes)
            found = [
                METRICS[name].compute(seen) if is_here else jnp.nan
                for name, is_here in zip(program.metrics, here, strict=True)
            ]
            fields = [jnp.asarray(field, jnp.float32) for field in (1.0, *found)]
            return jnp.stack(fields)

        value = lax.stop_gradient(value)
        measure = taken if on is None else _only(on, taken, len(here) + 1)
        found: Array = versions.summarized(measure, value)
        return found

    def passes(tap: Tap, value: Array, probe: Array | None) -> Array:
        del tap
        if probe is None or not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        return _watched(value, probe, jnp.float32(1) if on is None else on)

    return Hooks(record, passes, functools.partial(_merge, program.metrics))


def _only(
    on: Array, function: Callable[[Array], Array], size: int
) -> Callable[[Array], Array]:
    """``function`` where ``on``, else zeros, and then at no cost."""

    def nothing(x: Array) -> Array:
        return versions.vary_like(jnp.zeros(size, jnp.float32), x)

    return lambda x: lax.cond(on > 0, function, nothing, x)


def _merge(metrics: Sequence[str], earlier: Array, later: Array) -> Array:
    """Joins two steps of a loop of unknown length."""
    both = jnp.stack([earlier, later])
    counts = both[:, COUNT]
    fields = [
        pooled(both[:, i], counts, METRICS[name].pool)
        for i, name in enumerate(metrics, 1)
    ]
    return jnp.stack([counts.sum(), *fields])


@jax.custom_vjp
def _watched(value: Array, probe: Array, on: Array) -> Array:
    """``value``; the "gradient" of ``probe`` is the record of the value's gradient."""
    del probe, on
    return value


def _watched_forward(value: Array, probe: Array, on: Array) -> tuple[Array, Any]:
    return value, (probe, on)


def _watched_backward(kept: Any, gradient: Array) -> tuple[Array, Array, Array]:
    probe, on = kept
    measure = _only(on, _mean_size, 2)
    record = versions.summarized(measure, gradient)
    return gradient, versions.vary_like(record, probe), jnp.zeros_like(on)


_watched.defvjp(_watched_forward, _watched_backward)


def _mean_size(x: Array) -> Array:
    """A count, and the root of the mean square."""
    count, exponent, scaled = size_record(x).astype(jnp.float32)
    return jnp.stack([count, jnp.sqrt(scaled) * jnp.exp2(exponent)])


def empty_probes(program: Program) -> dict[int, Array]:
    """A zero record for each row whose gradient is wanted."""
    found = {}
    for number, event in program.events.items():
        if all(loop.kind != "while" for loop in event.loops):
            found[number] = jnp.zeros((*(lp.length for lp in event.loops), 2))
    return found
