"""Convolutions that are orthogonal maps and use all of their taps."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import shown
from jaxinit.initializers._value import family, times
from jaxinit.initializers.delta_orthogonal import check_convolution
from jaxinit.initializers.orthogonal import orthogonal_matrices, scaled


@family
def convolutional_orthogonal(
    scale: Scalar = 1.0, dtype: DTypeLike | None = None
) -> Initializer:
    r"""A convolution that keeps the norm of its input, with weights at every tap.

    A product of polynomials: along each spatial axis of size :math:`k` an orthogonal
    matrix :math:`H` is followed by :math:`k - 1` convolutions of two taps,

    .. math::
      W(z) = H \prod_i \bigl(P_i + (1 - P_i) z_{a(i)}\bigr),

    each with an orthogonal projector :math:`P_i` of half the rank. With circular
    padding and stride 1 all singular values of the convolution are ``scale``; with
    zeros beyond the border some are smaller, none larger. Where there are more inputs
    than outputs, the adjoint keeps the norm.

    It is for networks that must keep their Lipschitz constant and mix neighbors from
    the start. Signals spread by up to :math:`k - 1` pixels in each layer; where depth
    alone matters, :func:`delta_orthogonal` trains deeper.

    Args:
      scale: the singular values of the convolution, at least 0.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes ``(*spatial, in, out)`` with one to three spatial axes.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is an integer
        dtype; when called, if the shape has another number of axes.

    Examples:
      >>> w = convolutional_orthogonal()(jax.random.key(0), (3, 4, 4))
      >>> gains = jnp.linalg.svd(jnp.fft.fft(w, axis=0), compute_uv=False)
      >>> bool(jnp.allclose(gains, 1, atol=1e-5))
      True

    References:
      Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, "Dynamical Isometry and a
      Mean Field Theory of CNNs", 2018, algorithm 1. Li, Haque, Anil, Lucas, Grosse and
      Jacobsen, "Preventing Gradient Attenuation in Lipschitz Constrained Convolutional
      Networks", 2019, section 4, for the rank of the projectors. That a projector and
      its complement are as likely, and sizes that differ by axis, are ours.
    """
    scale = _draw.check_scale("scale", scale, "common value of the singular values")
    if np.ndim(scale):
        raise TypeError(f"`scale` must be a number, got {shown(scale)}.")

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        *spatial, inputs, outputs = shape
        channels = max(inputs, outputs)
        key_matrix, key_factors = jax.random.split(key)
        steps = [
            axis
            for step in range(1, max(spatial))
            for axis, size in enumerate(spatial)
            if step < size
        ]
        kernel = jnp.eye(channels, dtype=dtype).reshape(
            *[1] * len(spatial), channels, channels
        )
        projectors = _projectors(key_factors, len(steps), channels, dtype)
        for axis, projector in zip(steps, projectors, strict=True):
            kernel = _with_two_taps(kernel, projector, axis)
        w = orthogonal_matrices(key_matrix, (), inputs, outputs, dtype)
        w = jnp.broadcast_to(w, (*spatial, inputs, outputs))
        product = _matmul(w, kernel) if inputs < outputs else _matmul(kernel, w)
        return scaled(product, scale)

    law = f"{times(scale, 'orthogonal')} convolution"
    return _draw.from_sampler(sample, dtype, check_shape=check_convolution, law=law)


def _projectors(key: jax.Array, count: int, size: int, dtype: np.dtype) -> jax.Array:
    """Independent projectors onto half of the directions, or onto the others."""
    if count == 0:
        return jnp.zeros((0, size, size), dtype)
    key_basis, key_side = jax.random.split(key)
    basis = orthogonal_matrices(key_basis, (count,), size, max(size // 2, 1), dtype)
    basis = basis[..., : size // 2]
    one_side = _matmul(basis, jnp.conj(basis.mT))
    eye = jnp.broadcast_to(jnp.eye(size, dtype=dtype), one_side.shape)
    flip = jax.random.bernoulli(key_side, shape=(count, 1, 1))
    return jnp.where(flip, eye - one_side, one_side)


def _with_two_taps(kernel: jax.Array, projector: jax.Array, axis: int) -> jax.Array:
    """The kernel followed by the projector at its tap, the rest at the next."""
    last = jnp.broadcast_to(projector, kernel.shape)
    first = _matmul(kernel, last)
    second = kernel - first

    def padded(x: jax.Array, before: int) -> jax.Array:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (before, 1 - before)
        return jnp.pad(x, widths)

    return padded(first, 0) + padded(second, 1)


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
