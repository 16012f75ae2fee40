"""Deeper networks that compute what a shallower one does."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.initializers._check import check_choice
from jaxinit.transfer._layers import Layers, Layout, is_kernel, layer_names
from jaxinit.transfer._leaves import Leaf, layer_leaves, placed_like, tree_of
from jaxinit.transfer._mapping import NameMapping
from jaxinit.transfer.load import load_partial


def net2deeper(
    variables: Any,
    source: Any,
    layers: Layers,
    mapping: NameMapping | None = None,
    *,
    layout: Layout = "flax",
) -> Any:
    r"""More layers, which pass on what they get; the network's output stays as it is.

    The new layers become the identity: a square dense kernel :math:`I`, a convolution
    kernel whose center tap is :math:`I` (padding ``"SAME"``, stride 1), zero bias. All
    other arrays come from the smaller network. The function is kept if the activation
    after a new layer leaves its own outputs as they are: ReLU, or none. (For others,
    let the new layer end in none.)

    Args:
      variables: fresh variables of the deeper model.
      source: those of the smaller one, or a checkpoint of it, as in
        :func:`load_partial`.
      layers: the new layers in the deeper model.
      mapping: names in the smaller model of what has another name there, as in
        :func:`load_partial`. Linen numbers layers, so those behind a new one shift:
        ``{"Dense_2": "Dense_1"}``. ``None`` leaves an array fresh, as for a new norm.
      layout: as in :func:`net2wider`.

    Returns:
      New variables of the deeper model.

    Raises:
      ValueError: if a new layer is unknown, not square, or has arrays other than a
        kernel and a bias; the source lacks another array, has another shape for it,
        or has one that no leaf takes.

    Examples:
      >>> old = {"out": jnp.ones((3, 2))}
      >>> fresh = {"new": {"kernel": jnp.ones((3, 3))}, "out": jnp.zeros((3, 2))}
      >>> net2deeper(fresh, old, "new")["new"]["kernel"]
      Array([[1., 0., 0.],
             [0., 1., 0.],
             [0., 0., 1.]], dtype=float32)

    References:
      Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge
      Transfer", 2015, section 2.
    """
    check_choice("layout", layout, ("flax", "torch"), "It is that of the kernels.")
    tree = tree_of(variables)
    identities: dict[str, Any] = {}
    places: dict[int, Any] = {}
    for layer in layer_names("layers", layers):
        for leaf in layer_leaves(tree, layer, "layers"):
            identities[leaf.name] = None
            places[leaf.place] = placed_like(_identity(leaf, layout), leaf.value)
    if mapping is None or isinstance(mapping, Mapping):
        # The new layers come first: the first entry that applies counts.
        loaded_as: NameMapping = {**identities, **(mapping or {})}
    else:
        given = mapping

        def renamed(name: str) -> str | None:
            return None if name in identities else given(name)

        loaded_as = renamed
    loaded, _ = load_partial(
        variables, source, loaded_as, missing="error", unused="error"
    )
    return tree_of(loaded).replaced(places)


def _identity(leaf: Leaf, layout: Layout) -> jax.Array:
    """What a new layer's array must be for the layer to pass its input on."""
    shape = tuple(leaf.value.shape)
    if not is_kernel(leaf):
        if leaf.last not in ("bias", "b"):
            raise ValueError(
                "`layers` may name dense layers and convolutions, with a kernel and a "
                f"bias, but {leaf.name!r} has the shape {shape}. A norm starts close "
                "to the identity as it is: leave it fresh with `mapping` {name: None}."
            )
        return jnp.zeros(shape, leaf.value.dtype)
    spatial, ins, outs = (
        (shape[:-2], shape[-2], shape[-1])
        if layout == "flax"
        else (shape[2:], shape[1], shape[0])
    )
    if ins != outs:
        raise ValueError(
            f"`layers`: {leaf.name!r} has {ins} inputs and {outs} outputs. A new layer "
            "can be the identity only with as many outputs as inputs; widen it "
            "afterwards with `net2wider`."
        )
    center = tuple((size - 1) // 2 for size in spatial)
    eye = jnp.eye(ins, dtype=leaf.value.dtype)
    where = (*center, ...) if layout == "flax" else (..., *center)
    return jnp.zeros(shape, leaf.value.dtype).at[where].set(eye)
