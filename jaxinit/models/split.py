"""What a function of a model's variables is called with: what is trained, and the rest.

The variables are those of a training loop: linen's, an nnx module, or any pytree.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.models.functional import Functional, state_leaves
from jaxinit.models.library import is_module
from jaxinit.models.model import Variables, path_parts, unboxed_path

Parts = tuple[str, ...]


class Split(NamedTuple):
    """The arrays of a function's first argument.

    Attributes:
      params: those that training changes.
      paths: the path of each of them.
      state: all other arrays.
      call: ``(params, state, args, kwargs) -> (output, state)``, the function on
        other arrays, and what it made of an nnx module's state (else nothing).
      gradients: makes of one array for each of ``params`` what ``jax.grad`` or
        ``nnx.grad`` returns, with ``None`` in place of what is not trained.
      update: writes into an nnx module what ``call`` made of its state.
    """

    params: list[Any]
    paths: tuple[Parts, ...]
    state: list[Any]
    call: Callable[..., tuple[Any, list[Any]]]
    gradients: Callable[[Sequence[Any]], Any]
    update: Callable[[Sequence[Any]], None]


def split(
    function: Callable[..., Any],
    variables: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    trained: Callable[[Any], Any] | None = None,
) -> Split:
    """Tells what is trained among the variables that a function is called with.

    Args:
      function: called as ``function(variables, *args, **kwargs)``.
      variables: an nnx module, whose ``nnx.Param`` are trained; a mapping with
        ``"params"``, as linen has it; or a pytree, by the rules of ``Functional``.
      args: the other arguments.
      kwargs: those by name.
      trained: for a pytree, as in ``Functional``.
    """
    if is_module(variables, "nnx"):
        return _of_module(function, variables)
    paths, structure = jax.tree_util.tree_flatten_with_path(variables)
    leaves = [leaf for _, leaf in paths]
    if isinstance(variables, Mapping) and "params" in variables and trained is None:
        of_linen = True
        chosen = {i for i, (path, _) in enumerate(paths) if _key(path[0]) == "params"}
    else:
        of_linen = False
        functional = Functional(_no_init, function, trained=trained)
        state = state_leaves(functional, variables, args, kwargs)
        chosen = set(range(len(leaves))) - state
    moving = [i for i in sorted(chosen) if _is_inexact(leaves[i])]
    resting = [i for i, x in enumerate(leaves) if i not in set(moving) and _is_array(x)]

    def rebuilt(params: Sequence[Any], state: Sequence[Any]) -> Any:
        filled = list(leaves)
        for i, value in zip([*moving, *resting], [*params, *state], strict=True):
            filled[i] = value
        return jax.tree.unflatten(structure, filled)

    def call(
        params: Sequence[Any],
        state: Sequence[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Any, list[Any]]:
        return function(rebuilt(params, state), *args, **kwargs), []

    def gradients(params: Sequence[Any]) -> Any:
        filled: list[Any] = [None] * len(leaves)
        for i, value in zip(moving, params, strict=True):
            filled[i] = value
        return jax.tree.unflatten(structure, filled)

    return Split(
        [leaves[i] for i in moving],
        tuple(_name(paths[i][0], of_linen) for i in moving),
        [leaves[i] for i in resting],
        call,
        gradients,
        lambda state: None,
    )


def _of_module(function: Callable[..., Any], module: Any) -> Split:
    from jaxinit.models import nnx as adapter

    graph, held = adapter.split(module)
    paths, params_structure = jax.tree_util.tree_flatten_with_path(held.params)
    state, state_structure = jax.tree.flatten(held.state)

    def call(
        params: Sequence[Any],
        state: Sequence[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Any, list[Any]]:
        variables = Variables(
            jax.tree.unflatten(params_structure, params),
            jax.tree.unflatten(state_structure, state),
        )
        copy = adapter.merge(graph, variables)
        output = function(copy, *args, **kwargs)
        return output, jax.tree.leaves(adapter.split(copy)[1].state)

    return Split(
        [leaf for _, leaf in paths],
        tuple(unboxed_path(path) for path, _ in paths),
        state,
        call,
        lambda params: jax.tree.unflatten(params_structure, params),
        lambda state: adapter.update(
            module, jax.tree.unflatten(state_structure, state)
        ),
    )


def _name(path: tuple[Any, ...], of_linen: bool) -> Parts:
    return unboxed_path(path)[1:] if of_linen else path_parts(path)


def _key(entry: Any) -> Any:
    return getattr(entry, "key", None)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _is_inexact(leaf: Any) -> bool:
    return _is_array(leaf) and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _no_init(key: Any, *args: Any) -> Any:
    raise AssertionError("variables are given")
