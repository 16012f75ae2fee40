"""A model and its inputs as two programs: one that draws weights, one that runs."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxinit._caches import Cache, Same, hashable
from jaxinit._collector import collecting_rarely
from jaxinit._configuration import configuration
from jaxinit.models.arguments import Arguments, arguments, zeros_like
from jaxinit.models.functional import Functional
from jaxinit.models.functional import adapt as adapt_functional
from jaxinit.models.library import is_module, is_module_class
from jaxinit.models.model import Model, Variables
from jaxinit.program import versions
from jaxinit.program.program import Region, build

Parts = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Traced:
    """A model's programs and the names of its parameters.

    Attributes:
      name: the model's name.
      draws: whether ``init`` draws fresh weights.
      init: program from a key and the inputs to the leaves of params and state, or
        ``None`` if init cannot be traced.
      init_eagerly: the same as a function that runs op by op.
      apply: program from params, state, a key and the inputs to the output's leaves.
      params: the path of each parameter leaf.
      num_state: number of state leaves.
      num_inputs: number of array inputs.
      structure: of the variables, as a pytree.
      output_structure: of the output.
      assemble: turns variables into what the user's own init returns.
      keywords: whether its layers take initializers as keyword arguments.
    """

    name: str
    draws: bool
    init: versions.Program | None
    init_eagerly: Callable[..., list[Any]]
    apply: versions.Program
    params: tuple[Parts, ...]
    num_state: int
    num_inputs: int
    structure: Any
    output_structure: Any
    assemble: Callable[[Variables], Any]
    keywords: bool = True

    @functools.cached_property
    def forward(self) -> Region:
        """``apply`` as all readers of it see it."""
        return build(self.apply)

    @property
    def param_positions(self) -> range:
        """Where the parameter leaves are among the inputs of ``apply``."""
        return range(len(self.params))

    @property
    def state_positions(self) -> range:
        """Where the other variables are among the inputs of ``apply``."""
        first = len(self.params)
        return range(first, first + self.num_state)

    @property
    def input_positions(self) -> range:
        """Where the data is among the inputs of ``apply``."""
        first = len(self.params) + self.num_state + 1
        return range(first, first + self.num_inputs)

    def variables(self, leaves: Sequence[Any]) -> Variables:
        """The pytrees whose leaves the init program returns."""
        result: Variables = jax.tree.unflatten(self.structure, leaves)
        return result

    def output(self, leaves: Sequence[Any]) -> Any:
        """The model's output, from the leaves that the apply program returns."""
        return jax.tree.unflatten(self.output_structure, leaves)


_cache: Cache[Traced] = Cache(16)


def trace(
    model: Any,
    given: Arguments,
    streams: Sequence[str] = (),
    impl: Any = None,
) -> Traced:
    """Traces a model's init and forward pass.

    As with ``jax.jit``, the same model with arguments of the same shapes is traced
    once: linen modules are the same if they are equal (or, with lists among their
    attributes, identical), functions if they are identical. An nnx module is read
    each time, since its weights may change.

    Args:
      model: a linen module, an nnx module, class or factory, or a ``Functional``.
      given: the model's arguments.
      streams: names of random streams that a linen module uses beyond ``params``
        and ``dropout``.
      impl: the kind of random keys that weights will be drawn from; by default jax's.

    Returns:
      The traced model.

    Raises:
      TypeError: if ``model`` is none of these.
      Exception: whatever the model raises on these arguments, with a note that says
        what it was called with.
    """
    adapted = adapt(model, tuple(streams))
    key = jax.random.key(0, impl=impl)
    fixed = tuple((type(leaf), leaf) for leaf in given.leaves)
    identity = model if hashable(model) else Same(model)
    name = (
        *(type(model), identity, fixed, given.structure, tuple(streams)),
        *(key.dtype, configuration()),
    )
    if not adapted.draws or not hashable(name):
        return _trace(adapted, given, key)
    return _cache.get(name, lambda: _trace(adapted, given, key))


@collecting_rarely()
def _trace(adapted: Model, given: Arguments, key: jax.Array) -> Traced:
    """Traces init as well if that can be done.

    It cannot where a constructor looks at values, or leaves arrays that it computed
    in places that are no variables: those would be tracers that outlive the trace.
    """
    try:
        try:
            return _programs(adapted, given, key, eager=False)
        except versions.NOT_TRACEABLE:
            return _programs(adapted, given, key, eager=True)
    except Exception as error:
        fed = ", ".join(
            f"{name}: {shape.dtype}{list(shape.shape)}"
            for name, shape in zip(given.names, given.shapes, strict=True)
        )
        error.add_note(
            f"jaxinit called {adapted.name} with {fed or 'no array inputs'}. The "
            "arguments after the model must be those of model.init(key, ...)."
        )
        raise


def _programs(
    adapted: Model, given: Arguments, key: jax.Array, *, eager: bool
) -> Traced:

    def draw(key: jax.Array, *values: Any) -> Variables:
        return adapted.init(key, *given.call(values))

    init = None
    if eager:
        variables = draw(key, *map(zeros_like, given.shapes))
    else:
        init, variables = versions.trace(draw, key, *given.shapes)
        versions.check_no_tracers(init)
    flat, structure = jax.tree.flatten(variables)
    apply, output = versions.trace(
        lambda flat, k, values: adapted.apply(
            jax.tree.unflatten(structure, flat), k, *given.call(values)
        ),
        flat,
        key,
        given.shapes,
    )
    versions.check_no_tracers(apply)
    param_paths, _ = jax.tree_util.tree_flatten_with_path(variables.params)
    return Traced(
        adapted.made() if adapted.made else adapted.name,
        adapted.draws,
        init,
        lambda *values: jax.tree.leaves(draw(*values)),
        apply,
        tuple(adapted.param_path(path) for path, _ in param_paths),
        len(jax.tree.leaves(variables.state)),
        len(given.inputs),
        structure,
        jax.tree.structure(output),
        adapted.assemble,
        adapted.keywords,
    )


def adapt(model: Any, streams: tuple[str, ...] = ()) -> Model:
    """The model as a pair of pure functions, by the library that it comes from."""
    if isinstance(model, Functional):
        return adapt_functional(model)
    if is_module(model, "linen"):
        from jaxinit.models import linen

        return linen.adapt(model, streams)
    if is_module_class(model, "linen"):
        raise TypeError(
            f"`model` must be a module, got the linen class {model.__name__}. "
            f"Pass an instance: {model.__name__}(...)."
        )
    if callable(model) or is_module(model, "nnx"):
        from jaxinit.models import nnx

        if is_module(model, "nnx"):
            return nnx.adapt_instance(model)
        return nnx.adapt_factory(model)
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
                trace(model, arguments((shape,), {}))
            except (TypeError, ValueError, IndexError) as error:
                tried = f"{shape.dtype}{list(shape.shape)} gave: {error}"
            else:
                return (shape,)
    raise TypeError(
        f"jaxinit needs the inputs of {adapted.name}, which come last, as in "
        f"model.init(key, x), and could not infer them ({tried}). Add, for example, "
        "jax.ShapeDtypeStruct((32, 32, 32, 3), jnp.float32) for images, or "
        "jax.ShapeDtypeStruct((8, 128), jnp.int32) for tokens: "
        "jaxinit.analyze(model, x)."
    )
