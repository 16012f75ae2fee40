"""Losses and accuracies of a model's output and a target."""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

Array = jax.Array
Loss: TypeAlias = Callable[[Any, Any], Array]
"""``(output, target) -> scalar``"""


def usual_loss(output: Any, target: Any) -> Array:
    """Cross entropy for classes, the mean squared error for numbers.

    Args:
      output: logits ``(..., classes)`` or an array like the target.
      target: integers ``(...)``, or floats of the output's shape.

    Returns:
      The mean over all entries of the target.

    Raises:
      ValueError: if the shapes allow neither.
    """
    output, target = _pair(output, target)
    if _are_classes(output, target):
        each = optax.softmax_cross_entropy_with_integer_labels(
            output.astype(jnp.promote_types(output.dtype, jnp.float32)), target
        )
        return jnp.asarray(each.mean())
    if output.shape != target.shape:
        raise ValueError(
            f"`loss` must be given for an output of shape {list(output.shape)} and a "
            f"target of {target.dtype}{list(target.shape)}. Without one, a target is "
            "integers (classes of the output's last axis) or floats of its shape."
        )
    return jnp.square(output - target).mean()


def accuracy(output: Any, target: Any) -> Array:
    """The share of classes that are the largest logit; NaN if these are no classes."""
    output, target = _pair(output, target)
    if not _are_classes(output, target):
        return jnp.full((), jnp.nan)
    hits: Array = (output.argmax(-1) == target).mean(dtype=jnp.float32)
    return hits


def scalar_loss(loss: Loss | None) -> Loss:
    """The loss, checked where it is traced.

    Raises:
      TypeError: if ``loss`` is no function of output and target; when called, if it
        returns no real scalar.
    """
    if loss is None:
        return usual_loss
    if not callable(loss):
        raise TypeError(
            f"`loss` must be a function (output, target) -> scalar, got {loss!r}."
        )

    def checked(output: Any, target: Any) -> Array:
        value = loss(output, target)
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        if shape != () or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"`loss` must return a real scalar, got {dtype}{list(shape)}. Take "
                "the mean over the batch."
            )
        return value

    return checked


def num_arguments(function: Callable[..., Any]) -> int:
    """How many positional arguments without a default a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in kinds and p.default is p.empty]
    return max(len(needed), 1)


def _pair(output: Any, target: Any) -> tuple[Array, Array]:
    leaves = jax.tree.leaves(output)
    if not leaves:
        raise ValueError("`loss` needs an output, and the model returns none.")
    return jnp.asarray(leaves[0]), jnp.asarray(target)


def _are_classes(output: Array, target: Array) -> bool:
    return (
        jnp.issubdtype(target.dtype, jnp.integer) and output.shape[:-1] == target.shape
    )
