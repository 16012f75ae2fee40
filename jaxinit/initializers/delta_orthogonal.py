"""Convolutions that are orthogonal maps."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import shown
from jaxinit.initializers._value import family, times
from jaxinit.initializers.orthogonal import orthogonal_matrices, scaled


@family
def delta_orthogonal(
    scale: Scalar = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    *,
    projection: bool = False,
) -> Initializer:
    r"""An orthogonal matrix at the center tap of a convolution, zero elsewhere.

    With stride 1 and as many output channels as inputs or more, the convolution keeps
    the norm of its input up to ``scale``. The center is tap :math:`(k - 1) // 2`,
    which padding ``"SAME"`` aligns with the output for even :math:`k` too.

    Args:
      scale: the singular values of the convolution, at least 0.
      column_axis: for agreement with jax, ``-1`` or ``-2``: the axis of the columns
        among the last two. Both give the same law.
      dtype: the dtype of the result where the caller gives none.
      projection: whether to allow more inputs than outputs. The convolution then
        projects onto as many orthonormal directions as it has outputs, and keeps only
        that share of the norm.

    Returns:
      An initializer for shapes ``(*spatial, in, out)`` with one to three spatial axes.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``column_axis`` or
        ``dtype`` is not supported; when called, if the shape has another number of
        axes, or more inputs than outputs without ``projection``.

    Examples:
      >>> w = delta_orthogonal()(jax.random.key(0), (3, 3, 4, 8))
      >>> bool(jnp.allclose(w[1, 1] @ w[1, 1].T, jnp.eye(4), atol=1e-5))
      True

    References:
      Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, "Dynamical Isometry and a
      Mean Field Theory of CNNs", 2018, section 3.3 and algorithm 1. The projection is
      an extension.
    """
    scale = _draw.check_scale("scale", scale, "common value of the singular values")
    if np.ndim(scale):
        raise TypeError(f"`scale` must be a number, got {shown(scale)}.")
    if column_axis not in (-2, -1):
        raise ValueError(
            "`column_axis` must be -1 or -2, one of the two channel axes, got "
            f"{column_axis}."
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        check_convolution(shape)
        inputs, outputs = shape[-2:]
        if inputs > outputs and not projection:
            raise ValueError(
                f"`shape` {shape} has more inputs ({inputs}) than outputs "
                f"({outputs}), so no kernel keeps the norm. Pass `projection=True` "
                "for a semi-orthogonal projection."
            )

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        rows, cols = shape[-2:]
        if column_axis == -1:
            w = orthogonal_matrices(key, (), rows, cols, dtype, sharding)
        else:
            w = orthogonal_matrices(key, (), cols, rows, dtype, sharding).mT
        return at_center(scaled(w, scale), shape)

    law = f"{times(scale, 'orthogonal')}, at the center tap"
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


def at_center(matrix: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A convolution kernel of the shape with the matrix at its center tap.

    It is padded rather than written into zeros, which would gather a sharded kernel.

    Args:
      matrix: the center tap, ``(in, out)``.
      shape: ``(*spatial, in, out)``.

    Returns:
      The kernel.
    """
    spatial = shape[:-2]
    before = [(size - 1) // 2 for size in spatial]
    padding = [
        *((low, size - 1 - low) for low, size in zip(before, spatial, strict=True)),
        (0, 0),
        (0, 0),
    ]
    return jnp.pad(matrix.reshape((1,) * len(spatial) + matrix.shape), padding)


def check_convolution(shape: tuple[int, ...]) -> None:
    """Raises unless the shape is that of a convolution with 1 to 3 spatial axes."""
    if len(shape) not in (3, 4, 5):
        raise ValueError(
            "`shape` must be `(*spatial, in, out)` with one to three spatial axes, got "
            f"{shape}. Use `orthogonal` or `identity` for a matrix."
        )


def check_odd(shape: tuple[int, ...]) -> None:
    """Raises if a spatial axis has an even size, and so no center."""
    if any(size % 2 == 0 for size in shape[:-2]) and 0 not in shape:
        raise ValueError(
            "`shape` must have odd spatial sizes, which have a center tap, got "
            f"{shape}. Use a kernel of another size, or `delta_orthogonal`, which "
            "takes the tap before the middle."
        )
