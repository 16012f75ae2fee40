"""Where an analysis runs: on which devices, and what may be spread over them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from jaxinit._caches import cached
from jaxinit.models.trace import Traced
from jaxinit.program import versions

# Equations of a model that says itself where its values lie.
_PLACED = frozenset({"shard_map", "sharding_constraint", "reshard", "mesh_cast"})


def seed_devices(
    wished: int | Sequence[jax.Device] | None,
    traced: Traced,
    inputs: Sequence[jax.Array],
) -> tuple[jax.Device, ...]:
    """The devices over which seeds are spread.

    Args:
      wished: devices, or how many of the local ones; ``None`` for all of them, unless
        the model or an input has a place of its own: then seeds run one by one.
      traced: the model.
      inputs: its inputs.

    Returns:
      The devices; none where the model keeps its own placement.

    Raises:
      ValueError: if devices are wished for a model that places itself, or more than
        there are, or twice the same.
      TypeError: if ``wished`` is neither a number nor devices.
    """
    placed = placed_by(traced, inputs)
    local = jax.local_devices()
    if wished is None:
        return () if placed or len(local) == 1 else tuple(local)
    if isinstance(wished, int | np.integer) and not isinstance(wished, bool):
        if not 1 <= wished <= len(local):
            raise ValueError(
                f"`devices` must be 1 to {len(local)}, the local devices, got {wished}."
            )
        found = tuple(local[:wished])
    elif isinstance(wished, Sequence) and all(
        isinstance(device, jax.Device) for device in wished
    ):
        found = tuple(wished)
    else:
        raise TypeError(
            "`devices` must be a number of devices or a sequence of them, as "
            f"jax.local_devices()[:2], got {wished!r}."
        )
    if len(set(found)) != len(found) or not found:
        raise ValueError(f"`devices` must be one or more, each once, got {wished!r}.")
    if placed and len(found) > 1:
        raise ValueError(
            f"`devices` cannot spread seeds of a model that says itself where it runs: "
            f"{placed}. Leave `devices` out: its seeds then run one after the other, "
            "each on all the devices that the model names."
        )
    return found


def mesh_of(inputs: Sequence[jax.Array]) -> AbstractContextManager[object]:
    """Sets the mesh of inputs whose sharding is part of their type, if none is set."""
    if jax.sharding.get_abstract_mesh().empty:
        for value in inputs:
            sharding = getattr(value, "sharding", None)
            mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
            if isinstance(mesh, Mesh) and AxisType.Explicit in mesh.axis_types:
                context: AbstractContextManager[object] = jax.set_mesh(mesh)
                return context
    return nullcontext()


def unplaced(key: jax.Array) -> jax.Array:
    """A copy of a key that no device holds fast."""
    if isinstance(key, jax.core.Tracer):
        return key
    data = jnp.asarray(np.asarray(jax.random.key_data(key)))
    copy: jax.Array = jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))
    return copy


def placed_by(traced: Traced, inputs: Sequence[jax.Array]) -> str:
    """What binds the model to devices, in words; empty if nothing does."""
    if not jax.sharding.get_abstract_mesh().empty:
        return "a mesh is set"
    for value in inputs:
        if getattr(value, "committed", False):
            return "an input is committed to its devices"
    return _places(traced)


@cached(64)
def _places(traced: Traced) -> str:
    """The equations of a model by which it says where its values lie."""
    programs = [p for p in (traced.init, traced.apply) if p is not None]
    names = {
        name
        for program in programs
        for equation in program.jaxpr.eqns
        for name in versions.primitive_names(equation)
    }
    return ", ".join(sorted(names & _PLACED))
