"""``fast_init``: a user's own init, compiled in a fraction of the time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit._caches import Cache, Same, hashable
from jaxinit._configuration import configuration, measuring
from jaxinit.draw.drawer import Drawer, drawer
from jaxinit.draw.own_init import as_arrays
from jaxinit.draw.shardings import needs_mesh, shardings_of
from jaxinit.models.arguments import Arguments, arguments, model_arguments
from jaxinit.models.own import own_init
from jaxinit.program import versions
from jaxinit.program.primitives import is_key

Shardings = Any
"""A sharding for all, a mesh, a tree like the result, or a function, or ``None``."""


@measuring
def fast_init(
    model: Any,
    key: Any,
    *args: Any,
    shardings: Shardings = None,
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Initializes a model by its own init: the same values, compiled far faster.

    What ``jax.jit(model.init)(key, *args)`` returns, bit for bit for the usual
    samplers (see Notes). The init is traced; what the variables do not need is dropped
    (a linen module's init runs the whole forward pass for nothing); equal samplers are
    compiled once, side by side, and draw their numbers flat. A later call with another
    key compiles nothing.

    With ``shardings`` each device draws its part of every array, and no array is ever
    whole on one device.

    Args:
      model: a linen module; an nnx class or a callable from ``nnx.Rngs`` to an nnx
        module; or a ``jaxinit.Functional``.
      key: as for the model's own init: a key, typed or raw, for linen also a dict of
        keys by stream; an integer makes one.
      *args: the model's inputs, as in ``model.init(key, *args)``; none for nnx. A
        ``jax.ShapeDtypeStruct`` will do where their values do not matter.
      shardings: how the result is to be sharded: one sharding for all; a
        ``jax.sharding.Mesh``, on which the model's own partitioning metadata
        (``nn.with_partitioning``, logical axes under ``nn.logical_axis_rules``, nnx
        ``sharding`` names) says where an array lies, and what has none is on every
        device; a tree of shardings like the result; or a function from an array's path
        and shape to a sharding or ``None``. By default the metadata on the mesh that
        ``jax.set_mesh`` has set, or nothing.
      model_kwargs: keyword arguments of the init whose names are taken here.
      **kwargs: further keyword arguments of the init: ``train=True``, ``method=``.

    Returns:
      What the model's own init returns: linen's dict of variables, an nnx module, the
      pytree of a ``Functional``.

    Raises:
      TypeError: if ``model`` is no model that draws weights.
      ValueError: if ``shardings`` does not fit the result.
      Exception: whatever the init raises.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model, x = nn.Dense(3), jax.ShapeDtypeStruct((1, 2), "float32")
      >>> variables = jaxinit.fast_init(model, jax.random.key(0), x)
      >>> variables["params"]["kernel"].shape
      (2, 3)

    Notes:
      ``benchmarks/results/init.txt`` holds what a first and a later draw of four models
      took, beside ``jax.jit(model.init)`` and ``model.init``
      (``python -m benchmarks.init``).

      An init that looks at the values of its key or leaks them cannot be traced and
      runs op by op as it is. Where the compiler rounds a longer chain of operations as
      its surroundings suggest (seen with gamma draws) values agree to rounding.
    """
    if needs_mesh(model, shardings):
        with jax.set_mesh(shardings):
            return fast_init(
                model,
                key,
                *args,
                shardings=shardings,
                model_kwargs=model_kwargs,
                **kwargs,
            )
    given = arguments(args, model_arguments(kwargs, model_kwargs))
    init = _init(model, key, given)
    values = (*init.keys, *as_arrays(given.inputs))
    if init.draw is None:
        tree = init.eagerly(values)
        to = shardings_of(shardings, model, tree)
        if to is None:
            return tree
        leaves, structure = jax.tree.flatten(tree)
        placed = [
            x if s is None else jax.device_put(x, s)
            for x, s in zip(leaves, to, strict=True)
        ]
        return jax.tree.unflatten(structure, placed)
    to = shardings_of(shardings, model, init.assemble(init.shapes))
    if to is None:
        return init.assemble(init.draw(*values))
    if any(isinstance(x, jax.core.Tracer) for x in values):
        leaves = init.draw.pure(*values)
        return init.assemble(
            [
                x if s is None else jax.lax.with_sharding_constraint(x, s)
                for x, s in zip(leaves, to, strict=True)
            ]
        )
    return init.assemble(init.draw.sharded(to, *values))


def abstract_init(
    model: Any,
    *args: Any,
    shardings: Shardings = None,
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """What `fast_init` would return, as shapes: nothing is drawn or allocated.

    Args:
      model: as for ``fast_init``.
      *args: the model's inputs, or their shapes.
      shardings: as for ``fast_init``; the shapes carry them.
      model_kwargs: keyword arguments of the init whose names are taken here.
      **kwargs: further keyword arguments of the init.

    Returns:
      The result of ``fast_init`` with a ``jax.ShapeDtypeStruct`` for each array: to
      restore a checkpoint into, or to plan shardings.

    Raises:
      TypeError: if ``model`` is no model that draws weights.
      ValueError: if ``shardings`` does not fit the result, or if the init cannot be
        traced.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> x = jax.ShapeDtypeStruct((1, 2), "float32")
      >>> jaxinit.abstract_init(nn.Dense(3), x)["params"]["bias"]
      ShapeDtypeStruct(shape=(3,), dtype=float32)
    """
    if needs_mesh(model, shardings):
        with jax.set_mesh(shardings):
            return abstract_init(
                model, *args, shardings=shardings, model_kwargs=model_kwargs, **kwargs
            )
    given = arguments(args, model_arguments(kwargs, model_kwargs))
    init = _init(model, 0, given)
    if init.draw is None:
        raise ValueError(
            f"`model` must have an init that can be traced, got {model!r}, whose init "
            "looks at values. Call fast_init, which then runs it op by op."
        )
    to = shardings_of(shardings, model, init.assemble(init.shapes))
    if to is None:
        return init.assemble(init.shapes)
    spec: Any = jax.ShapeDtypeStruct
    shapes = [
        spec(x.shape, x.dtype, sharding=s) for x, s in zip(init.shapes, to, strict=True)
    ]
    return init.assemble(shapes)


class _Init(NamedTuple):
    """A model's init, ready to be drawn from.

    Attributes:
      draw: draws the arrays of the result; ``None`` if it cannot be traced.
      shapes: what they look like.
      assemble: the result, from its arrays.
      eagerly: the result, op by op, from keys and inputs.
      keys: those that were given.
    """

    draw: Drawer | None
    shapes: list[Any]
    assemble: Callable[[Sequence[Any]], Any]
    eagerly: Callable[[Sequence[Any]], Any]
    keys: tuple[jax.Array, ...]


_cache: Cache[_Init] = Cache(16)


def _init(model: Any, key: Any, given: Arguments) -> _Init:
    """The init of a model, traced; that of an earlier call if there is one."""
    flat, keys_structure = jax.tree.flatten(_as_key(key))
    keys = tuple(_typed(k) for k in flat)
    if not keys:
        raise ValueError(f"`key` must hold at least one random key, got {key!r}.")
    raw = tuple(k is not t for k, t in zip(flat, keys, strict=True))
    name = (
        *(type(model), model if hashable(model) else Same(model)),
        *(tuple((type(leaf), leaf) for leaf in given.leaves), given.structure),
        *(keys_structure, raw, tuple(k.dtype for k in keys), configuration()),
    )

    def make() -> _Init:
        return _traced(model, keys, raw, keys_structure, given)

    found = _cache.get(name, make) if hashable(name) else make()
    return found._replace(keys=keys)


def _traced(
    model: Any,
    keys: tuple[jax.Array, ...],
    raw: tuple[bool, ...],
    keys_structure: Any,
    given: Arguments,
) -> _Init:
    call, restore, keeps = own_init(model)
    box: dict[str, Any] = {}

    def eagerly(values: Sequence[Any]) -> Any:
        count = len(keys)
        given_keys = [
            jax.random.key_data(k) if is_raw else k
            for k, is_raw in zip(values[:count], raw, strict=True)
        ]
        args, kwargs = given.call(values[count:])
        return call(jax.tree.unflatten(keys_structure, given_keys), args, kwargs)

    def program(*values: Any) -> list[Any]:
        leaves, box["structure"] = jax.tree.flatten(eagerly(values))
        box["leaves"] = [leaf if keeps(leaf) else None for leaf in leaves]
        return [leaf for leaf in leaves if not keeps(leaf)]

    def assemble(arrays: Sequence[Any]) -> Any:
        following = iter(arrays)
        leaves = [next(following) if x is None else x for x in box["leaves"]]
        return restore(jax.tree.unflatten(box["structure"], leaves))

    def restored(values: Sequence[Any]) -> Any:
        return restore(eagerly(values))

    try:
        traced, shapes = versions.trace(program, *keys, *given.shapes)
        versions.check_no_tracers(traced)
    except versions.NOT_TRACEABLE:
        return _Init(None, [], assemble, restored, keys)
    return _Init(drawer(traced), list(shapes), assemble, restored, keys)


def _as_key(key: Any) -> Any:
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    return key


def _typed(key: Any) -> jax.Array:
    """A key, or the old-style data of one, as a typed key."""
    if isinstance(key, jax.Array) and is_key(key):
        return key
    if isinstance(key, jax.Array | np.ndarray):
        if key.dtype == np.uint32 and key.ndim == 1:
            wrapped: jax.Array = jax.random.wrap_key_data(jax.numpy.asarray(key))
            return wrapped
    raise TypeError(
        "`key` must be what the model's init takes: a jax key, as jax.random.key(0), "
        f"an integer that makes one, or for linen a dict of keys; got {key!r}."
    )
