"""Kernels scaled by their aspect ratio, orthogonal and normal."""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import shown
from jaxinit.initializers._value import Init, family, times
from jaxinit.initializers.delta_orthogonal import (
    at_center,
    check_convolution,
    check_odd,
)
from jaxinit.initializers.orthogonal import (
    matrix_axes,
    orthogonal_kernel,
    orthogonal_matrices,
    scaled,
)


@family
def scaled_orthogonal(
    scale: Scalar = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    *,
    delta: bool = False,
) -> Initializer:
    r"""Scale-corrected uniform orthogonal (SUO) kernels.

    An orthogonal kernel times :math:`\max(\sqrt{\text{out} / \text{in}}, 1)`. Where
    there are as many outputs as inputs or more, the mean square of the output is
    exactly :math:`\text{scale}^2` times that of the input; otherwise it is so on
    average over kernels. Biases should be zero.

    Args:
      scale: a factor for the result, at least 0.
      column_axis: the axis of the outputs; all other axes together are the inputs.
      dtype: the dtype of the result where the caller gives none.
      delta: whether the kernel is a convolution ``(*spatial, in, out)`` of odd sizes
        and only its center tap is used, as the paper does. ``column_axis`` is then -1.

    Returns:
      An initializer for shapes of two axes or more; three to five with ``delta``.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, ``dtype`` is an integer
        dtype, or ``delta`` is combined with another ``column_axis``; when called, if
        the shape does not fit.

    Examples:
      >>> x = jax.numpy.ones((4,))
      >>> y = x @ scaled_orthogonal()(jax.random.key(0), (4, 16))
      >>> round(float((y**2).mean()), 4)
      1.0

    References:
      Martens, Ballard, Desjardins, Swirszcz, Dalibard, Sohl-Dickstein and Schoenholz,
      "Rapid training of deep neural networks without skip connections or
      normalization layers using Deep Kernel Shaping", 2021, section 3 and appendix B.
    """
    scale = _scalar_scale(scale, "factor of the corrected kernel")
    law = times(scale, "orthogonal, times max(sqrt(out/in), 1)")
    if not delta:
        widening = functools.partial(max, 1.0)
        return _by_aspect(scale, column_axis, dtype, widening, law)
    if column_axis != -1:
        raise ValueError(
            "`column_axis` must be -1 with `delta=True`, whose kernels are "
            f"`(*spatial, in, out)`, got {column_axis}."
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        check_convolution(shape)
        check_odd(shape)

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        inputs, outputs = shape[-2:]
        w = orthogonal_matrices(key, (), inputs, outputs, dtype, sharding)
        return at_center(scaled(w, scale * max(math.sqrt(outputs / inputs), 1)), shape)

    return _draw.from_sampler(
        sample, dtype, check_shape=check_shape, law=f"{law}, at the center tap"
    )


@family
def spectral_orthogonal(
    scale: Scalar = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None
) -> Initializer:
    r"""Orthogonal kernels of spectral norm :math:`\sqrt{\text{out} / \text{in}}`.

    The largest kernel under which vectors of root mean square 1 stay so, whatever the
    widths. All other axes than ``column_axis`` together are the inputs.

    Args:
      scale: a factor for the result, at least 0.
      column_axis: the axis of the outputs.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes of two axes or more.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is an integer
        dtype; when called, if the shape has fewer than two axes.

    Examples:
      >>> w = spectral_orthogonal()(jax.random.key(0), (16, 4))
      >>> round(float(jax.numpy.linalg.norm(w, 2)), 4)
      0.5

    References:
      Yang, Simon and Bernstein, "A Spectral Condition for Feature Learning", 2023,
      condition 1. Large et al., "Scalable Optimization in the Modular Norm", 2024.
    """
    scale = _scalar_scale(scale, "factor of the spectral norm")
    law = times(scale, "orthogonal, times sqrt(out/in)")
    return _by_aspect(scale, column_axis, dtype, lambda ratio: ratio, law)


@family
def spectral_normal(
    scale: Scalar = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None
) -> Initializer:
    r"""Normal kernels of spectral norm near :math:`\sqrt{\text{out} / \text{in}}`.

    The standard deviation is
    :math:`\sqrt{\text{out}/\text{in}} / (\sqrt{\text{in}} + \sqrt{\text{out}})`,
    since the largest singular value of a normal matrix is close to the deviation times
    that sum, the closer the larger it is. As :func:`spectral_orthogonal` it is for
    training whose updates have the same norm, as Muon's do; it costs no factorization,
    and its smaller singular values spread down to those of a normal matrix.

    Args:
      scale: a factor for the result, at least 0.
      column_axis: the axis of the outputs; all other axes together are the inputs.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes of two axes or more.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is an integer
        dtype; when called, if the shape has fewer than two axes.

    Examples:
      >>> w = spectral_normal()(jax.random.key(0), (400, 100))
      >>> round(float(jax.numpy.linalg.norm(w, 2)), 1)
      0.5

    References:
      Yang, Simon and Bernstein, "A Spectral Condition for Feature Learning", 2023,
      parametrization 1, whose order of magnitude this makes a value. Large et al.,
      "Scalable Optimization in the Modular Norm", 2024.
    """
    scale = _scalar_scale(scale, "factor of the spectral norm")

    def check_shape(shape: tuple[int, ...]) -> None:
        matrix_axes(shape, column_axis, ())

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        outputs = shape[column_axis]
        inputs = math.prod(shape) // outputs
        std = math.sqrt(outputs / inputs) / (math.sqrt(inputs) + math.sqrt(outputs))
        return _draw.normal(key, shape, dtype, scale * std, sharding)

    law = times(scale, "normal, spectral norm sqrt(out/in)")
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


def _scalar_scale(scale: Scalar, meaning: str) -> Scalar:
    """The scale, which must not have axes: it multiplies singular values."""
    found = _draw.check_scale("scale", scale, meaning)
    if np.ndim(found):
        raise TypeError(f"`scale` must be a number, got {shown(scale)}.")
    return found


def _by_aspect(
    scale: Scalar,
    column_axis: int,
    dtype: DTypeLike | None,
    factor: Callable[[float], float],
    law: str,
) -> Init:
    """Orthogonal kernels times a function of the root of outputs over inputs."""

    def check_shape(shape: tuple[int, ...]) -> None:
        matrix_axes(shape, column_axis, ())

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        outputs = shape[column_axis]
        ratio = math.sqrt(outputs**2 / math.prod(shape))
        w = orthogonal_kernel(key, shape, column_axis, (), dtype, sharding)
        return scaled(w, scale * factor(ratio))

    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)
