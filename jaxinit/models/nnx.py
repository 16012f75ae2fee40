"""flax.nnx modules, from a factory or as an instance."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxinit.models.model import Model, Variables, unboxed_path


def adapt_factory(factory: Callable[..., Any]) -> Model:
    """A callable from ``nnx.Rngs`` to a module (or the module's class) as a model."""
    _check_factory(factory)
    box: dict[str, Any] = {}

    def init(
        key: jax.Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variables:
        del args, kwargs
        module = _make(factory, key)
        if not isinstance(module, nnx.Module):
            raise TypeError(
                "`model` must be a Flax module, an nnx factory or jaxinit.Functional; "
                f"got a callable that, given nnx.Rngs, returns "
                f"{type(module).__name__}. Return an nnx.Module, or pass "
                "jaxinit.Functional(init, apply)."
            )
        box["graph"], variables = split(module)
        box["name"] = type(module).__name__
        return variables

    name = getattr(factory, "__name__", "<lambda>")  # a partial has none either
    nameless = name == "<lambda>"
    return Model(
        "nnx model" if nameless else name,
        init,
        lambda *call: _apply(box["graph"], *call),
        lambda variables: merge(box["graph"], variables),
        True,
        unboxed_path,
        lambda: _first_inputs(
            nnx.eval_shape(lambda: _make(factory, jax.random.key(0)))
        ),
        (lambda: str(box["name"])) if nameless else None,
    )


def adapt_instance(module: nnx.Module) -> Model:
    """An nnx module with the weights that it holds. The module is never written to."""
    graph, variables = split(module)

    def init(
        key: jax.Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variables:
        del key, args, kwargs
        return variables

    return Model(
        type(module).__name__,
        init,
        lambda *call: _apply(graph, *call),
        lambda variables: merge(graph, variables),
        False,
        unboxed_path,
        lambda: _first_inputs(module),
    )


def split(module: nnx.Module) -> tuple[Any, Variables]:
    """A module's structure, and the arrays that it holds."""
    graph, *states = nnx.split(module, nnx.Param, ...)
    return graph, Variables(*states)


def merge(graph: Any, variables: Variables) -> Any:
    """A new module that holds ``variables``."""
    return nnx.merge(graph, variables.params, variables.state)


def update(module: Any, state: Any) -> None:
    """Writes arrays that are no parameters into a module."""
    nnx.update(module, state)


def _make(factory: Callable[..., Any], key: jax.Array) -> Any:
    rngs = nnx.Rngs(key)
    return factory(rngs=rngs) if isinstance(factory, type) else factory(rngs)


def _check_factory(factory: Callable[..., Any]) -> None:
    """Raises for what cannot be called with random streams alone."""
    name = getattr(factory, "__name__", type(factory).__name__)
    try:
        if isinstance(factory, type):
            # A metaclass like nnx's hides what the constructor takes.
            classes = factory.__mro__
            own = next(vars(c)["__init__"] for c in classes if "__init__" in vars(c))
            inspect.signature(own).bind(None, rngs=None)
        else:
            inspect.signature(factory).bind(None)
    except ValueError:  # a callable that has no signature
        return
    except TypeError as error:
        what = "class" if isinstance(factory, type) else "callable"
        hint = (
            f"Give the rest yourself: lambda rngs: {name}(..., rngs=rngs)."
            if isinstance(factory, type)
            else "Write lambda rngs: Net(rngs=rngs), or call it and pass what it makes."
        )
        raise TypeError(
            f"`model` must be a module, or a callable from nnx.Rngs alone to one, got "
            f"the {what} {name}, which does not take that: {error}. {hint}"
        ) from error


def _first_inputs(module: nnx.Module) -> list[jax.ShapeDtypeStruct]:
    """What the first layers that say their input's size would take."""
    found: list[jax.ShapeDtypeStruct] = []
    for layer in _layers(module):
        if isinstance(layer, nnx.Embed):
            found.append(jax.ShapeDtypeStruct((8, 64), "int32"))
        elif isinstance(layer, nnx.Conv):
            spatial = (32,) * len(layer.kernel_size)
            found.append(
                jax.ShapeDtypeStruct((32, *spatial, layer.in_features), "float32")
            )
        elif isinstance(layer, nnx.Linear):
            found.append(jax.ShapeDtypeStruct((32, layer.in_features), "float32"))
            found.append(jax.ShapeDtypeStruct((32, 16, layer.in_features), "float32"))
    return list(dict.fromkeys(found))[:3]


def _layers(module: Any) -> list[Any]:
    """The modules inside, in the order in which they were assigned."""
    if isinstance(module, nnx.Embed | nnx.Conv | nnx.Linear):
        return [module]
    children: list[Any] = []
    if isinstance(module, nnx.Module):
        children = list(vars(module).values())
    elif isinstance(module, list | tuple):
        children = list(module)
    elif isinstance(module, dict):
        children = list(module.values())
    return [layer for child in children for layer in _layers(child)]


def _apply(
    graph: Any,
    variables: Variables,
    key: jax.Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    del key  # random streams are part of the module's state
    module = merge(graph, variables)
    method = kwargs.pop("method", "__call__") if kwargs else "__call__"
    if callable(method):
        return method(module, *args, **kwargs)
    return getattr(module, method)(*args, **kwargs)
