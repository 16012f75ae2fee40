"""Where an nnx module's own annotations put its arrays."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxinit.models.library import is_module


def annotated(numbered: Any) -> dict[int, NamedSharding]:
    """The shardings that a module's variables name, under the mesh that is set.

    Args:
      numbered: what the model's init returns, with a number in the place of each
        array.

    Returns:
      By number, the sharding; nothing where no mesh is set, and for what is no nnx
      module.
    """
    if not is_module(numbered, "nnx"):
        return {}
    from flax import nnx

    mesh = _mesh()
    found = {}
    for variable in jax.tree.leaves(
        numbered, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
    ):
        if not isinstance(variable, nnx.Variable):
            continue
        metadata = variable.get_metadata()
        names = metadata.get("out_sharding", metadata.get("sharding_names"))
        own = metadata.get("mesh") or mesh
        if names is None or own is None or not metadata.get("eager_sharding", True):
            continue
        # Flax's own reading of the names, with the rules for logical axes.
        spec = nnx.get_partition_spec({"one": variable})["one"]
        spec = getattr(spec, "value", spec)
        for number in jax.tree.leaves(variable):
            found[number] = NamedSharding(own, PartitionSpec(*spec))
    return found


def _mesh() -> Mesh | None:
    """The mesh of ``jax.set_mesh``."""
    if jax.sharding.get_abstract_mesh().empty:
        return None
    mesh = jax.sharding.get_mesh()
    return None if mesh.empty else mesh
