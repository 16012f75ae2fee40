"""Repeats a step of learning: with a progress bar, or as one compiled loop."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinit._progress import Bar

Array = jax.Array
Carry = TypeVar("Carry")
Step = Callable[[Carry, Any, Array], tuple[Carry, Array]]
"""``(carry, batch, key) -> (carry, loss)``"""


def repeat(
    step: Step[Carry],
    carry: Carry,
    count: int,
    batches: Iterable[Any],
    key: Array,
    *,
    label: str,
    progress: bool | None = None,
) -> Carry:
    """Applies ``step`` ``count`` times, to one batch after another.

    The step is compiled once. Where the values are not known yet, because the caller
    is being traced, the batches are stacked and the whole loop is one equation.

    Args:
      step: ``(carry, batch, key) -> (carry, loss)``.
      carry: what the first step gets.
      count: how many steps.
      batches: pytrees of arrays of the same shapes; begun again when they run out.
      key: the step of number ``n`` gets ``fold_in(key, n)``.
      label: what is going on, for the progress bar and in errors.
      progress: whether to show it; ``None`` on a terminal.

    Returns:
      What the last step leaves.

    Raises:
      FloatingPointError: if a loss is infinite or NaN. A traced loop cannot raise:
        what it returns is NaN then.
      ValueError: if there are no batches.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((carry, key))):
        return _traced(step, carry, count, list(_first(batches, count)), key)
    compiled = jax.jit(step)
    feed = _cycle(batches)
    with Bar(progress) as bar:
        bar.phase(label)
        for number in range(count):
            carry, loss = compiled(carry, next(feed), jax.random.fold_in(key, number))
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"{label}: the loss of step {number + 1} of {count} is {loss}. "
                    "Begin from weights on which it is finite, lower the learning "
                    "rate, or look for NaN and infinity in the data."
                )
            bar.count(number + 1, count, label)
    return carry


def minibatches(key: Array, data: Array, size: int) -> Array:
    """The rows of ``data`` in random order, as `(batches, size, ...)`; the rest left.

    Args:
      key: decides on the order.
      data: `(samples, ...)`.
      size: rows in each batch, at most ``samples``.

    Returns:
      The batches; which rows are left out changes with the key.
    """
    count = data.shape[0] // size
    chosen = jax.random.permutation(key, data.shape[0])[: count * size]
    return data[chosen].reshape(count, size, *data.shape[1:])


def _traced(
    step: Step[Carry], carry: Carry, count: int, batches: list[Any], key: Array
) -> Carry:
    stacked = batches[0]
    if len(batches) > 1:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    def body(number: Array, carry: Carry) -> Carry:
        batch = stacked
        if len(batches) > 1:
            place = lax.rem(number, len(batches))
            batch = jax.tree.map(lambda leaf: leaf[place], stacked)
        return step(carry, batch, jax.random.fold_in(key, number))[0]

    result: Carry = lax.fori_loop(0, count, body, carry)
    return result


def _cycle(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from _nonempty(batches)


def _first(batches: Iterable[Any], count: int) -> Iterator[Any]:
    """At most ``count`` of the batches, and at least one."""
    for number, batch in enumerate(_nonempty(batches), 1):
        yield batch
        if number >= count:
            return


def _nonempty(batches: Iterable[Any]) -> Iterator[Any]:
    empty = True
    for batch in batches:
        empty = False
        yield batch
    if empty:
        raise ValueError("`batches` must hold at least one batch, got none.")
