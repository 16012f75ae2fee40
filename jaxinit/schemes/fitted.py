"""Initializers fitted to a weight: real fans, whatever the layout."""

import math
from collections.abc import Sequence

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
from jaxinit.schemes.parts import Parts

Array = jax.Array


def fitted(base: Initializer, weight: Parameter) -> Initializer:
    """``base`` for ``weight`` as its equation uses it.

    An initializer that needs only the fans is given the real ones. Any other is shown
    the kernel as ``(*spatial, in, out)``, each stacked layer and each group of a
    convolution by itself.

    Args:
      base: an initializer.
      weight: a parameter with a use.

    Returns:
      An initializer for the shape that the parameter has.

    Raises:
      ValueError: if the weight's axes are not known and ``base`` needs them.
    """
    use = weight.use
    if use is None:
        raise ValueError(
            f"{weight.name} is not used as a weight, so that it has no fans. Give it "
            "an initializer by a rule of its own."
        )
    exact = with_fans(base, real_fans(weight))
    if exact is not None:
        return exact
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


def fitted_by_part(
    base: Initializer, weight: Parameter, parts: Parts | None
) -> Initializer:
    """As ``fitted``, each of the kernels that lie side by side by itself."""
    if parts is None:
        return fitted(base, weight)

    def part(size: int) -> Parameter:
        shape = list(weight.shape)
        shape[parts.axis] = size
        assert weight.use is not None
        share = weight.use.fan_out * size // weight.shape[parts.axis]
        use = weight.use._replace(fan_out=share)
        return weight._replace(shape=tuple(shape), use=use)

    each = [part(size) for size in parts.sizes]
    inits = [fitted(base, one) for one in each]

    def sampler(
        key: Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> Array:
        del shape, sharding
        keys = jax.random.split(key, len(each))
        drawn = [
            call(init, k, one.shape, dtype, None)
            for init, k, one in zip(inits, keys, each, strict=True)
        ]
        return jnp.concatenate(drawn, parts.axis)

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
