"""The user's batches as inputs of a network."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.roles.network import Network

Array = jax.Array
Batch: TypeAlias = tuple[list[Array], Any]
"""The model's array inputs, and the target."""

Loss: TypeAlias = Callable[[Any, Any], Array]
"""``(output, target) -> scalar``"""


def check_batches(batches: Any, who: str) -> None:
    """Raises a TypeError unless ``batches`` can be gone through again and again."""
    if isinstance(batches, Iterator) or not isinstance(batches, Iterable):
        raise TypeError(
            f"`batches` of {who} must be a list of pairs (inputs, target), or an "
            "object whose iterator can be made again, got "
            f"{type(batches).__name__}. Write list(batches)."
        )


def check_loss(loss: Any, who: str) -> None:
    """Raises a TypeError unless ``loss`` is a function."""
    if not callable(loss):
        raise TypeError(
            f"`loss` of {who} must be a function (output, target) -> scalar, "
            f"got {loss!r}."
        )


@dataclass(frozen=True)
class Batches:
    """Batches, each checked against what the network was traced with.

    Attributes:
      network: the network that they are fed to.
      given: what the user passed.
    """

    network: Network
    given: Iterable[Any]

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.given):
            yield self._checked(number, batch)

    def _checked(self, number: int, batch: Any) -> Batch:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"batch {number} must be a pair (inputs, target), got "
                f"{type(batch).__name__}."
            )
        inputs, target = batch
        arrays = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
        given = self.network.given
        if len(arrays) != len(given.shapes):
            raise ValueError(
                f"batch {number} holds {len(arrays)} input arrays, and the model was "
                f"called with {len(given.shapes)} ({', '.join(given.names)}). Give one "
                "for each, in this order."
            )
        return [
            _fitting(number, *which)
            for which in zip(arrays, given.names, given.shapes, strict=True)
        ], jax.tree.map(jnp.asarray, target)


@dataclass(frozen=True)
class Overlapping:
    """Each batch along with one that shares half of its samples.

    The second batch has the first half of the first one's samples; the other half
    are those of the batch after it.

    Attributes:
      batches: at least two.
    """

    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[tuple[Batch, Batch]]:
        rest = iter(self.batches)
        start = next(rest, None)
        before = start
        for batch in rest:
            assert before is not None
            yield before, _half_of_each(before, batch)
            before = batch
        if before is None or start is None or before is start:
            raise ValueError(
                "`batches` must hold at least 2 batches, got "
                f"{0 if start is None else 1}. The step is judged on other samples "
                "than it was computed from: split the batch in two."
            )
        yield before, _half_of_each(before, start)


def with_network(network: Network, loss: Loss) -> Callable[..., Array]:
    """The loss of a network's parameters, ``(params, batch, key, state) -> scalar``."""

    def of_params(
        params: list[Array], batch: Batch, key: Array, state: list[Array]
    ) -> Array:
        inputs, target = batch
        value = loss(network.forward(params, state, key, inputs), target)
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        if shape != () or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                "`loss` must return a real scalar, got "
                f"{dtype}{list(shape)}. Take the mean over the batch."
            )
        return value

    return of_params


def _fitting(number: int, value: Any, name: str, wanted: jax.ShapeDtypeStruct) -> Array:
    shape, dtype = np.shape(value), np.dtype(jnp.result_type(value))
    if shape != wanted.shape:
        raise ValueError(
            f"batch {number} has shape {list(shape)} for `{name}`, and the model was "
            f"traced with {list(wanted.shape)}. Pass an input of the batches' shape "
            "after the scheme, and drop a last batch that is smaller."
        )
    if not jnp.can_cast(dtype, wanted.dtype, casting="same_kind"):
        raise TypeError(
            f"batch {number} has dtype {dtype} for `{name}`, and the model was traced "
            f"with {wanted.dtype}. Convert it."
        )
    return jnp.asarray(value, wanted.dtype)


def _half_of_each(first: Batch, second: Batch) -> Batch:
    """The first half of one batch's samples and the second half of another's."""

    def join(a: Array, b: Array) -> Array:
        half = a.shape[0] // 2 if a.ndim else 0
        if a.shape != b.shape or not a.ndim:
            raise ValueError(
                "every array of a batch must have the samples along its first axis, "
                f"as many in each batch; got shapes {list(a.shape)} and "
                f"{list(b.shape)}."
            )
        return jnp.concatenate([a[:half], b[half:]])

    joined: Batch = jax.tree.map(join, first, second)
    return joined
