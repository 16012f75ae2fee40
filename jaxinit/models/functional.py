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

    Floating-point JAX arrays among the variables are its parameters. Other JAX arrays
    are state; everything else (functions, sizes, NumPy arrays) is passed along as it
    is.

    Attributes:
      init: ``init(key, *args, **kwargs) -> variables``, any pytree.
      apply: ``apply(variables, *args, **kwargs) -> output``, any pytree.
      key_argument: if ``apply`` draws random numbers, the name of the keyword
        argument under which it takes its key.
      name: for the report.

    Examples:
      Equinox (a module is a pytree; one sample at a time, so ``vmap``)::

        Functional(
            lambda key, x: eqx.nn.MLP(8, 2, 64, 3, key=key),
            lambda model, x: jax.vmap(model)(x),
        )

      Haiku::

        forward = hk.transform(lambda x: hk.nets.MLP([64, 2])(x))
        Functional(forward.init, lambda params, x: forward.apply(params, None, x))
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    key_argument: str | None = None
    name: str = "functional model"


def adapt(functional: Functional) -> Model:
    """A pair of functions as a model."""
    box: dict[str, Any] = {}

    def init(
        key: jax.Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variables:
        variables = functional.init(key, *args, **kwargs)
        box["static"] = _only(variables, lambda leaf: not _is_array(leaf))
        return Variables(
            _only(variables, _is_param),
            _only(variables, lambda leaf: _is_array(leaf) and not _is_param(leaf)),
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

    return Model(functional.name, init, apply, assemble, True, path_parts)


def _only(tree: Any, keep: Callable[[Any], bool]) -> Any:
    """``tree`` with ``None`` in place of every leaf that is not kept."""
    return jax.tree.map(lambda leaf: leaf if keep(leaf) else None, tree)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array)


def _is_param(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)
