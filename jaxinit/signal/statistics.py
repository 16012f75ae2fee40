"""The analysis of one seed, as a pure function: weights and inputs to statistics."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinit.layers.taps import plan_taps
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.plan import Hooks, Tap
from jaxinit.program.repeats import rolled
from jaxinit.program.run import replay
from jaxinit.signal import records as moments
from jaxinit.signal.bundle import Analysis as Analysis
from jaxinit.signal.bundle import Bundle, Bundled, find_rolled
from jaxinit.signal.bundle import Raw as Raw
from jaxinit.signal.records import Axes

Array = jax.Array


def sample_axis(shape: Sequence[int], batch: int) -> int | None:
    """The axis over samples: the first of the batch's size, else the leading one."""
    if len(shape) < 2:
        return 0 if tuple(shape) == (batch,) else None
    return list(shape).index(batch) if batch in shape else 0


def one_seed(
    analysis: Analysis,
) -> Callable[..., tuple[Bundled, Array]]:
    """The function ``(variables, key, inputs) -> records, loss`` to be compiled.

    Its arguments are the leaves of parameters and state, two keys, for dropout and the
    like and for the probe, and the array inputs.
    """
    traced = analysis.traced
    num_params = len(traced.params)
    measured = instrumented(analysis)
    bundle = Bundle(analysis)

    def run(
        variables: Sequence[Array],
        keys: tuple[Array, Array],
        inputs: Sequence[Array],
    ) -> tuple[Bundled, Array]:
        params, state = list(variables[:num_params]), list(variables[num_params:])
        model_key, probe_key = keys

        def forward(params: list[Array], bundled: Any) -> Any:
            values = [*params, *state, model_key, *inputs]
            outputs, found = measured(values, bundle.open_probes(bundled))
            records = bundle.records(found)
            if analysis.loss is not None:
                return analysis.loss(traced.output(outputs)), records
            return [out for out in outputs if _differentiable(out)], records

        if analysis.backward:
            probes = bundle.probes(empty_probes(analysis))
            result, pull, records = jax.vjp(forward, params, probes, has_aux=True)
            cotangent = (
                _gaussian(probe_key, result)
                if analysis.loss is None
                else jnp.ones_like(result)
            )
            gradients, backward = pull(cotangent)
            loss = jnp.zeros(()) if analysis.loss is None else result
        else:
            _, records = forward(params, bundle.probes({}))
            gradients, backward, loss = None, bundle.probes({}), jnp.zeros(())
        sizes = bundle.sizes(params, _size)
        steps = None if gradients is None else bundle.sizes(gradients, _size)
        return Bundled(records, backward, sizes, steps), loss

    return run


def no_float_output(analysis: Analysis) -> str | None:
    """Why no gradient can start at the model's output, ``None`` if one can."""
    traced = analysis.traced
    if analysis.loss is not None or float_outputs(traced):
        return None
    kinds = ", ".join(str(v.aval) for v in traced.apply.jaxpr.outvars)
    return (
        f"the model returns no floating-point array ({kinds or 'nothing'}). "
        "Analyze a method that returns logits: method=..."
    )


def not_differentiable(analysis: Analysis) -> str | None:
    """Why the model, as it is without us, cannot be differentiated; ``None`` if it can.

    Raises:
      Exception: whatever the user's loss raises, with a note.
    """
    try:
        jax.eval_shape(*plain_gradient(analysis))
    except (ValueError, TypeError, NotImplementedError) as error:
        if analysis.loss is not None:
            error.add_note("jaxinit was differentiating `loss` of the model's output.")
            raise
        return str(error).splitlines()[0]
    return None


def plain_forward(
    analysis: Analysis,
) -> tuple[Callable[[list[Any], list[Any]], Any], list[Any], list[Any]]:
    """What gradients start from, without statistics.

    Returns:
      The function of the parameters and of all other inputs of the model's program,
      and the shapes of both.
    """
    traced = analysis.traced
    shapes: list[Any] = [versions.shape_of(v) for v in traced.apply.jaxpr.invars]
    count = len(traced.params)

    def forward(params: list[Any], rest: list[Any]) -> Any:
        outputs = versions.evaluate(traced.apply, [*params, *rest])
        if analysis.loss is not None:
            return analysis.loss(traced.output(outputs))
        return [out for out in outputs if _differentiable(out)]

    return forward, shapes[:count], shapes[count:]


def plain_gradient(
    analysis: Analysis,
) -> tuple[Callable[[list[Any], list[Any]], Any], list[Any], list[Any]]:
    """The gradients of the parameters, without statistics; see `plain_forward`."""
    forward, params, rest = plain_forward(analysis)

    def gradient(params: list[Any], rest: list[Any]) -> Any:
        result, pull = jax.vjp(lambda p: forward(p, rest), params)
        return pull(jax.tree.map(jnp.ones_like, result))

    return gradient, params, rest


def instrumented(
    analysis: Analysis,
) -> Callable[[Sequence[Any], dict[int, Array]], tuple[list[Any], dict[Tap, Array]]]:
    """The forward pass with its statistics.

    Returns:
      The function ``(values, probes) -> (outputs, records)``. ``values`` are the
      inputs of the model's program and ``outputs`` its outputs; the derivative with
      respect to a probe is the record of the gradient at that event.
    """
    sites = analysis.sites
    plan = plan_taps(sites.numbers, sites.events)
    hooks = _hooks(analysis)
    program = rolled(analysis.traced.forward, find_rolled(analysis, plan))

    def run(
        values: Sequence[Any], probes: dict[int, Array]
    ) -> tuple[list[Any], dict[Tap, Array]]:
        outputs, records = replay(program, values, plan, hooks, probes)
        return _watch_outputs(outputs, probes), records

    return run


def empty_probes(analysis: Analysis) -> dict[int, Array]:
    """A zero record for each value whose gradient is wanted: events and outputs."""
    size = len(moments.SIZE)
    outputs = float_outputs(analysis.traced)
    avals = [var.aval for var in analysis.traced.apply.jaxpr.outvars]
    probes = {
        -1 - i: jnp.zeros(size, moments.record_dtype(avals[i].dtype)) for i in outputs
    }
    sites = analysis.sites
    for number, event in zip(sites.numbers, sites.events, strict=True):
        if all(loop.kind != "while" for loop in event.loops):
            lengths = [loop.length for loop in event.loops]
            dtype = moments.record_dtype(event.dtype)
            probes[number] = jnp.zeros((*lengths, size), dtype)
    return probes


def float_outputs(traced: Traced) -> list[int]:
    """Which of the model's output leaves a gradient can start from."""
    return [
        i for i, v in enumerate(traced.apply.jaxpr.outvars) if _differentiable(v.aval)
    ]


# Traced once for each shape, however many places have it.
_forward_record = jax.jit(moments.forward_record, static_argnums=1)
_dead_record = jax.jit(moments.dead_record, static_argnums=1)
_size_record = jax.jit(moments.size_record, static_argnums=1)


def _hooks(analysis: Analysis) -> Hooks:
    sites = analysis.sites
    axes = {
        number: Axes(
            sample_axis(event.shape, analysis.batch),
            () if event.masked and event.kind == "layer" else event.channels,
            event.masked,
        )
        for number, event in zip(sites.numbers, sites.events, strict=True)
    }

    def record(tap: Tap, value: Array) -> Array:
        value = lax.stop_gradient(value)
        if tap.point == "activation":
            summary = _dead_record
        else:
            summary = _forward_record
        found: Array = versions.summarized(
            lambda x: summary(x, axes[tap.number]), value
        )
        return found

    def passes(tap: Tap, value: Array, probe: Array | None) -> Array:
        del tap
        if probe is None or not _differentiable(value):
            return value
        return _watched(value, probe)

    return Hooks(record, passes, moments.merge)


@jax.custom_vjp
def _watched(value: Array, probe: Array) -> Array:
    """``value``; the "gradient" of ``probe`` is the record of the value's gradient."""
    del probe
    return value


def _watched_forward(value: Array, probe: Array) -> tuple[Array, Array]:
    return value, probe


def _watched_backward(probe: Array, gradient: Array) -> tuple[Array, Array]:
    record = versions.summarized(lambda x: _size_record(x, ()), gradient)
    return gradient, versions.vary_like(record, probe)


_watched.defvjp(_watched_forward, _watched_backward)


def _watch_outputs(outputs: Sequence[Array], probes: dict[int, Array]) -> list[Array]:
    watched = []
    for position, out in enumerate(outputs):
        probe = probes.get(-1 - position)
        watched.append(out if probe is None else _watched(out, probe))
    return watched


def _size(value: Array, kept: tuple[int, ...]) -> Array:
    record: Array = versions.summarized(lambda x: _size_record(x, kept), value)
    return record


def _gaussian(key: Array, outputs: Sequence[Array]) -> list[Array]:
    """Standard normal cotangents, drawn in float32 and cast last."""
    keys = jax.random.split(key, max(len(outputs), 1))
    drawn = []
    for k, out in zip(keys, outputs, strict=False):
        wide = moments.record_dtype(out.dtype)
        if jnp.iscomplexobj(out):
            wide = np.result_type(wide, np.complex64)
        normal = jax.random.normal(k, out.shape, wide).astype(out.dtype)
        drawn.append(versions.like(normal, out))
    return drawn


def _differentiable(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None or jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    return bool(jnp.issubdtype(dtype, jnp.inexact)) and int(np.prod(value.shape)) > 0
