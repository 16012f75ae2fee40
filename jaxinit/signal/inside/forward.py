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
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.signal.inside.program import Watched
from jaxinit.signal.inside.rows import COUNT, at, pooled, tabulated
from jaxinit.signal.metrics import METRICS, Seen
from jaxinit.signal.records import Axes, size_record
from jaxinit.signal.statistics import sample_axis

Array = jax.Array


def forward(
    watched: Watched, values: Sequence[Any], on: Array | None, probes: Any
) -> tuple[list[Any], dict[str, Array]]:
    """Runs a program and takes the statistics of its activations.

    Args:
      watched: the program, and the rows and metrics.
      values: its inputs.
      on: whether to take them, or ``None`` to.
      probes: by event, as for ``replay``; empty without gradients.

    Returns:
      The program's outputs, and the statistics.
    """
    numbers, events = list(watched.events), list(watched.events.values())
    if not any(METRICS[name].behind for name in watched.metrics):
        events = [dataclasses.replace(event, activation=None) for event in events]
    plan = plan_taps(numbers, events) if watched.metrics or probes else Plan()
    hooks = _hooks(watched, on)
    program = watched.analysis.traced.forward
    outputs, records = replay(program, values, plan, hooks, probes)
    return outputs, tabulated(watched, records)


def _hooks(watched: Watched, on: Array | None) -> Hooks:
    batch, events = watched.analysis.batch, watched.events

    def record(tap: Tap, value: Array) -> Array:
        event = events[tap.number]
        axes = Axes(
            sample_axis(event.shape, batch),
            () if event.masked and event.kind == "layer" else event.channels,
            event.masked,
        )
        here = [at(event, name) == tap.point for name in watched.metrics]

        def taken(x: Array) -> Array:
            seen = Seen(x, axes)
            found = [
                METRICS[name].compute(seen) if is_here else jnp.nan
                for name, is_here in zip(watched.metrics, here, strict=True)
            ]
            fields = [jnp.asarray(field, jnp.float32) for field in (1.0, *found)]
            return jnp.stack(fields)

        value = lax.stop_gradient(value)
        return _summary(taken, value, on, len(here) + 1)

    def passes(tap: Tap, value: Array, probe: Array | None) -> Array:
        del tap
        if probe is None or not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        return _watched(value, probe, on)

    return Hooks(record, passes, functools.partial(_merge, watched.metrics))


def _summary(
    function: Callable[[Array], Array], value: Array, on: Array | None, size: int
) -> Array:
    """``function`` of a value, wherever it lies; zeros unless ``on``, at no cost."""

    def summary(x: Array) -> Array:
        found: Array = versions.summarized(function, x)
        return found

    def nothing(x: Array) -> Array:
        return versions.vary_like(jnp.zeros(size, jnp.float32), x)

    if on is None:
        return summary(value)
    chosen: Array = lax.cond(on > 0, summary, nothing, value)
    return chosen


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
def _watched(value: Array, probe: Array, on: Array | None) -> Array:
    """``value``; the "gradient" of ``probe`` is the record of the value's gradient."""
    del probe, on
    return value


def _watched_forward(value: Array, probe: Array, on: Array | None) -> tuple[Array, Any]:
    return value, (probe, on)


def _watched_backward(kept: Any, gradient: Array) -> tuple[Array, Array, Any]:
    probe, on = kept
    record = versions.vary_like(_summary(_mean_size, gradient, on, 2), probe)
    return gradient, record, None if on is None else jnp.zeros_like(on)


_watched.defvjp(_watched_forward, _watched_backward)


def _mean_size(x: Array) -> Array:
    """A count, and the root of the mean square."""
    count, exponent, scaled = size_record(x).astype(jnp.float32)
    return jnp.stack([count, jnp.sqrt(scaled) * jnp.exp2(exponent)])


def empty_probes(watched: Watched, values: Sequence[Any]) -> dict[int, Array]:
    """A zero record for each row whose gradient is wanted.

    Within a ``shard_map`` each device has its own, if any of ``values`` is its own.
    """
    found = {}
    for number, event in watched.events.items():
        if all(loop.kind != "while" for loop in event.loops):
            probe = jnp.zeros((*(lp.length for lp in event.loops), 2))
            for value in values:
                probe = versions.vary_like(probe, value)
            found[number] = probe
    return found
