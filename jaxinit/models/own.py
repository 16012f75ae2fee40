"""A model's own init as a function of a key, arguments apart from what it is."""

from collections.abc import Callable
from typing import Any

import jax

from jaxinit.models.functional import Functional
from jaxinit.models.library import is_module, is_module_class

Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Restore = Callable[[Any], Any]
Keeps = Callable[[Any], bool]


def own_init(model: Any) -> tuple[Call, Restore, Keeps]:
    """How a model is initialized by its library.

    Args:
      model: a linen module, an nnx class or factory, or a ``Functional``.

    Returns:
      ``call(key, args, kwargs)`` gives a pytree, from which ``restore`` makes what the
      user's own init returns; ``keeps(leaf)`` says which of its leaves are no arrays
      and pass through a trace as they are.

    Raises:
      TypeError: if ``model`` is none of these.
    """
    if isinstance(model, Functional):
        return (
            lambda key, args, kwargs: model.init(key, *args, **kwargs),
            lambda tree: tree,
            lambda leaf: not isinstance(leaf, jax.Array),
        )
    if is_module(model, "linen"):
        return (
            lambda key, args, kwargs: model.init(key, *args, **kwargs),
            lambda tree: tree,
            lambda leaf: False,
        )
    made = is_module(model, "nnx") or is_module_class(model, "linen")
    if callable(model) and not made:
        return _factory(model)
    raise TypeError(
        "`model` must be a flax.linen module, an nnx class or a callable from "
        "nnx.Rngs to an nnx module, or jaxinit.Functional(init, apply); got "
        f"{type(model).__name__}. An nnx module holds its weights already."
    )


def _factory(factory: Callable[..., Any]) -> tuple[Call, Restore, Keeps]:
    """An nnx module's arrays, and apart from them what it is."""
    from flax import nnx

    box: dict[str, Any] = {}

    def call(key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rngs = nnx.Rngs(key)
        if isinstance(factory, type):
            module = factory(*args, rngs=rngs, **kwargs)
        else:
            module = factory(rngs, *args, **kwargs)
        if not isinstance(module, nnx.Module):
            raise TypeError(
                "`model` must return an nnx.Module when it is called with nnx.Rngs, "
                f"got {type(module).__name__}."
            )
        box["graph"], state = nnx.split(module)
        return state

    return call, lambda state: nnx.merge(box["graph"], state), lambda leaf: False
