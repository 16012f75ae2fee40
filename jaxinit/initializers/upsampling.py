"""Convolutions that begin as plain upsampling, without checkerboard patterns."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._call import call_rounded, default_dtype
from jaxinit.initializers._check import (
    check_choice,
    check_count,
    check_rank,
)
from jaxinit.initializers._draw import from_maker, from_sampler
from jaxinit.initializers._value import family, law_of


@family
def icnr(
    base: Initializer,
    factor: int = 2,
    num_spatial: int = 2,
    block: Literal["fastest", "slowest"] = "fastest",
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Equal kernels for all sub-pixels, so that depth-to-space begins as a repeat.

    A convolution to :math:`r^d c` channels followed by a rearrangement of the channels
    into :math:`r^d` times as many pixels shows checkerboards when its kernels are
    independent. Here ``base`` draws :math:`c` kernels and each is repeated, which is
    nearest-neighbor upsampling of a convolution with ``base``'s kernel.

    Args:
      base: the initializer of the small kernel, ``(*spatial, in, out / r**d)``.
      factor: the upsampling factor :math:`r` along each axis.
      num_spatial: the number :math:`d` of axes that are upsampled.
      block: where the sub-pixel index is among the channels that the rearrangement
        splits: ``"fastest"`` for ``(channel, sub-pixel)``, as in PyTorch's pixel
        shuffle, ``"slowest"`` for ``(sub-pixel, channel)``, as in TensorFlow's
        depth-to-space.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer of the kernel ``(*spatial, in, out)``.

    Raises:
      TypeError: if ``base`` is not callable or a number not an integer.
      ValueError: if a number is below 1, ``block`` is unknown, or, when called, if
        the outputs are not a multiple of ``r**d``.

    Examples:
      >>> w = icnr(jax.nn.initializers.normal())(jax.random.key(0), (3, 3, 5, 8))
      >>> bool((w[..., 0] == w[..., 3]).all()), bool((w[..., 3] == w[..., 4]).all())
      (True, False)

    References:
      Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017,
      section 3.
    """
    check_count("factor", factor, "It is the upsampling factor along each axis.")
    check_count("num_spatial", num_spatial, "It counts the upsampled axes.")
    check_choice(
        "block",
        block,
        ("fastest", "slowest"),
        "It is where depth-to-space finds the sub-pixel.",
    )
    repeats = factor**num_spatial

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        small = call_rounded(base, key, (*shape[:-1], shape[-1] // repeats), dtype)
        if block == "fastest":
            return jnp.repeat(small, repeats, axis=-1)
        return jnp.concatenate([small] * repeats, axis=-1)

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or shape[-1] % repeats:
            raise ValueError(
                f"`shape` must be (*spatial, in, out) with outputs a multiple of "
                f"{repeats} = factor**num_spatial, got {shape}. Give the convolution "
                f"{repeats} times the channels that depth-to-space shall leave."
            )

    return from_maker(
        make,
        default_dtype(base, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(base)}, each repeated {repeats} times",
    )


@family
def bilinear_upsample(dtype: DTypeLike | None = None) -> Initializer:
    r"""Linear interpolation, channel by channel, for a transposed convolution.

    Along each spatial axis of size :math:`k` the taps are
    :math:`1 - |i - (k-1)/2| / f` with :math:`f = \lceil k/2 \rceil`, and taps of
    several axes are multiplied. With stride :math:`f` and :math:`k = 2f - f \bmod 2`
    the layer interpolates linearly by the factor :math:`f`. Channels do not mix: the
    kernel is diagonal in ``(in, out)``, or has one input each if depthwise.

    Published code centers the taps of other sizes off the middle; here every size is
    symmetric.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer of kernels ``(*spatial, in, out)`` with 1 to 3 spatial axes and
      ``in == out``, or ``in == 1`` for a depthwise one. It does not use its key.

    Raises:
      ValueError: when called, if the shape is not of this form.

    Examples:
      >>> bilinear_upsample()(jax.random.key(0), (4, 1, 1)).ravel()
      Array([0.25, 0.75, 0.75, 0.25], dtype=float32)

    References:
      Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015,
      section 3.3.
    """

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        *spatial, ins, outs = shape
        taps = np.ones(())
        for size in spatial:
            taps = np.multiply.outer(taps, _taps(size))
        # By comparison, not as a constant: it may have thousands of channels.
        diagonal = jnp.arange(ins)[:, None] == jnp.arange(outs)[None, :]
        channels = diagonal | (ins == 1)
        return jnp.asarray(taps, dtype)[..., None, None] * jnp.broadcast_to(
            channels.astype(dtype), (*[1] * len(spatial), ins, outs)
        )

    def check_shape(shape: tuple[int, ...]) -> None:
        check_rank(shape, range(3, 6), "It is (*spatial, in, out).")
        if shape[-2] not in (1, shape[-1]):
            raise ValueError(
                f"`shape` must have as many inputs as outputs, or a single input if "
                f"depthwise, got {shape[-2]} and {shape[-1]} in {shape}: channels are "
                "interpolated one by one."
            )

    law = "linear interpolation"
    return from_sampler(sampler, dtype, check_shape=check_shape, law=law)


def _taps(size: int) -> np.ndarray:
    positions = np.arange(size) - (size - 1) / 2
    return np.asarray(1 - np.abs(positions) / math.ceil(size / 2))
