"""A model's arguments: which of them are arrays, and what is fixed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program.primitives import is_key


class Arguments(NamedTuple):
    """A model's arguments, the arrays apart from what is fixed.

    Attributes:
      inputs: the arrays among them, or ``jax.ShapeDtypeStruct``, still to be drawn.
      names: what to call each of them (``args[0]``, ``kwargs['mask']``).
      positions: which leaves they are.
      leaves: all leaves; an array's place holds its shape.
      structure: of positional and keyword arguments.
    """

    inputs: tuple[Any, ...]
    names: tuple[str, ...]
    positions: tuple[int, ...]
    leaves: tuple[Any, ...]
    structure: Any

    @property
    def shapes(self) -> list[jax.ShapeDtypeStruct]:
        return [self.leaves[position] for position in self.positions]

    def call(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with ``values`` for the arrays."""
        filled = list(self.leaves)
        for position, value in zip(self.positions, values, strict=True):
            filled[position] = value
        args, kwargs = jax.tree.unflatten(self.structure, filled)
        return args, dict(kwargs)


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Sorts a model's arguments: arrays are inputs, everything else is fixed."""
    paths, structure = jax.tree_util.tree_flatten_with_path((args, kwargs))
    inputs, names, positions, leaves = [], [], [], []
    for position, (path, leaf) in enumerate(paths):
        if _is_array(leaf):
            inputs.append(leaf)
            root = "args" if path[0].idx == 0 else "kwargs"
            names.append(root + jax.tree_util.keystr(path[1:]))
            positions.append(position)
            leaf = jax.ShapeDtypeStruct(
                np.shape(leaf), _dtype(leaf), sharding=_typed_sharding(leaf)
            )
        leaves.append(leaf)
    return Arguments(
        tuple(inputs), tuple(names), tuple(positions), tuple(leaves), structure
    )


def streams_and_kwargs(
    rngs: Any, kwargs: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Tells names of random streams from an argument of the model's called ``rngs``.

    Args:
      rngs: what the user passed as ``rngs=``: one name, several, or anything else,
        which is then the model's own argument.
      kwargs: the model's other keyword arguments.

    Returns:
      The names of the streams, and all keyword arguments of the model.
    """
    if isinstance(rngs, str):
        return (rngs,), kwargs
    if isinstance(rngs, Sequence) and all(isinstance(name, str) for name in rngs):
        return tuple(rngs), kwargs
    return (), {**kwargs, "rngs": rngs}


def model_arguments(
    kwargs: Mapping[str, Any], model_kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """All keyword arguments of the model.

    Raises:
      TypeError: if ``model_kwargs`` is no mapping from names.
      ValueError: if a name is in both.
    """
    if model_kwargs is None:
        return dict(kwargs)
    if not isinstance(model_kwargs, Mapping) or not all(
        isinstance(name, str) for name in model_kwargs
    ):
        raise TypeError(
            "`model_kwargs` must map names of the model's keyword arguments to values, "
            f"as in {{'train': True}}, got {model_kwargs!r:.80}."
        )
    twice = sorted(kwargs.keys() & model_kwargs.keys())
    if twice:
        raise ValueError(
            f"`model_kwargs` must not repeat a keyword argument, got {twice[0]!r} in "
            "both. Give it once."
        )
    return {**kwargs, **model_kwargs}


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _typed_sharding(leaf: Any) -> Any:
    """The sharding of an array where it is part of the array's type."""
    if not isinstance(leaf, jax.Array):
        return None
    sharding = jax.typeof(leaf).sharding
    explicit = jax.sharding.AxisType.Explicit in sharding.mesh.axis_types
    return sharding if explicit else None


def _dtype(leaf: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)


def zeros_like(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """An array in place of a shape: zeros, or keys."""
    if not is_key(shape):
        return jnp.zeros(shape.shape, shape.dtype)
    data = jax.eval_shape(jax.random.key_data, shape)
    zeros = jnp.zeros(data.shape, data.dtype)
    keys: jax.Array = jax.random.wrap_key_data(zeros, impl=key_impl(shape))
    return keys


def key_impl(keys: Any) -> Any:
    """What kind of keys an array, or a shape in place of one, holds."""
    found: list[Any] = []  # jax tells it of arrays and of what it traces
    jax.eval_shape(lambda x: found.append(jax.random.key_impl(x)), keys)
    return found[0]
