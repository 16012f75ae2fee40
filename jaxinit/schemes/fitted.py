"""Initializers fitted to a weight: real fans, whatever the layout."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxinit._typing import Initializer
from jaxinit.initializers import with_axes
from jaxinit.initializers._call import call
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._value import with_fans
from jaxinit.initializers.axes import draw_each
from jaxinit.initializers.fans import Fans
from jaxinit.roles.network import Parameter

Array = jax.Array


def fitted(base: Initializer, weight: Parameter) -> Initializer:
    """``base`` for ``weight`` as its equation uses it.

    An initializer that needs only the fans is given the real ones. Any other is shown
    the kernel as ``(*spatial, in, out)``, each stacked layer, each group of a
    convolution and each of the kernels that lie side by side in it by itself, so also
    pieces along its inputs whose products are not added to each other.

    Args:
      base: an initializer.
      weight: a parameter with a use.

    Returns:
      An initializer for the shape that the parameter has.

    Raises:
      ValueError: if the weight's axes are not known and ``base`` needs them.
    """
    if weight.pieces:
        return _by_piece(base, weight)
    if weight.parts:
        return by_part(weight, [fitted(base, one) for one in kernels_of(weight)])
    use = weight.use
    if use is None:
        raise ValueError(
            f"{weight.name} is not used as a weight, so that it has no fans. Give it "
            "an initializer by a rule of its own."
        )
    exact = with_fans(base, real_fans(weight))
    if exact is not None:
        return exact
    if {*use.in_axis, *use.batch_axis} == {*range(len(weight.shape))}:
        return _column(base, weight)
    if not use.in_axis or not use.out_axis:
        raise ValueError(
            f"the program does not tell which axes of {weight.name}, of shape "
            f"{weight.shape}, are inputs and outputs: the model rearranges it. Give it "
            f"a rule of its own: override(scheme, [({weight.name!r}, "
            "as_stored(jaxinit.lecun_normal()))])."
        )
    rank = len(weight.shape)
    if use.groups > 1:
        base = _by_group(base, use.groups)
    plain = use.in_axis == (rank - 2,) and use.out_axis == (rank - 1,)
    if plain and not use.batch_axis:
        return base
    return with_axes(base, use.in_axis, use.out_axis, use.batch_axis)


def by_part(weight: Parameter, inits: Sequence[Initializer]) -> Initializer:
    """Draws each part of a fused kernel as a kernel of its own.

    Args:
      weight: a kernel.
      inits: an initializer for each of ``kernels_of(weight)``.

    Returns:
      An initializer for the shape that the kernel has.
    """
    if not weight.parts:
        return inits[0]
    use = weight.use
    assert use is not None
    order = np.argsort(np.concatenate([part.outputs for part in weight.parts]))
    rest = [axis for axis in range(len(weight.shape)) if axis not in use.out_axis]
    stored = np.argsort([*rest, *use.out_axis]).tolist()
    sizes = [weight.shape[axis] for axis in (*rest, *use.out_axis)]
    shapes = [kernel.shape for kernel in kernels_of(weight)]

    def whole(drawn: list[Array]) -> Array:
        made = jnp.concatenate(drawn, -1)[..., order].reshape(sizes)
        return jnp.transpose(made, stored)

    return _put_together(inits, shapes, whole)


def _by_piece(base: Initializer, weight: Parameter) -> Initializer:
    """Draws each piece of a kernel that is cut along its inputs by itself."""
    use = weight.use
    assert use is not None
    (axis,) = use.in_axis
    most = max(map(len, weight.pieces))
    order = np.argsort([i for piece in weight.pieces for i in sorted(piece)])
    inits, shapes = [], []
    for piece in weight.pieces:
        shape = list(weight.shape)
        shape[axis] = len(piece)
        fan_in = use.fan_in * len(piece) // most
        one = weight._replace(
            shape=tuple(shape), use=use._replace(fan_in=fan_in), pieces=()
        )
        inits.append(fitted(base, one))
        shapes.append(one.shape)

    def whole(drawn: list[Array]) -> Array:
        return jnp.take(jnp.concatenate(drawn, axis), order, axis)

    return _put_together(inits, shapes, whole)


def _put_together(
    inits: Sequence[Initializer],
    shapes: Sequence[tuple[int, ...]],
    whole: Callable[[list[Array]], Array],
) -> Initializer:
    """Draws each part by its own initializer and key, and makes one array of them."""

    def sampler(
        key: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> Array:
        del shape, sharding
        keys = jax.random.split(key, len(inits))
        drawn = [
            call(init, k, shape, dtype, None)
            for init, k, shape in zip(inits, keys, shapes, strict=True)
        ]
        return whole(drawn)

    return from_sampler(sampler)


def kernels_of(weight: Parameter) -> list[Parameter]:
    """The kernels that lie in a weight, their outputs last; itself if it is one."""
    use = weight.use
    if use is None or not weight.parts:
        return [weight]
    rest = [axis for axis in range(len(weight.shape)) if axis not in use.out_axis]
    count = math.prod(weight.shape[axis] for axis in use.out_axis)

    def new(axes: Sequence[int]) -> tuple[int, ...]:
        return tuple(rest.index(axis) for axis in axes)

    whole = weight._replace(layer_axes=new(weight.layer_axes), parts=())
    use = use._replace(
        in_axis=new(use.in_axis),
        out_axis=(len(rest),),
        batch_axis=new(use.batch_axis),
    )
    return [
        whole._replace(
            shape=(*(weight.shape[axis] for axis in rest), len(part.outputs)),
            use=use._replace(fan_out=use.fan_out * len(part.outputs) // count),
        )
        for part in weight.parts
    ]


def _column(base: Initializer, weight: Parameter) -> Initializer:
    """Draws a vector that is summed over as the one column of a kernel."""
    use, rank = weight.use, len(weight.shape)
    assert use is not None
    shape = (*weight.shape, 1)
    column = weight._replace(shape=shape, use=use._replace(out_axis=(rank,)))
    init = fitted(base, column)

    def sampler(
        key: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> Array:
        del sharding
        return call(init, key, (*shape, 1), dtype, None)[..., 0]

    return from_sampler(sampler)


def real_fans(weight: Parameter) -> Fans:
    """Fans of one kernel: of one layer of a stack, of one group of a convolution."""
    use = weight.use
    assert use is not None
    if not use.out_axis:
        return Fans(float(use.fan_in), float(use.fan_out))

    def size(axes: Sequence[int]) -> int:
        return math.prod(weight.shape[axis] for axis in axes)

    inputs = max(size(use.in_axis) * size(use.batch_axis), 1)
    return Fans(float(use.fan_in), math.prod(weight.shape) / inputs / use.groups)


def by_layer(
    base: Initializer, factors: np.ndarray, axes: Sequence[int]
) -> Initializer:
    """``base``, times a factor of its own for each stacked layer.

    Args:
      base: an initializer for the whole stack.
      factors: one for each layer; its axes are ``axes`` of the stack, or none.
      axes: the axes of the stack that number the layers.

    Returns:
      An initializer for the stack.
    """

    def sampler(
        key: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> Array:
        sizes = [1] * len(shape)
        order = np.argsort(axes)
        for axis in axes:
            sizes[axis] = shape[axis]
        spread = np.transpose(factors, order).reshape(sizes) if len(axes) else factors
        samples = call(base, key, shape, dtype, sharding)
        return samples * jnp.asarray(spread, samples.real.dtype)

    return from_sampler(sampler)


def _by_group(base: Initializer, groups: int) -> Initializer:
    """Draws the kernel ``(*spatial, in, out)`` of each group by itself."""

    def sampler(
        key: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> Array:
        del sharding
        kernel = (*shape[:-1], shape[-1] // groups)
        drawn = draw_each(base, key, groups, kernel, dtype)
        return jnp.moveaxis(drawn, 0, -2).reshape(shape)

    return from_sampler(sampler)
