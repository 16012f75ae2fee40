"""Wider networks that compute what a narrower one does."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._check import check_choice, check_count, check_number
from jaxinit.initializers._draw import compute_dtype
from jaxinit.initializers._draw import normal as draw_normal
from jaxinit.initializers._jit import jit
from jaxinit.transfer._features import INPUTS, OUTPUTS, resize
from jaxinit.transfer._layers import (
    Layers,
    Layout,
    is_kernel,
    layer_names,
    unit_axis,
)
from jaxinit.transfer._leaves import (
    Leaf,
    Tree,
    key_of,
    layer_leaves,
    placed_like,
    tree_of,
)


def net2wider(
    variables: Any,
    key: int | jax.Array,
    layers: Layers,
    width: int,
    *,
    next: Layers | Mapping[str, int],
    per_channel: Layers = (),
    noise: float = 0.0,
    layout: Layout = "flax",
) -> Any:
    r"""More units in one hidden layer; the network's output stays as it is.

    The first :math:`n` of the new units are the old ones, and the others copy units
    drawn at random, so the incoming weights, biases and per-channel values of new
    unit :math:`j` are those of old unit :math:`g(j)`. What a layer that reads them
    receives :math:`c_j` times over, it weighs by :math:`1 / c_j`:

    .. math::
        W'_{\cdot j} = W_{\cdot g(j)}, \qquad
        V'_{j \cdot} = \frac{1}{|\{k : g(k) = g(j)\}|} V_{g(j) \cdot}.

    The result belongs to a model built with the new width: ``nn.Dense(width)``, or
    ``nnx.update(wide_model, new_state)``. Widen several layers by several calls.

    Every layer that produces or reads these units must be named, which the tree alone
    does not tell. Whatever acts on each unit alone may stand between (activations,
    pooling over positions, BatchNorm with ``per_channel``). Norms over channels keep
    the function only if ``width`` is a multiple of the old one: then each unit has
    equally many copies. (The paper draws :math:`g` with replacement. Here the numbers
    of copies differ by at most one, which that needs, and which keeps the outgoing
    weights of alike size.)

    Args:
      variables: a pytree: linen variables, an nnx state, an Equinox module.
      key: a PRNG key, or an integer that makes one, for the choice of units and the
        noise.
      layers: the layer whose outputs become more, or several whose outputs are added
        up (a residual stream) and must be copied alike. Dense layers, convolutions
        without groups and, in Flax, embeddings. A layer is named by its folder:
        ``"Block_0/Conv_1"``.
      width: the new number of outputs, at least the old one.
      next: all layers that read the units, dense or convolution; a layer that both
        reads and adds to a stream is in ``layers`` too. Where a dense layer reads a
        map that was flattened, give the number of its positions, 49 for 7 by 7:
        ``next={"Conv_1": 1, "Dense_0": 49}``.
      per_channel: layers in between with one value per unit in each of their arrays:
        normalization, depthwise convolution, PReLU, LayerScale. Running statistics
        are found in the other collections.
      noise: noise on the incoming weights of the copies, in units of the root mean
        square of the kernel, so that copies can learn to differ. With 0 the function
        is kept up to rounding. A few percent will do; dropout breaks the tie too.
      layout: ``"flax"``: (\*spatial, in, out), channels last. ``"torch"``, which
        Equinox has too: (out, in, \*spatial), biases with the channels first, and
        maps flattened channels first.

    Returns:
      New variables, in which only the named layers' shapes change. Dtypes and boxes
      stay, and shardings as far as they divide the new shapes. A module that says its
      layers' sizes (``out_features`` and the like) says the new ones.

    Raises:
      TypeError: if ``width`` is not an integer or ``noise`` not a number.
      ValueError: if a layer is unknown or its arrays do not have the old width where
        they should; ``width`` is below it; ``noise`` is negative.

    Examples:
      >>> first = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
      >>> params = {"Dense_0": first, "Dense_1": {"kernel": jnp.ones((4, 2))}}
      >>> wide = net2wider(params, jax.random.key(0), "Dense_0", 8, next="Dense_1")
      >>> wide["Dense_0"]["kernel"].shape, wide["Dense_1"]["kernel"][0, 0]
      ((3, 8), Array(0.5, dtype=float32))

    References:
      Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge
      Transfer", 2015, section 2 and algorithm 1.
    """
    check_choice("layout", layout, ("flax", "torch"), "It is that of the kernels.")
    noise = check_number("noise", noise, "0 keeps the function.", low=0.0, closed=True)
    width = check_count("width", width, "It is the new number of outputs.")
    tree = tree_of(variables)
    producers = layer_names("layers", layers)
    readers = _positions(next)
    old = _width(tree, producers, layout)
    if width < old:
        raise ValueError(
            f"`width` must be at least {old}, the width of {producers[0]!r}, got "
            f"{width}. `load_partial` with mismatch='select' makes layers narrower."
        )
    copies = _copies(key_of(key, "copies"), old, width)
    values = {leaf.place: leaf.value for leaf in tree.leaves}
    for layer, positions in readers.items():
        leaf = _kernel(tree, layer, old * positions, layout)
        values[leaf.place] = _read(values[leaf.place], copies, positions, layout)
    for layer in dict.fromkeys((*producers, *layer_names("per_channel", per_channel))):
        argument = "layers" if layer in producers else "per_channel"
        for leaf in layer_leaves(tree, layer, argument):
            _check_units(leaf, old, layout, argument)
            loud = noise if layer in producers and is_kernel(leaf) else 0.0
            values[leaf.place] = _produced(
                values[leaf.place], copies, loud, key_of(key, leaf.name), layout
            )
    new = {
        leaf.place: placed_like(values[leaf.place], leaf.value)
        for leaf in tree.leaves
        if values[leaf.place] is not leaf.value
    }
    wide = tree.replaced(new)
    for layer in dict.fromkeys((*producers, *layer_names("per_channel", per_channel))):
        resize(wide, layer, OUTPUTS, old, width)
    for layer, positions in readers.items():
        resize(wide, layer, INPUTS, old * positions, width * positions)
    return wide


class _Copies(NamedTuple):
    """Which old unit each new one copies, and how many copies each old one has."""

    of: jax.Array
    times: jax.Array


@jit("old", "width")
def _copies(key: jax.Array, old: int, width: int) -> _Copies:
    """The old units first, then random orders of all of them until it is enough."""
    rounds = -(-(width - old) // old)
    orders = [jax.random.permutation(k, old) for k in jax.random.split(key, rounds)]
    of = jnp.concatenate([jnp.arange(old), *orders])[:width]
    return _Copies(of, jnp.zeros(old, jnp.int32).at[of].add(1))


@jit("positions", "layout")
def _read(value: Any, copies: _Copies, positions: int, layout: Layout) -> jax.Array:
    """A kernel that reads the new units: each copy weighs its share."""
    shape = tuple(value.shape)
    share = 1 / copies.times[copies.of].astype(compute_dtype(np.dtype(value.dtype)))
    x = jnp.asarray(value).astype(share.dtype)
    if layout == "flax":
        x = x.reshape(*shape[:-2], positions, -1, shape[-1])
        x = jnp.take(x, copies.of, axis=-2) * share[:, None]
        x = x.reshape(*shape[:-2], -1, shape[-1])
    else:
        x = jnp.moveaxis(x.reshape(shape[0], -1, positions, *shape[2:]), 1, -1)
        x = jnp.moveaxis(jnp.take(x, copies.of, axis=-1) * share, -1, 1)
        x = x.reshape(shape[0], -1, *shape[2:])
    return x.astype(value.dtype)


@jit("noise", "layout")
def _produced(
    value: Any, copies: _Copies, noise: float, key: jax.Array, layout: Layout
) -> jax.Array:
    """An array with one slice per unit, for the new units."""
    axis = unit_axis(layout)
    x = jnp.take(jnp.asarray(value), copies.of, axis=axis)
    if not noise:
        return x
    wide = compute_dtype(np.dtype(x.dtype))
    size = noise * jnp.sqrt(jnp.mean(jnp.abs(jnp.asarray(value).astype(wide)) ** 2))
    is_copy = jnp.arange(copies.of.size) >= copies.times.size
    drawn = jnp.moveaxis(draw_normal(key, x.shape, wide), axis, -1)
    loud = jnp.where(is_copy, size * drawn, jnp.zeros((), wide))
    return (x.astype(wide) + jnp.moveaxis(loud, -1, axis)).astype(x.dtype)


def _width(tree: Tree, producers: tuple[str, ...], layout: Layout) -> int:
    """The number of outputs of the first of the layers."""
    for leaf in layer_leaves(tree, producers[0], "layers"):
        if is_kernel(leaf):
            return int(leaf.value.shape[unit_axis(layout)])
    raise ValueError(
        f"`layers` names {producers[0]!r}, which has no kernel. Name a dense layer or "
        "a convolution; norms belong to `per_channel`."
    )


def _kernel(tree: Tree, layer: str, inputs: int, layout: Layout) -> Leaf:
    """The kernel of a layer that reads ``inputs`` values."""
    leaves = layer_leaves(tree, layer, "next")
    kernels = [leaf for leaf in leaves if is_kernel(leaf)]
    if len(kernels) != 1:
        raise ValueError(
            f"`next` names {layer!r}, which has {len(kernels)} kernels. Name dense "
            "layers and convolutions, each by its own folder."
        )
    shape = tuple(kernels[0].value.shape)
    found = shape[-2 if layout == "flax" else 1]
    if found == inputs:
        return kernels[0]
    advice = "A layer that reads other units too, or in groups, is not supported."
    if found > inputs and found % inputs == 0:
        advice = (
            f"If it reads a map that was flattened, give the number of its positions: "
            f"next={{{layer!r}: {found // inputs}}}, times those given."
        )
    raise ValueError(
        f"`next`: {kernels[0].name!r} {shape} must read {inputs} values, but reads "
        f"{found}. {advice}"
    )


def _check_units(leaf: Leaf, units: int, layout: Layout, argument: str) -> None:
    shape = tuple(leaf.value.shape)
    if not shape or shape[unit_axis(layout)] != units:
        raise ValueError(
            f"`{argument}`: {leaf.name!r} {shape} must have {units} units along "
            f"its {'last' if layout == 'flax' else 'first'} axis, as many as the first "
            "of `layers`."
        )


def _positions(next: Layers | Mapping[str, int]) -> dict[str, int]:
    """The layers that read, with the number of positions of a flattened map."""
    if not isinstance(next, Mapping):
        return dict.fromkeys(layer_names("next", next), 1)
    advice = "It counts the positions of a flattened map; 1 if there is none."
    return {
        layer: check_count(f"next[{layer!r}]", positions, advice)
        for layer, positions in next.items()
    }
