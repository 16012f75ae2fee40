"""Sizes of activations and of their changes while a model takes a few steps."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.program.plan import Hooks, Tap
from jaxinit.program.run import replay
from jaxinit.train.sites import Watched
from jaxinit.train.training import Training

Array = jax.Array


class Sizes(NamedTuple):
    """Sizes of each watched value, then of the output, at each step.

    Attributes:
      activations: ``(steps + 1, values, 2)``: mean absolute value, root mean square.
      updates: likewise of the change since step 0.
      moved: ``(steps + 1, params)``, the root mean square of each parameter's change.
      losses: ``(steps + 1,)``.
    """

    activations: Array
    updates: Array
    moved: Array
    losses: Array


def measured(
    training: Training, watched: Watched, steps: int, loss_scale: float
) -> Callable[..., Sizes]:
    """The function ``(variables, key, batch) -> Sizes`` of one seed, to be compiled.

    One pass is written into the program, and run in a loop: it measures and trains.

    Args:
      training: the model, its loss and its optimizer; the rate is 1.
      watched: what is looked at.
      steps: how many steps are taken.
      loss_scale: what the loss is multiplied by.
    """
    network = training.network
    traced, taps = network.traced, list(watched.names)
    hooks = Hooks(_record, _passes, _later)
    transform = training.optimizer(1.0)

    def forward(params: list[Array], state: list[Array], key: Array, batch: Any) -> Any:
        inputs, target = batch
        values = [*params, *state, key, *inputs]
        outputs, seen = replay(traced.forward, values, watched.plan, hooks, {})
        loss = training.loss(traced.output(outputs), target) * loss_scale
        ends = [x for x in outputs if jnp.issubdtype(x.dtype, jnp.floating)]
        kept = [*(seen[tap] for tap in taps), *ends[:1]]
        return loss, [lax.stop_gradient(x).astype(jnp.float32) for x in kept]

    def run(variables: Sequence[Array], key: Array, batch: Any) -> Sizes:
        first = len(network.params)
        start, state = list(variables[:first]), list(variables[first:])
        shapes = jax.eval_shape(forward, start, state, key, batch)[1]
        empty = [jnp.zeros(s.shape, s.dtype) for s in shapes]

        def step(carry: Any, number: Array) -> Any:
            params, optimizer, before = carry
            (loss, now), gradients = jax.value_and_grad(forward, has_aux=True)(
                params, state, key, batch
            )
            before = [jnp.where(number == 0, n, b) for n, b in _zip(now, before)]
            sizes = Sizes(
                jnp.stack([_size(x) for x in now]),
                jnp.stack([_size(n - b) for n, b in _zip(now, before)]),
                jnp.stack([_size(p - s)[1] for p, s in _zip(params, start)]),
                loss / loss_scale,
            )
            updates, new = transform.update(
                training.tree(gradients), optimizer, training.tree(params)
            )
            moved = jax.tree.leaves(updates)
            params = [(p + u).astype(p.dtype) for p, u in _zip(params, moved)]
            return (params, new, before), sizes

        optimizer = transform.init(training.tree(start))
        carry = (start, optimizer, empty)
        return lax.scan(step, carry, jnp.arange(steps + 1))[1]  # type: ignore[no-any-return]

    return run


def _size(x: Array) -> Array:
    magnitude = jnp.abs(x).astype(jnp.float32)
    return jnp.stack([magnitude.mean(), jnp.sqrt(jnp.square(magnitude).mean())])


def _zip(a: Sequence[Array], b: Sequence[Array]) -> Any:
    return zip(a, b, strict=True)


def _record(tap: Tap, value: Array) -> Array:
    del tap
    return value


def _passes(tap: Tap, value: Array, probe: Array | None) -> Array:
    del tap, probe
    return value


def _later(earlier: Array, later: Array) -> Array:
    del earlier
    return later
