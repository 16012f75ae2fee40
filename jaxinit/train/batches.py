"""Batches by their number, from arrays, an iterator or a function."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

Batch = tuple[tuple[Any, ...], Any]
"""The model's array inputs, and the target."""


class DataRanOut(Exception):
    """There are fewer batches than steps.

    Args:
      number: how many there are.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"the data ran out after {number} batches")
        self.number = number


class Source(Protocol):
    """Gives the batch of a step; the same one whenever it is asked."""

    def __call__(self, step: int, /) -> Batch: ...


class _Called:
    """A user's function of the step."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self._function = function

    def __call__(self, step: int) -> Batch:
        return checked(self._function(step), step)


def as_source(data: Any, batch_size: int, seed: int) -> Source:
    """The user's data as a source of batches.

    Args:
      data: a tuple ``(inputs, target)`` of arrays over samples, of which batches are
        drawn without replacement, epoch by epoch; a function from a step's number to
        a batch; or an iterable of batches. A batch is a pair ``(inputs, target)``,
        with a tuple of arrays for a model of several inputs.
      batch_size: samples in a batch that is drawn from arrays.
      seed: seeds their order.

    Returns:
      The source.

    Raises:
      TypeError: if ``data`` is none of these.
      ValueError: if arrays have different numbers of samples, or too few.
    """
    if isinstance(data, tuple) and len(data) == 2 and _are_arrays(data):
        return _from_arrays(data, batch_size, seed)
    if callable(data):
        return _Called(data)
    if isinstance(data, Iterable) and not isinstance(data, str | dict):
        return _Remembered(iter(data))
    raise TypeError(
        "`data` must be a tuple (inputs, target) of arrays, an iterable of such "
        "batches, or a function from a step's number to a batch, got "
        f"{type(data).__name__}."
    )


def checked(batch: Any, step: int) -> Batch:
    """The batch, its inputs as a tuple.

    Raises:
      TypeError: if it is no pair.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"batch {step} of `data` must be a pair (inputs, target), got "
            f"{type(batch).__name__}."
        )
    inputs, target = batch
    arrays = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    return jax.tree.map(np.asarray, (arrays, target))  # type: ignore[no-any-return]


def stacked(source: Source, steps: range, like: Batch) -> Batch:
    """The batches of several steps, with a leading axis over them.

    Raises:
      DataRanOut: if there are fewer.
      ValueError: if a batch has not the shapes of ``like``, the first one.
    """
    found = [source(step) for step in steps]
    wanted = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(like)]
    for step, batch in zip(steps, found, strict=True):
        got = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(batch)]
        if got != wanted:
            raise ValueError(
                f"batch {step} of `data` has arrays {_said(got)}, and the first one "
                f"{_said(wanted)}. Drop a last batch that is smaller."
            )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)  # type: ignore[no-any-return]


class _Remembered:
    """An iterator whose batches are kept, since each run asks for them again."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self._kept: list[Batch] = []

    def __call__(self, step: int) -> Batch:
        while len(self._kept) <= step:
            try:
                batch = next(self._batches)
            except StopIteration:
                raise DataRanOut(len(self._kept)) from None
            self._kept.append(checked(batch, len(self._kept)))
        return self._kept[step]


def _from_arrays(
    data: tuple[Any, Any], batch_size: int, seed: int
) -> Callable[[int], Batch]:
    arrays = checked(data, 0)
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(arrays)}
    if len(sizes) != 1:
        raise ValueError(
            "`data` must have the samples along the first axis of each array, as "
            f"many in each, got {sorted(sizes)} of them."
        )
    (samples,) = sizes
    if not 1 <= batch_size <= samples:
        raise ValueError(
            f"`batch_size` must be between 1 and the {samples} samples of `data`, got "
            f"{batch_size}."
        )
    per_epoch = samples // batch_size

    def batch(step: int) -> Batch:
        epoch, number = divmod(step, per_epoch)
        order = np.random.default_rng((seed, epoch)).permutation(samples)
        chosen = order[number * batch_size : (number + 1) * batch_size]
        return jax.tree.map(lambda leaf: leaf[chosen], arrays)  # type: ignore[no-any-return]

    return batch


def _are_arrays(data: tuple[Any, ...]) -> bool:
    leaves = jax.tree.leaves(data)
    return bool(leaves) and all(hasattr(leaf, "dtype") for leaf in leaves)


def _said(kinds: list[Any]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in kinds)
