"""What the analyzer needs of a model, whatever library it was written with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax


class Variables(NamedTuple):
    """What a model's init returns.

    Attributes:
      params: a pytree of the arrays that training changes.
      state: a pytree of all other arrays: running statistics, caches, random streams.
    """

    params: Any
    state: Any


@dataclass(frozen=True)
class Model:
    """A model as two pure functions.

    Attributes:
      name: for the report.
      init: ``(key, args, kwargs) -> Variables``.
      apply: ``(variables, key, args, kwargs) -> output``, any pytree.
      assemble: turns variables into what the user's own init returns; to be called
        after ``init``.
      draws: whether ``init`` draws fresh weights; ``False`` for a model that
        already holds its weights.
      param_path: turns the key path of a leaf of ``params`` into its name's parts.
      infer_inputs: inputs that the model may take, the likeliest first.
      made: the name of the class that ``init`` made, where nothing else tells it.
      keywords: whether its layers take initializers as keyword arguments.
    """

    name: str
    init: Callable[[jax.Array, tuple[Any, ...], dict[str, Any]], Variables]
    apply: Callable[[Variables, jax.Array, tuple[Any, ...], dict[str, Any]], Any]
    assemble: Callable[[Variables], Any]
    draws: bool
    param_path: Callable[[tuple[Any, ...]], tuple[str, ...]]
    infer_inputs: Callable[[], list[jax.ShapeDtypeStruct]] | None = None
    made: Callable[[], str] | None = None
    keywords: bool = True


def path_parts(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The parts of a key path as plain strings: keys, indices and attribute names."""
    parts = []
    for entry in path:
        for attribute in ("key", "name", "idx"):
            if hasattr(entry, attribute):
                parts.append(str(getattr(entry, attribute)))
                break
        else:
            parts.append(str(entry))
    return tuple(parts)


def unboxed_path(path: tuple[Any, ...]) -> tuple[str, ...]:
    """`path_parts` without the ``.value`` of a box, or variable, around the array."""
    parts = path_parts(path)
    boxed = parts and isinstance(path[-1], jax.tree_util.GetAttrKey)
    return parts[:-1] if boxed else parts
