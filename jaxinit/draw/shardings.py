"""Which sharding each array of a model is to have: as asked, or by its own metadata."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxinit._caches import cached
from jaxinit.models.library import is_module
from jaxinit.models.trace import Traced
from jaxinit.program import primitives
from jaxinit.program.program import CALLS, Operand, Region, build


def shardings_of(wished: Any, model: Any, shapes: Any) -> list[Any] | None:
    """The sharding, or ``None``, of each leaf of ``shapes``.

    Args:
      wished: what the user asked for, see ``fast_init``.
      model: the model.
      shapes: its variables, or an nnx module, with shapes (or arrays) as leaves.

    Returns:
      One entry for each leaf; ``None`` if nothing was asked for.

    Raises:
      ValueError: if there are too many or too few shardings, or an axis that the mesh
        lacks.
    """
    if wished is None:
        mesh = _mesh_in_use()
        return None if mesh is None else _by_metadata(shapes, mesh, known_only=True)
    if isinstance(wished, Mesh):
        return _by_metadata(shapes, wished, known_only=False)
    leaves = jax.tree.leaves(_plain(shapes))
    if isinstance(wished, Sharding):
        return [wished] * len(leaves)
    if callable(wished):
        return _asked(wished, shapes)
    found = jax.tree.leaves(wished, is_leaf=lambda s: s is None or _is_sharding(s))
    if len(found) != len(leaves) or not all(
        s is None or _is_sharding(s) for s in found
    ):
        raise ValueError(
            f"`shardings` must have one sharding, or None, for each of the "
            f"{len(leaves)} arrays of the result, got {len(found)} leaves. Make it "
            "from jaxinit.abstract_init of this call, or pass a mesh."
        )
    return found


def needs_mesh(model: Any, shardings: Any) -> bool:
    """Whether a mesh must be set: nnx makes annotated variables with one at hand."""
    factory = not hasattr(model, "init")
    return (
        factory
        and isinstance(shardings, Mesh)
        and jax.sharding.get_abstract_mesh().empty
    )


@cached(16)
def constrained(traced: Traced) -> dict[int, NamedSharding]:
    """The shardings on a mesh that a model's own init constrains its leaves to."""
    if traced.init is None:
        return {}
    region = build(traced.init)
    found = {leaf: _constraint(region, v) for leaf, v in enumerate(region.outputs)}
    return {leaf: sharding for leaf, sharding in found.items() if sharding is not None}


def _constraint(region: Region, value: Operand | None) -> NamedSharding | None:
    """The last constraint on a value of a region, through what keeps it as it is."""
    for node in reversed(region.nodes):
        if value not in node.results:
            continue
        if node.primitive == "sharding_constraint":
            asked = node.equation.params["sharding"]
            mesh = getattr(asked, "mesh", None)
            return asked if isinstance(mesh, Mesh) else None  # else it names no device
        if node.kind in CALLS:
            (body,) = node.bodies
            inner = body.outputs[node.results.index(value)]
            if inner not in body.inputs:
                return _constraint(body, inner)
            value = node.operands[body.inputs.index(inner)]
        elif node.primitive in primitives.IDENTITIES:
            value = node.operands[0]
        else:
            return None
    return None


def _asked(choose: Callable[..., Any], shapes: Any) -> list[Any]:
    paths = jax.tree_util.tree_leaves_with_path(_plain(shapes))
    return [choose(_name(path), leaf.shape) for path, leaf in paths]


def _by_metadata(shapes: Any, mesh: Mesh, *, known_only: bool) -> list[Any] | None:
    """By what the model says of its arrays; ``None`` if it says nothing at all."""
    specs = [_checked(spec, mesh) for spec in _specs(shapes)]
    if known_only and all(spec is None for spec in specs):
        return None
    return [NamedSharding(mesh, spec or PartitionSpec()) for spec in specs]


def _specs(shapes: Any) -> list[PartitionSpec | None]:
    """For each leaf, how the model would partition it."""

    def is_spec(value: Any) -> bool:
        return value is None or isinstance(value, PartitionSpec)

    if is_module(shapes, "nnx"):
        from flax import nnx

        specs: Any = nnx.get_partition_spec(nnx.state(shapes))
    else:
        from flax import linen
        from flax.linen import spmd

        specs = linen.get_partition_spec(shapes)
        if linen.get_logical_axis_rules():
            specs = spmd.logical_to_mesh(specs)
    return jax.tree.leaves(specs, is_leaf=is_spec)


def _checked(spec: PartitionSpec | None, mesh: Mesh) -> PartitionSpec | None:
    if spec is None or all(part is None for part in spec):
        return None
    names = [n for part in spec for n in (part if isinstance(part, tuple) else (part,))]
    foreign = [
        name for name in names if name is not None and name not in mesh.axis_names
    ]
    if foreign:
        raise ValueError(
            f"`shardings` must be a mesh with the axes that the model names, got one "
            f"with {mesh.axis_names}; the model names {foreign[0]!r}. Use "
            "nn.logical_axis_rules for logical names, or pass a tree of shardings."
        )
    return spec


def _plain(shapes: Any) -> Any:
    """A module's arrays; any other tree is as it is."""
    if not is_module(shapes, "nnx"):
        return shapes
    from flax import nnx

    return nnx.state(shapes)


def _mesh_in_use() -> Mesh | None:
    try:
        mesh = jax.sharding.get_mesh()
    except ValueError:  # within a trace
        return None
    return None if mesh.empty else mesh


def _is_sharding(value: Any) -> bool:
    return isinstance(value, Sharding)


def _name(path: Any) -> str:
    """A leaf's path with slashes, without the ``.value`` of a box."""
    parts = [
        str(getattr(entry, "key", getattr(entry, "idx", None)))
        for entry in path
        if not isinstance(entry, jax.tree_util.GetAttrKey)
    ]
    return "/".join(parts)
