"""Independent samples whose variance follows from the fans: the engine."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice
from jaxinit.initializers._value import Init, family, number_of
from jaxinit.initializers.fans import Fans, cached_fans, check_layout
from jaxinit.initializers.normal import complex_truncated_std, truncated_std

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution: TypeAlias = Literal["truncated_normal", "normal", "uniform"]


@family
def variance_scaling(
    scale: Scalar,
    mode: Mode,
    distribution: Distribution,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""Samples of mean 0 and variance :math:`\text{scale} / n`.

    :math:`n` is the fan-in, the fan-out, or their arithmetic or geometric average,
    as :func:`fans` counts them. ``"truncated_normal"`` is cut at two of its
    untruncated standard deviations and then scaled up, so that its variance is right;
    ``"uniform"`` has the bound :math:`\sqrt{3\,\text{scale} / n}`. Complex samples
    have :math:`E|w|^2 = \text{scale} / n`, and are cut by modulus or uniform on a
    disk. (jax divides complex truncated samples by 0.9531, which leaves them 0.9%
    too large; here it is the right 0.96196183.)

    Where the layer flattens its kernel, the visible fans are not the real ones.
    ``DenseGeneral`` with ``batch_dims`` of total size :math:`B` shows a fan-in that is
    :math:`B` times too large: multiply ``scale`` by :math:`B`.

    Args:
      scale: the variance of an output relative to that of the inputs, at least 0: 1
        for a linear layer, 2 before a ReLU, :math:`2/(1+a^2)` before a leaky ReLU of
        slope :math:`a`.
      mode: ``"fan_in"``, ``"fan_out"``, ``"fan_avg"`` or ``"fan_geo_avg"``.
      distribution: ``"truncated_normal"``, ``"normal"`` or ``"uniform"``.
      in_axis: the axis or axes that are summed over.
      out_axis: the axis or axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where the caller gives none.
      groups: the number of groups of a grouped convolution.
      transpose: whether the kernel is stored as ``(*spatial, out, in)``.
      stride: the stride of a transposed convolution.

    Returns:
      An initializer for shapes of two axes or more (or any, with explicit axes).

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``mode``,
        ``distribution`` or ``dtype`` is unknown; when called, if the fans of the
        shape are not defined.

    Examples:
      >>> init = variance_scaling(2.0, "fan_in", "normal")
      >>> init(jax.random.key(0), (3, 3, 16, 32)).shape
      (3, 3, 16, 32)

    References:
      Glorot and Bengio, "Understanding the difficulty of training deep feedforward
      neural networks", 2010, section 4.2. He, Zhang, Ren and Sun, "Delving Deep into
      Rectifiers", 2015, section 2.2.
    """
    scale = _draw.check_scale(
        "scale", scale, "variance of an output for inputs of variance 1"
    )
    check_choice("mode", mode, tuple(_MODES), "It says by which fan to divide.")
    advice = "They have one variance and differ in their tails."
    check_choice("distribution", distribution, tuple(_DISTRIBUTIONS), advice)
    check_layout(groups, stride)

    def get_fans(shape: tuple[int, ...]) -> Fans:
        return cached_fans(
            shape,
            in_axis,
            out_axis,
            batch_axis,
            groups=groups,
            transpose=transpose,
            stride=stride,
        )

    words = f"{distribution.replace('_', ' ')}, variance {number_of(scale)}/{mode}"
    broadcasting = _draw.broadcasting("scale", scale)

    def law(get_fans: Callable[[tuple[int, ...]], Fans]) -> Init:
        def check_shape(shape: tuple[int, ...]) -> None:
            get_fans(shape)
            if broadcasting is not None:
                broadcasting(shape)

        def make(
            key: jax.Array,
            shape: tuple[int, ...],
            dtype: np.dtype,
            sharding: NamedSharding | None,
        ) -> jax.Array:
            variance = scale / _MODES[mode](get_fans(shape))
            std = (
                jnp.sqrt(variance)
                if isinstance(variance, jax.Array)
                else math.sqrt(variance)
            )
            return _DISTRIBUTIONS[distribution](key, shape, dtype, std, sharding)

        return _draw.from_maker(
            make,
            dtype,
            check_shape=check_shape,
            law=words,
            refit=lambda given: law(lambda _: given),
        )

    return law(get_fans)


def _truncated(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    std: Scalar,
    sharding: NamedSharding | None,
) -> jax.Array:
    if _draw.is_complex(dtype):
        scale = std / complex_truncated_std(2.0)
        return _draw.complex_disk(key, shape, dtype, scale, 2.0, sharding)
    scale = std / truncated_std(-2.0, 2.0)
    return _draw.truncated_normal(key, shape, dtype, scale, -2.0, 2.0, sharding)


def _uniform(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    std: Scalar,
    sharding: NamedSharding | None,
) -> jax.Array:
    if _draw.is_complex(dtype):
        return _draw.complex_disk(key, shape, dtype, std, None, sharding)
    bound = std * math.sqrt(3)
    return _draw.uniform(key, shape, dtype, -1.0, 1.0, bound, sharding)


_MODES: dict[str, Callable[[Fans], float]] = {
    "fan_in": lambda f: f.fan_in,
    "fan_out": lambda f: f.fan_out,
    "fan_avg": lambda f: (f.fan_in + f.fan_out) / 2,
    "fan_geo_avg": lambda f: math.sqrt(f.fan_in * f.fan_out),
}
_DISTRIBUTIONS: dict[str, Callable[..., jax.Array]] = {
    "truncated_normal": _truncated,
    "normal": _draw.normal,
    "uniform": _uniform,
}
