"""A few normalized gradient steps: what initialization alone cannot tell.

A gradient that is exactly zero at the first step may be there at the second (zero
heads, gates that start closed), or never; units that are equal may part, or never.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.program.plan import NO_HOOKS, Plan
from jaxinit.program.repeats import Repeat, rolled
from jaxinit.program.run import replay
from jaxinit.roles.network import Network

Array = jax.Array

# Two steps open two closed gates in a row; a third shows what stays closed.
NUM_STEPS = 4
# Each step changes a parameter by a tenth of its rms, or by 0.01 where that is less.
_RATE, _LEAST = 0.1, 0.1
# One more gradient, of so many times the loss: what it finds where the others were
# zero had been too small for the dtype.
_MAGNIFIED = 2.0**24


class Steps(NamedTuple):
    """What the steps did, for each floating-point parameter.

    Attributes:
      moved: `(steps, params)`: whether any entry of the gradient is not zero.
      nonfinite: `(steps, params)`: whether one is NaN or infinite.
      undefined: `(steps,)`: the share of the model's outputs that are NaN.
      magnified: `(params,)`: ``moved`` for a much larger loss.
      before: `(params,)`: the largest difference between two units over the largest
        entry; NaN where the parameter has no units.
      after: the same after the steps.
      mean_square: `(params,)`, of the parameter itself.
    """

    moved: Array
    nonfinite: Array
    undefined: Array
    magnified: Array
    before: Array
    after: Array
    mean_square: Array


def take_steps(
    network: Network,
    loss: Callable[[Any], Array] | None,
    repeats: Sequence[Repeat] = (),
    options: dict[str, Any] | None = None,
) -> Callable[[Sequence[Array], Array, Sequence[Array]], Steps]:
    """The function ``(variables, key, inputs) -> Steps`` of one seed.

    It is not for ``jit``: a step is compiled once and called for each. In one loop of
    one program convolutions would take ten times as long on CPU.

    Args:
      network: the model, read.
      loss: the user's loss, or ``None`` for random projections of the output.
      repeats: blocks of the model that are run as a loop.
      options: for the compiler.
    """
    trained = trained_leaves(network)
    gradient = _gradient(network, loss, trained, repeats)

    def step(variables: list[Array], key: Array, inputs: Sequence[Array]) -> Any:
        gradients, undefined = gradient(variables, key, inputs, jnp.float32(1))
        found = _any(gradients, _not_zero), _any(gradients, _not_finite), undefined
        moved = list(variables)
        for leaf, slope in zip(trained, gradients, strict=True):
            moved[leaf] = _moved(variables[leaf], slope)
        return moved, found

    def magnify(variables: list[Array], key: Array, inputs: Sequence[Array]) -> Array:
        gradients, _ = gradient(variables, key, inputs, jnp.float32(_MAGNIFIED))
        return _any(gradients, _not_zero)

    def ends(first: list[Array], last: list[Array]) -> tuple[Array, Array, Array]:
        before, after = [[x[leaf] for leaf in trained] for x in (first, last)]
        squares = [jnp.mean(jnp.square(jnp.abs(_wide(p)))) for p in before]
        return (
            _spreads(network, trained, before),
            _spreads(network, trained, after),
            jnp.stack(squares),
        )

    step, magnify, ends = (
        jax.jit(part, compiler_options=options) for part in (step, magnify, ends)
    )

    def run(variables: Sequence[Array], key: Array, inputs: Sequence[Array]) -> Steps:
        first = last = list(variables)
        found = []
        for step_key in jax.random.split(key, NUM_STEPS):
            last, moves = step(last, step_key, inputs)
            found.append(moves)
        moved, nonfinite, undefined = map(jnp.stack, zip(*found, strict=True))
        magnified = jnp.zeros(len(trained), bool)
        if _is_narrow(network):
            magnified = magnify(first, key, inputs)
        return Steps(moved, nonfinite, undefined, magnified, *ends(first, last))

    return run


def _gradient(
    network: Network,
    loss: Callable[[Any], Array] | None,
    trained: Sequence[int],
    repeats: Sequence[Repeat],
) -> Callable[
    [Sequence[Array], Array, Sequence[Array], Array], tuple[list[Array], Array]
]:
    """``(variables, key, inputs, scale)`` to the gradients of the trained leaves.

    Beside them stands the share of the model's outputs that are NaN.
    """
    traced = network.traced
    program = rolled(traced.forward, repeats)

    def gradient(
        variables: Sequence[Array], key: Array, inputs: Sequence[Array], scale: Array
    ) -> tuple[list[Array], Array]:
        model_key, probe_key = jax.random.split(key)

        def objective(moving: list[Array]) -> tuple[Array, Array]:
            leaves = list(variables)
            for leaf, value in zip(trained, moving, strict=True):
                leaves[leaf] = value
            values = [*leaves, model_key, *inputs]
            outputs, _ = replay(program, values, Plan(), NO_HOOKS, {})
            undefined = _undefined(outputs)
            if loss is not None:
                return loss(traced.output(outputs)) * scale, undefined
            return _projected(outputs, probe_key) * scale, undefined

        moving = [variables[leaf] for leaf in trained]
        found: tuple[list[Array], Array] = jax.grad(objective, has_aux=True)(moving)
        return found

    return gradient


def trained_leaves(network: Network) -> list[int]:
    """The parameters that a gradient can move: those of floating point."""
    return [p.leaf for p in network.params if jnp.issubdtype(p.dtype, jnp.floating)]


def _is_narrow(network: Network) -> bool:
    narrow = ("float16", "float8")
    return any(event.dtype.startswith(narrow) for event in network.sites.events)


def _undefined(outputs: Sequence[Array]) -> Array:
    """The share of NaN among the outputs; an infinity may be meant, as in a mask."""
    floats = [out for out in outputs if jnp.issubdtype(out.dtype, jnp.inexact)]
    count = sum(out.size for out in floats)
    total: Array = sum((jnp.isnan(out).sum() for out in floats), jnp.zeros((), int))
    return total / max(count, 1)


def _projected(outputs: Sequence[Array], key: Array) -> Array:
    """A random projection of all floating-point outputs."""
    total: Array = jnp.zeros((), jnp.float32)
    for number, out in enumerate(outputs):
        if jnp.issubdtype(out.dtype, jnp.inexact):
            probe = jax.random.normal(jax.random.fold_in(key, number), out.shape)
            total += jnp.real(out * probe.astype(out.dtype)).astype(jnp.float32).sum()
    return total


def _any(values: Sequence[Array], test: Callable[[Array], Array]) -> Array:
    return jnp.stack([test(value).any() for value in values])


def _not_zero(x: Array) -> Array:
    return x != 0


def _not_finite(x: Array) -> Array:
    return ~jnp.isfinite(x)


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32)


def _moved(param: Array, gradient: Array) -> Array:
    """The parameter after a step whose length the gradient's size has no part in."""
    wide = _wide(gradient)
    largest = jnp.max(jnp.abs(wide), initial=0.0)
    usable = jnp.isfinite(largest) & (largest > 0)
    direction = wide / jnp.where(usable, largest, 1.0)
    direction /= jnp.sqrt(jnp.mean(direction**2) + 1e-30)
    size = jnp.maximum(jnp.sqrt(jnp.mean(_wide(param) ** 2)), _LEAST)
    step = jnp.where(usable, _RATE * size * direction, 0.0)
    return (_wide(param) - step).astype(param.dtype)


def _spreads(
    network: Network, trained: Sequence[int], values: Sequence[Array]
) -> Array:
    """How far the units of each weight are from each other, relative to its size."""
    found = []
    for leaf, value in zip(trained, values, strict=True):
        use = network.params[leaf].use
        units = use.out_axis if use is not None else ()
        number = 1
        for axis in units:
            number *= value.shape[axis]
        if number < 2:
            found.append(jnp.float32(jnp.nan))
            continue
        rows = jnp.moveaxis(_wide(value), units, range(len(units)))
        rows = rows.reshape(number, -1)
        found.append(jnp.max(jnp.abs(rows - rows[:1])) / jnp.max(jnp.abs(rows)))
    return jnp.stack(found)
