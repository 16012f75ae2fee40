"""``initialize``: a model's variables by a scheme."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, Sharding

from jaxinit._configuration import measuring
from jaxinit._keys import root_key
from jaxinit.draw.own_init import as_arrays, is_shape
from jaxinit.draw.shardings import constrained, needs_mesh, shardings_of
from jaxinit.models.annotations import annotated
from jaxinit.models.arguments import arguments, model_arguments, streams_and_kwargs
from jaxinit.models.trace import Traced, infer_inputs, trace
from jaxinit.roles.network import Network, read_network
from jaxinit.roles.structure import NO_HINTS, Hints, as_hints
from jaxinit.schemes.data.check_batch import check_batch
from jaxinit.schemes.drawing import SchemeDraw, Shardings, scheme_draw
from jaxinit.schemes.scheme import as_scheme
from jaxinit.schemes.untouched import warn_of_untouched


@measuring
def initialize(
    model: Any,
    scheme: Any,
    key: int | jax.Array,
    *args: Any,
    shardings: Any = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Initializes a whole model by a scheme.

    What a parameter does (a weight and its fans, a bias, the end of a residual
    branch, ...) is read off the model's program, not off its names. Parameters that
    the scheme does not name keep what the model's own init draws under the same key;
    ``explain`` says which, and an ``UntouchedWarning`` names those among them that
    are no bias, norm, table or the like. A parameter's key depends on its path alone,
    so that layers added to a model leave the weights of the others as they were.

    It may be called under ``jax.jit``, ``jax.vmap`` over keys and ``jax.eval_shape``,
    unless the scheme says otherwise.

    Args:
      model: as in ``analyze``: a linen module; an nnx class, factory or module; or a
        ``Functional``. An nnx module is not changed.
      scheme: a scheme, or an initializer, which then draws every weight with the
        weight's real fans; or the name of one, as ``"he_normal"``.
      key: a key, or an integer that makes one.
      *args: the model's inputs, as in ``model.init(key, *args)``. A
        ``jax.ShapeDtypeStruct`` will do where no values are needed; schemes that look
        at data need real ones.
      shardings: how the result is to be sharded; each device then draws its part. By
        default as an nnx module's annotations say, where ``jax.set_mesh`` set a mesh,
        as nnx itself has it, and as the model's own init constrains its results to a
        mesh (``with_sharding_constraint``). One sharding for all; a mesh, on which the
        model's partitioning metadata says where an array lies, as in ``fast_init``; a
        tree of shardings like the result; or a function from a parameter's path and
        shape to a sharding or ``None``.
      output: which leaf of the model's output is the main one, by its path
        (``"logits"``) or position; by default one that no other is computed from.
      roles: for parameters by their path a role that they have besides those that the
        program shows, one of ``jaxinit.ROLES``.
      branches: for weights by their path, whether the sum behind them adds a residual
        branch that ends with them. For sums of which the program does not tell, as
        ``residual_structure`` prints.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model whose names are taken here.
      **kwargs: further keyword arguments of the model.

    Returns:
      What the model's own init returns: linen's dict of variables, an nnx module, the
      pytree of a ``Functional``.

    Warns:
      UntouchedWarning: if the scheme draws every weight and a parameter is left whose
        role the program does not tell.

    Raises:
      TypeError: if ``model`` is no model or ``scheme`` no scheme.
      ValueError: if the scheme does not apply to the model, a rule matches nothing,
        or data are needed and a shape was given.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(2)])
      >>> x = jax.random.normal(jax.random.key(1), (16, 4))
      >>> variables = jaxinit.initialize(model, jaxinit.he_normal(), 0, x)
      >>> jax.tree.map(lambda leaf: leaf.shape, variables)["params"]["layers_0"]
      {'bias': (8,), 'kernel': (4, 8)}
    """
    if needs_mesh(model, shardings):
        with jax.set_mesh(shardings):
            return initialize(
                *(model, scheme, key, *args),
                shardings=shardings,
                output=output,
                roles=roles,
                branches=branches,
                rngs=rngs,
                model_kwargs=model_kwargs,
                **kwargs,
            )
    # Within a trace a copy of the key belongs to it, wherever the key came from.
    root = jax.random.clone(root_key(key))
    kwargs = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, inputs = prepare(model, args, kwargs, rngs, root, hints)
    chosen = as_scheme(scheme)
    draw = scheme_draw(network, chosen)
    check_data(draw, inputs, network)
    warn_of_untouched(network, draw.assignments, chosen)
    arrays = as_arrays(inputs)
    to = _placed(shardings, network.traced, root)
    leaves = draw(root, *arrays, shardings=to) if to else draw(root, *arrays)
    for leaf, sharding in to.items():  # what data made of it may be elsewhere
        if isinstance(root, jax.core.Tracer) or leaves[leaf].sharding == sharding:
            continue
        leaves[leaf] = jax.device_put(leaves[leaf], sharding)
    return network.traced.assemble(network.traced.variables(leaves))


def prepare(
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rngs: Any,
    key: jax.Array | None = None,
    hints: Hints = NO_HINTS,
) -> tuple[Network, tuple[Any, ...]]:
    """Traces and reads a model whose weights will be drawn from keys like ``key``.

    Returns:
      The network, and the arrays (or shapes) among the arguments.

    Raises:
      ValueError: if the model has no parameters.
    """
    if not args and not kwargs:
        args = infer_inputs(model)
    streams, kwargs = streams_and_kwargs(rngs, kwargs)
    given = arguments(args, kwargs)
    impl = None if key is None else jax.random.key_impl(key)
    traced = trace(model, given, streams, impl)
    if not traced.params:
        raise ValueError(
            f"`model` must have parameters, got {traced.name} without any. There is "
            "nothing to initialize."
        )
    return read_network(traced, given, hints), given.inputs


def check_data(draw: SchemeDraw, inputs: Sequence[Any], network: Network) -> None:
    """Raises if the draw needs the values of inputs that it cannot use.

    Raises:
      ValueError: if they are only shapes, empty, not finite or too large.
    """
    if draw.reads_data and any(is_shape(x) for x in inputs):
        raise ValueError(
            f"this scheme looks at data as it initializes {network.traced.name}, and "
            "got a shape. Pass a batch of real inputs."
        )
    if draw.refines_on_data:
        check_batch(inputs, network.given.names)


def _placed(shardings: Any, traced: Traced, key: jax.Array) -> Shardings:
    """The sharding of each leaf that is to have one."""
    if shardings is not None:
        return _by_leaf(shardings, traced)
    if isinstance(key, jax.core.Tracer):
        return {}
    return {**constrained(traced), **annotated(_numbered(traced))}


def _numbered(traced: Traced) -> Any:
    """What the model's init returns, with numbers in the place of its arrays."""
    count = len(traced.params) + traced.num_state
    return traced.assemble(traced.variables(list(range(count))))


def _by_leaf(shardings: Any, traced: Traced) -> Shardings:
    """The sharding of each leaf of parameters and state."""
    count = len(traced.params) + traced.num_state
    if isinstance(shardings, Sharding):
        return dict.fromkeys(range(count), shardings)
    if isinstance(shardings, Mesh):
        shapes = [v.aval for v in traced.apply.jaxpr.invars[:count]]
        tree = traced.assemble(traced.variables(shapes))
        shardings = shardings_of(shardings, None, tree)
    elif callable(shardings):
        return _asked(shardings, traced)
    leaves = jax.tree.leaves(
        shardings, is_leaf=lambda s: s is None or isinstance(s, Sharding)
    )
    order = jax.tree.leaves(_numbered(traced))
    if len(leaves) != len(order):
        raise ValueError(
            f"`shardings` must have one entry for each of the {len(order)} arrays of "
            f"the result, got {len(leaves)}. Make it from jax.eval_shape of this call."
        )
    return {i: s for i, s in zip(order, leaves, strict=True) if s is not None}


def _asked(choose: Callable[..., Any], traced: Traced) -> Shardings:
    found = {}
    for leaf, path in enumerate(traced.params):
        sharding = choose("/".join(path), traced.apply.jaxpr.invars[leaf].aval.shape)
        if sharding is not None:
            found[leaf] = sharding
    return found
