"""Weights that are given, trained or loaded, in place of those that a seed draws."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.draw.own_init import Draw
from jaxinit.draw.repeats import Repeats
from jaxinit.models.model import path_parts
from jaxinit.models.trace import Traced

Array = jax.Array
Named = dict[tuple[str, ...], Any]


class Given:
    """A draw that returns the sets of weights that it was given, by their number.

    Args:
      sets: the leaves of parameters and state, one list for each set.
    """

    def __init__(self, sets: Sequence[list[Array]]) -> None:
        self.sets = list(sets)

    def __call__(self, key: Array, *inputs: Any) -> list[Array]:
        del key, inputs
        return self.sets[0]

    def compile(self, key: Any, *inputs: Any) -> None:
        del key, inputs

    def repeats(self, inputs: Sequence[Any]) -> Repeats:
        del inputs
        return "no"

    def batched(self, keys: Array, *inputs: Any) -> list[Array]:
        del inputs
        return self.several(range(len(keys)))

    def several(self, numbers: Sequence[int]) -> list[Array]:
        """The leaves of several sets, each with a leading axis over them."""
        return [
            jnp.stack(leaves)
            for leaves in zip(*(self.sets[i] for i in numbers), strict=True)
        ]


def drawn(draw: Draw, seed: int, key: Array, inputs: Sequence[Any]) -> list[Array]:
    """The weights of a seed: those of its number, or those drawn from its key."""
    return draw.sets[seed] if isinstance(draw, Given) else draw(key, *inputs)


def all_drawn(
    draw: Draw, seeds: Sequence[int], keys: Array, inputs: Sequence[Any]
) -> list[Array]:
    """The same for several seeds, with a leading axis over them."""
    if isinstance(draw, Given):
        return draw.several(seeds)
    return draw.batched(keys, *inputs)


def given(traced: Traced, variables: Any) -> Given:
    """Matches variables to a model.

    Args:
      traced: the model.
      variables: what its init returns; a list of such; or one of them whose leaves
        all have one more axis in front.

    Raises:
      TypeError: if the model holds its weights already.
      ValueError: if they are not those of the model, naming the first that is wrong.
    """
    if not traced.draws or _is_nnx(traced):
        raise TypeError(
            f"`variables` is for linen modules and jaxinit.Functional, got "
            f"{traced.name}, an nnx model. Pass the nnx module that holds the weights "
            "as the model itself."
        )
    expected = _expected(traced)
    one = _named(variables)
    if one.keys() != expected.keys() and isinstance(variables, list | tuple):
        if not variables:
            raise ValueError("`variables` must hold at least one set, got none.")
        return Given(
            [
                _leaves(_named(item), expected, f"variables[{i}]")
                for i, item in enumerate(variables)
            ]
        )
    count = _stacked(one, expected)
    if count is None:
        return Given([_leaves(one, expected, "variables")])
    return Given(
        [
            _leaves(
                {path: leaf[i] for path, leaf in one.items()}, expected, "variables"
            )
            for i in range(count)
        ]
    )


class _Slot:
    """In a tree of variables, the place of a leaf of the model's programs."""

    def __init__(self, number: int, shape: Any) -> None:
        self.number, self.shape = number, shape


def _expected(traced: Traced) -> Named:
    """The slots of a model's variables, by path."""
    avals = [v.aval for v in traced.apply.jaxpr.invars]
    count = len(traced.params) + traced.num_state
    slots = [_Slot(i, avals[i]) for i in range(count)]
    tree = traced.assemble(traced.variables(slots))
    return {
        path: leaf for path, leaf in _named(tree).items() if isinstance(leaf, _Slot)
    }


def _is_nnx(traced: Traced) -> bool:
    """Whether what the model's init returns is an nnx module."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:
        return False
    leaves = [jnp.zeros(())] * (len(traced.params) + traced.num_state)
    return isinstance(traced.assemble(traced.variables(leaves)), nnx.Module)


def _named(tree: Any) -> Named:
    """The arrays of a tree by path, boxes of partitioned parameters left out."""
    found: Named = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        parts = path_parts(path)
        boxed = isinstance(path[-1], jax.tree_util.GetAttrKey) if path else False
        if boxed and parts[-1] == "value" and isinstance(tree, Mapping):
            parts = parts[:-1]
        if isinstance(leaf, _Slot | jax.Array | np.ndarray):
            found[parts] = leaf
    return found


def _stacked(one: Named, expected: Named) -> int | None:
    """The size of the axis that all leaves have in front of the model's, if so."""
    counts = set()
    for path, slot in expected.items():
        if path not in one or np.ndim(one[path]) != len(slot.shape.shape) + 1:
            return None
        counts.add(np.shape(one[path])[0])
    return counts.pop() if len(counts) == 1 else None


def _leaves(one: Named, expected: Named, place: str) -> list[Array]:
    missing = [path for path in expected if path not in one]
    foreign = [path for path in one if path not in expected]
    if missing or foreign:
        raise ValueError(
            f"`{place}` must be the variables of the model, as its init returns them: "
            + "; ".join(
                f"{what} {', '.join('/'.join(p) for p in paths[:3])}"
                for what, paths in (("missing", missing), ("unknown", foreign))
                if paths
            )
            + "."
        )
    found: dict[int, Array] = {}
    for path, slot in expected.items():
        value, aval = one[path], slot.shape
        name = f"{place}[{'/'.join(path)}]"
        if tuple(value.shape) != tuple(aval.shape):
            raise ValueError(
                f"`{name}` must have shape {tuple(aval.shape)}, got "
                f"{tuple(value.shape)}."
            )
        kinds = [jnp.issubdtype(x.dtype, jnp.inexact) for x in (value, aval)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"`{name}` must be {aval.dtype}, got {value.dtype}.")
        is_key = jnp.issubdtype(aval.dtype, jax.dtypes.extended)
        found[slot.number] = value if is_key else jnp.asarray(value, aval.dtype)
    return [found[i] for i in range(len(found))]
