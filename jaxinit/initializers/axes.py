"""Initializers of arrays whose axes hide the kernel: other layouts, einsums."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers._call import call_rounded, default_dtype
from jaxinit.initializers._draw import from_maker
from jaxinit.initializers._value import family, law_of
from jaxinit.initializers.fans import as_axes, einsum_roles, normalize_axes


@family
def with_axes(
    base: Initializer,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Shows ``base`` each kernel as ``(*spatial, in, out)``, whatever its layout.

    Axes that belong together are merged, axes without a role come first as the
    receptive field, and each entry of the batch axes is drawn with its own key. So
    any initializer for a plain kernel has the right fans, orthogonal ones included.

    Args:
      base: an initializer for kernels of shape ``(*spatial, in, out)``.
      in_axis: the axes that are summed over.
      out_axis: the axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: when called, if an axis is out of range or has two roles.

    Examples:
      >>> init = with_axes(jax.nn.initializers.orthogonal(), in_axis=(0, 1), out_axis=2)
      >>> w = init(jax.random.key(0), (2, 3, 6))
      >>> bool(jnp.allclose(jnp.einsum("abi,abj->ij", w, w), jnp.eye(6), atol=1e-6))
      True
    """
    roles = [
        ("in_axis", as_axes(in_axis)),
        ("out_axis", as_axes(out_axis)),
        ("batch_axis", as_axes(batch_axis)),
    ]

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        ins, outs, batch = (normalize_axes(name, axes, shape) for name, axes in roles)
        spatial = [a for a in range(len(shape)) if a not in {*ins, *outs, *batch}]
        order = (*batch, *spatial, *ins, *outs)
        kernel = (
            *(shape[a] for a in spatial),
            math.prod(shape[a] for a in ins),
            math.prod(shape[a] for a in outs),
        )
        if batch:
            count = math.prod(shape[a] for a in batch)
            drawn = draw_each(base, key, count, kernel, dtype)
        else:
            drawn = call_rounded(base, key, kernel, dtype)
        drawn = drawn.reshape([shape[a] for a in order])
        return jnp.transpose(drawn, np.argsort(order).tolist())

    def check_shape(shape: tuple[int, ...]) -> None:
        axes = [a for name, found in roles for a in normalize_axes(name, found, shape)]
        if len(set(axes)) != len(axes):
            raise ValueError(
                f"`in_axis`, `out_axis` and `batch_axis` are {in_axis}, {out_axis} and "
                f"{batch_axis}, which give an axis of the shape {shape} two roles. "
                "Name every axis once."
            )

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, by axes",
    )


@family
def from_einsum(
    equation: str, base: Initializer, dtype: DTypeLike | None = None
) -> Initializer:
    """Draws the kernel of an einsum as the matrix that the equation makes of it.

    ``base`` sees ``(in, out)``: the product of the axes that the equation sums over
    and that of the axes that it adds. Axes in all three terms are drawn one by one.

    Args:
      equation: ``"lhs,kernel->out"``, such as ``"BTD,DNH->BTNH"``.
      base: an initializer for kernels of shape ``(in, out)``.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the kernel.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: if the equation is not of this form, or, when called, if the shape
        has another number of axes than its kernel.

    Examples:
      >>> init = from_einsum("BTNH,NHD->BTD", jax.nn.initializers.orthogonal())
      >>> w = init(jax.random.key(0), (2, 4, 8)).reshape(8, 8)
      >>> bool(jnp.allclose(w @ w.T, jnp.eye(8), atol=1e-5))
      True
    """
    roles = einsum_roles(equation, name="equation")
    inner = with_axes(base, *roles)
    ndim = sum(map(len, roles))

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        return inner(key, shape, dtype)

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) != ndim:
            raise ValueError(
                f"`equation` {equation!r} gives its kernel {ndim} axes, but the shape "
                f"is {shape}. Initialize the kernel as the equation uses it."
            )

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, as the matrix of {equation}",
    )


def draw_each(
    base: Initializer,
    key: jax.Array,
    count: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> jax.Array:
    """``count`` draws of ``shape`` along a new first axis."""
    draw: Callable[[jax.Array], jax.Array] = jax.vmap(
        lambda k: call_rounded(base, k, shape, dtype)
    )
    return draw(jax.random.split(key, count))
