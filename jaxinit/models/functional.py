"""Models given as a pair of functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.models.model import Model, Variables, path_parts


@dataclass(frozen=True)
class Functional:
    """Any model, as an init and an apply function.

    Floating-point JAX arrays among the variables are its parameters, unless they are
    state. State are other JAX arrays, those in an ``equinox.nn.State``, those of the
    second of two parts ``(params, state)`` that ``apply`` returns anew, and whatever
    ``trained`` leaves out. Everything else (functions, sizes, NumPy arrays) is passed
    along as it is.

    Attributes:
      init: ``init(key, *args, **kwargs) -> variables``, any pytree.
      apply: ``apply(variables, *args, **kwargs) -> output``, any pytree.
      key_argument: if ``apply`` draws random numbers, the name of the keyword
        argument under which it takes its key.
      name: for the report.
      trained: takes the variables and returns the part that training changes, any
        pytree of their leaves; it is called with a number in place of every leaf.

    Examples:
      Equinox (a module is a pytree; one sample at a time, so ``vmap``)::

        Functional(
            lambda key, x: eqx.nn.MLP(8, 2, 64, 3, key=key),
            lambda model, x: jax.vmap(model)(x),
        )

      Haiku::

        forward = hk.transform(lambda x: hk.nets.MLP([64, 2])(x))
        Functional(forward.init, lambda params, x: forward.apply(params, None, x))

      Haiku with state, of which only the output is kept::

        forward = hk.transform_with_state(net)
        Functional(
            forward.init,
            lambda variables, x: forward.apply(*variables, None, x)[0],
            trained=lambda variables: variables[0],
        )
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    key_argument: str | None = None
    name: str = "functional model"
    trained: Callable[[Any], Any] | None = None


def adapt(functional: Functional) -> Model:
    """A pair of functions as a model."""
    box: dict[str, Any] = {}

    def init(
        key: jax.Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variables:
        variables = functional.init(key, *args, **kwargs)
        state = state_leaves(functional, variables, args, kwargs)
        leaves, structure = jax.tree.flatten(variables)
        is_param = [_is_param(x) and i not in state for i, x in enumerate(leaves)]

        def only(keep: Callable[[int, Any], bool]) -> Any:
            kept = [x if keep(i, x) else None for i, x in enumerate(leaves)]
            return jax.tree.unflatten(structure, kept)

        box["static"] = only(lambda _, x: not _is_array(x))
        return Variables(
            only(lambda i, _: is_param[i]),
            only(lambda i, x: _is_array(x) and not is_param[i]),
        )

    def assemble(variables: Variables) -> Any:
        return jax.tree.map(
            lambda *parts: next((p for p in parts if p is not None), None),
            variables.params,
            variables.state,
            box["static"],
            is_leaf=lambda leaf: leaf is None,
        )

    def apply(
        variables: Variables,
        key: jax.Array,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if functional.key_argument is not None:
            kwargs = {**kwargs, functional.key_argument: key}
        return functional.apply(assemble(variables), *args, **kwargs)

    return Model(
        functional.name, init, apply, assemble, True, path_parts, keywords=False
    )


def state_leaves(
    functional: Functional,
    variables: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> frozenset[int]:
    """Which leaves of the variables are state, whatever their dtype."""
    leaves, structure = jax.tree.flatten(variables)
    numbers = range(len(leaves))
    if functional.trained is not None:
        chosen = functional.trained(jax.tree.unflatten(structure, numbers))
        return frozenset(numbers) - frozenset(jax.tree.leaves(chosen))
    found: set[int] = set()
    first = 0
    for node in jax.tree.leaves(variables, is_leaf=_is_equinox_state):
        size = len(jax.tree.leaves(node))
        if _is_equinox_state(node):
            found.update(range(first, first + size))
        first += size
    if isinstance(variables, tuple) and len(variables) == 2:
        params, state = variables
        if jax.tree.leaves(state) and _returns_anew(
            functional, variables, args, kwargs
        ):
            found.update(numbers[len(jax.tree.leaves(params)) :])
    return frozenset(found)


def _returns_anew(
    functional: Functional,
    variables: tuple[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> bool:
    """Whether a part of the output is like the second part of the variables."""
    arrays, rest = [], []
    for leaf in jax.tree.leaves(variables):
        arrays.append(leaf if _is_array(leaf) else None)
        rest.append(None if _is_array(leaf) else leaf)
    structure = jax.tree.structure(variables)

    def apply(arrays: list[Any], key: jax.Array) -> Any:
        merged = [r if a is None else a for a, r in zip(arrays, rest, strict=True)]
        extra = {}
        if functional.key_argument is not None:
            extra[functional.key_argument] = key
        whole = jax.tree.unflatten(structure, merged)
        output = functional.apply(whole, *args, **kwargs, **extra)
        return jax.tree.map(lambda x: x if _is_array(x) else None, output)

    output = jax.eval_shape(apply, arrays, jax.random.key(0))
    parts = output if isinstance(output, tuple | list) else ()
    return any(_form(part) == _form(variables[1]) for part in parts)


def _form(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    shapes = [(jnp.shape(x), getattr(x, "dtype", None)) for x in leaves]
    return structure, shapes


def _is_equinox_state(node: Any) -> bool:
    kind = type(node)
    return kind.__name__ == "State" and kind.__module__.split(".")[0] == "equinox"


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array)


def _is_param(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)
