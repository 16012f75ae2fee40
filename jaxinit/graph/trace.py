"""A model and its inputs as two programs: one that draws weights, one that runs."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxinit.graph import compat
from jaxinit.graph.functional import Functional
from jaxinit.graph.functional import adapt as adapt_functional
from jaxinit.graph.model import Model, Variables

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Traced:
    """A model's programs and the names of what goes in.

    Attributes:
      name: the model's name.
      draws: whether ``init`` draws fresh weights.
      init: program from a key and the inputs to the leaves of params and state.
      apply: program from params, state, a key and the inputs to the output's leaves.
      params: the path of each parameter leaf.
      num_state: number of state leaves.
      inputs: the array inputs; arrays, or ``jax.ShapeDtypeStruct`` still to be drawn.
      input_names: what to call each of them (``args[0]``, ``kwargs['mask']``).
      structure: of the variables, as a pytree.
      output_structure: of the output.
    """

    name: str
    draws: bool
    init: compat.Program
    apply: compat.Program
    params: tuple[Parts, ...]
    num_state: int
    inputs: tuple[Any, ...]
    input_names: tuple[str, ...]
    structure: Any
    output_structure: Any

    @property
    def param_positions(self) -> range:
        """Where the parameter leaves are among the inputs of ``apply``."""
        return range(len(self.params))

    @property
    def input_positions(self) -> range:
        """Where the data is among the inputs of ``apply``."""
        first = len(self.params) + self.num_state + 1
        return range(first, first + len(self.inputs))

    def variables(self, leaves: Any) -> Variables:
        """The pytrees whose leaves the init program returns."""
        result: Variables = jax.tree.unflatten(self.structure, leaves)
        return result

    def output(self, leaves: Any) -> Any:
        """The model's output, from the leaves that the apply program returns."""
        return jax.tree.unflatten(self.output_structure, leaves)


def trace(
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    streams: tuple[str, ...] = (),
) -> Traced:
    """Traces a model's init and forward pass.

    Args:
      model: a linen module, an nnx module, class or factory, or a ``Functional``.
      args: positional arguments of the model.
      kwargs: keyword arguments of the model. Arrays among the arguments become
        inputs of the programs; everything else is fixed.
      streams: names of random streams that a linen module uses beyond ``params``
        and ``dropout``.

    Returns:
      The traced model.

    Raises:
      TypeError: if ``model`` is none of these.
      Exception: whatever the model raises on these arguments, with a note that says
        what it was called with.
    """
    adapted = adapt(model, streams)
    (paths, treedef) = jax.tree_util.tree_flatten_with_path((args, kwargs))
    dynamic = [i for i, (_, leaf) in enumerate(paths) if _is_dynamic(leaf)]
    leaves = [leaf for _, leaf in paths]
    inputs = tuple(leaves[i] for i in dynamic)
    names = tuple(_argument_name(paths[i][0]) for i in dynamic)
    shapes = [jax.ShapeDtypeStruct(np.shape(x), _dtype(x)) for x in inputs]

    def call(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        filled = list(leaves)
        for position, value in zip(dynamic, values, strict=True):
            filled[position] = value
        filled_args, filled_kwargs = jax.tree.unflatten(treedef, filled)
        return filled_args, dict(filled_kwargs)

    key = jax.random.key(0)
    try:
        init, variables = compat.trace(
            lambda k, *values: adapted.init(k, *call(values)), key, *shapes
        )
        flat, structure = jax.tree.flatten(variables)
        apply, output = compat.trace(
            lambda flat, k, values: adapted.apply(
                jax.tree.unflatten(structure, flat), k, *call(values)
            ),
            flat,
            key,
            tuple(shapes),
        )
    except Exception as error:
        given = ", ".join(
            f"{name}: {shape.dtype}{list(shape.shape)}"
            for name, shape in zip(names, shapes, strict=True)
        )
        error.add_note(
            f"jaxinit called {adapted.name} with {given or 'no array inputs'}. The "
            "arguments after the model must be those of model.init(key, ...)."
        )
        raise
    param_paths, _ = jax.tree_util.tree_flatten_with_path(variables.params)
    return Traced(
        adapted.name,
        adapted.draws,
        init,
        apply,
        tuple(adapted.param_path(path) for path, _ in param_paths),
        len(jax.tree.leaves(variables.state)),
        inputs,
        names,
        structure,
        jax.tree.structure(output),
    )


def adapt(model: Any, streams: tuple[str, ...] = ()) -> Model:
    """The model as a pair of pure functions, by the library that it comes from."""
    if isinstance(model, Functional):
        return adapt_functional(model)
    from flax import linen, nnx

    from jaxinit.graph import linen as linen_adapter
    from jaxinit.graph import nnx as nnx_adapter

    if isinstance(model, linen.Module):
        return linen_adapter.adapt(model, streams)
    if isinstance(model, nnx.Module):
        return nnx_adapter.adapt_instance(model)
    if isinstance(model, type) and issubclass(model, linen.Module):
        raise TypeError(
            f"`model` must be a module, got the linen class {model.__name__}. "
            f"Pass an instance: {model.__name__}(...)."
        )
    if callable(model):
        return nnx_adapter.adapt_factory(model)
    raise TypeError(
        "`model` must be a flax.linen module, an nnx module or a callable from "
        "nnx.Rngs to one, or jaxinit.Functional(init, apply) for anything else; "
        f"got {type(model).__name__}."
    )


def infer_inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Inputs for a model that says what it takes: an nnx model's first layer.

    Raises:
      TypeError: if they cannot be inferred; it shows the call to write.
    """
    tried = "only the layers of an nnx model tell their inputs"
    adapted = adapt(model)
    if adapted.infer_inputs is not None:
        for shape in adapted.infer_inputs():
            try:
                trace(model, (shape,), {})
            except (TypeError, ValueError, IndexError) as error:
                tried = f"{shape.dtype}{list(shape.shape)} gave: {error}"
            else:
                return (shape,)
    raise TypeError(
        f"`analyze` needs the inputs of {adapted.name} after the model, as in "
        f"model.init(key, x), and could not infer them ({tried}). Write, for example, "
        "jaxinit.analyze(model, jax.ShapeDtypeStruct((32, 32, 32, 3), jnp.float32)) "
        "for images, or ((8, 128), jnp.int32) for tokens."
    )


def _is_dynamic(leaf: Any) -> bool:
    return isinstance(
        leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct
    )


def _dtype(leaf: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)


def _argument_name(path: tuple[Any, ...]) -> str:
    root = "args" if path[0].idx == 0 else "kwargs"
    return root + jax.tree_util.keystr(path[1:])
