"""A few normalized gradient steps: what initialization alone cannot tell.

A gradient that is exactly zero at the first step may be there at the second (zero
heads, gates that start closed), or never; units that are equal may part, or never.
Where the first gradient reaches every parameter and no units are equal, steps tell
nothing more, and none are taken; nor are any once what was waited for has come.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program.plan import NO_HOOKS, Plan
from jaxinit.program.repeats import Repeat, rolled
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.verdict.steps import EQUAL

Array = jax.Array

# Three updates open three closed gates in a row; the gradient behind them shows what
# stays closed.
NUM_STEPS = 4
# Each step changes a parameter by a tenth of its rms, or by 0.01 where that is less.
_RATE, _LEAST = 0.1, 0.1
# One more gradient, of so many times the loss: what it finds where the others were
# zero had been too small for the dtype.
_MAGNIFIED = 2.0**24


class Steps(NamedTuple):
    """What the steps did, for each floating-point parameter, each `(params,)`.

    Attributes:
      moved: whether any entry of the gradient is not zero, at any step.
      magnified: the same for a much larger loss, where the dtype is narrow and
        something that was waited for has not come.
      after: how far units are apart after the steps, as ``spreads`` says it.
      number: how many were taken.
      all_come: whether all has come that was waited for.
    """

    moved: np.ndarray
    magnified: np.ndarray
    after: np.ndarray
    number: int
    all_come: bool


class Awaited(NamedTuple):
    """What the steps are taken for, each `(params,)`.

    Attributes:
      zero: parameters whose first gradient is exactly zero, and might not be.
      equal: parameters whose units are equal.
    """

    zero: np.ndarray
    equal: np.ndarray

    def has_come(self, moved: np.ndarray, apart: Callable[[], Any]) -> bool:
        """Whether more steps, and other seeds, would tell nothing more.

        Args:
          moved: whether a gradient has come, `(params,)`.
          apart: tells how far units are apart now.
        """
        if not moved[self.zero].all() or not self.equal.any():
            return bool(moved[self.zero].all())
        return bool((np.asarray(apart())[self.equal] >= EQUAL).all())


class TakeSteps(Protocol):
    def __call__(
        self,
        variables: Sequence[Array],
        key: Array,
        inputs: Sequence[Array],
        awaited: Awaited,
    ) -> Steps: ...


def take_steps(
    network: Network,
    loss: Callable[[Any], Array] | None,
    repeats: Sequence[Repeat] = (),
    options: dict[str, Any] | None = None,
) -> TakeSteps:
    """The function ``(variables, key, inputs, awaited) -> Steps`` of one seed.

    It is not for ``jit``: a step is compiled once and called for each. In one loop of
    one program convolutions would be slow on CPU (``benchmarks/compiler.py``).

    Args:
      network: the model, read.
      loss: the user's loss, or ``None`` for random projections of the output.
      repeats: blocks of the model that are run as a loop.
      options: for the compiler.
    """
    trained = trained_leaves(network)
    gradient = _gradient(network, loss, trained, repeats)

    def step(variables: list[Array], key: Array, inputs: Sequence[Array]) -> Any:
        gradients = gradient(variables, key, inputs, jnp.float32(1))
        moved = list(variables)
        for leaf, slope in zip(trained, gradients, strict=True):
            moved[leaf] = _moved(variables[leaf], slope)
        return moved, _not_zero(gradients)

    def magnify(variables: list[Array], key: Array, inputs: Sequence[Array]) -> Array:
        return _not_zero(gradient(variables, key, inputs, jnp.float32(_MAGNIFIED)))

    step, magnify = (
        jax.jit(part, compiler_options=options) for part in (step, magnify)
    )

    def run(
        variables: Sequence[Array],
        key: Array,
        inputs: Sequence[Array],
        awaited: Awaited,
    ) -> Steps:
        last, moved = list(variables), np.zeros(len(trained), bool)
        number, come = 0, False
        for step_key in jax.random.split(key, NUM_STEPS):
            last, new = step(last, step_key, inputs)
            number, moved = number + 1, moved | np.asarray(new)
            come = awaited.has_come(moved, partial(spreads, network, last))
            if come:
                break
        magnified = np.zeros(len(trained), bool)
        if _is_narrow(network) and not come:
            magnified = np.asarray(magnify(list(variables), key, inputs))
        return Steps(moved, magnified, spreads(network, last), number, come)

    return run


def _gradient(
    network: Network,
    loss: Callable[[Any], Array] | None,
    trained: Sequence[int],
    repeats: Sequence[Repeat],
) -> Callable[[Sequence[Array], Array, Sequence[Array], Array], list[Array]]:
    """``(variables, key, inputs, scale)`` to the gradients of the trained leaves."""
    traced = network.traced

    def gradient(
        variables: Sequence[Array], key: Array, inputs: Sequence[Array], scale: Array
    ) -> list[Array]:
        model_key, probe_key = jax.random.split(key)
        program = rolled(traced.forward, repeats)

        def objective(moving: list[Array]) -> Array:
            leaves = list(variables)
            for leaf, value in zip(trained, moving, strict=True):
                leaves[leaf] = value
            values = [*leaves, model_key, *inputs]
            outputs, _ = replay(program, values, Plan(), NO_HOOKS, {})
            if loss is not None:
                return loss(traced.output(outputs)) * scale
            return _projected(outputs, probe_key) * scale

        found: list[Array] = jax.grad(objective)([variables[leaf] for leaf in trained])
        return found

    return gradient


def trained_leaves(network: Network) -> list[int]:
    """The parameters that a gradient can move: those of floating point."""
    return [p.leaf for p in network.params if jnp.issubdtype(p.dtype, jnp.floating)]


def _is_narrow(network: Network) -> bool:
    narrow = ("float16", "float8")
    return any(event.dtype.startswith(narrow) for event in network.sites.events)


def _projected(outputs: Sequence[Array], key: Array) -> Array:
    """A random projection of all floating-point outputs."""
    total: Array = jnp.zeros((), jnp.float32)
    for number, out in enumerate(outputs):
        if jnp.issubdtype(out.dtype, jnp.inexact):
            probe = jax.random.normal(jax.random.fold_in(key, number), out.shape)
            total += jnp.real(out * probe.astype(out.dtype)).astype(jnp.float32).sum()
    return total


def _not_zero(values: Sequence[Array]) -> Array:
    return jnp.stack([(value != 0).any() for value in values])


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


def spreads(network: Network, variables: Sequence[Array]) -> np.ndarray:
    """How far the units of each trained weight are apart, `(params,)`.

    The largest difference between two units over the largest entry; NaN where a
    parameter has no units, or is zero throughout. There is a program for each shape,
    so that models of many layers cost the compiler no more.
    """
    found: list[Any] = []
    for leaf in trained_leaves(network):
        value, use = variables[leaf], network.params[leaf].use
        units = tuple(use.out_axis) if use is not None else ()
        several = math.prod(value.shape[axis] for axis in units) > 1
        found.append(_spread(value, units) if several else np.nan)
    return np.array(jax.device_get(found), np.float32)


@partial(jax.jit, static_argnums=1)
def _spread(value: Array, units: tuple[int, ...]) -> Array:
    number = math.prod(value.shape[axis] for axis in units)
    rows = jnp.moveaxis(_wide(value), units, range(len(units)))
    rows = rows.reshape(number, -1)
    return jnp.max(jnp.abs(rows - rows[:1])) / jnp.max(jnp.abs(rows))
