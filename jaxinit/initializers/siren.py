"""Networks with sine activations, for signals given as functions of coordinates."""

import math

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_number
from jaxinit.initializers._value import family
from jaxinit.initializers.fans import fans


@family
def siren(
    w0: float = 30.0,
    is_first: bool = False,
    c: float = 6.0,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Uniform kernels for layers :math:`\sin(\omega_0 (W x + b))`.

    The bound is :math:`\sqrt{c / \text{fan-in}} / \omega_0`, and
    :math:`1 / \text{fan-in}` in the first layer, whose inputs are coordinates in
    :math:`[-1, 1]`. Activations then keep one distribution at every depth: after the
    first layer they are nearly arcsine, of variance 1/2, and the second moment of
    :math:`\omega_0 W x` settles at 0.79681213, where :math:`q = 1 - e^{-2q}`. The
    layer must multiply by :math:`\omega_0`; for biases, take
    :func:`fan_in_uniform_bias`.

    Args:
      w0: the frequency :math:`\omega_0` of the layer, above 0.
      is_first: whether the layer takes the coordinates.
      c: the number under the root. With 6, inputs of second moment :math:`m` give
        :math:`\omega_0 W x` the variance :math:`2 m`.
      in_axis: the axes that are summed over.
      out_axis: the axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``w0`` or ``c`` is not a number.
      ValueError: if ``w0`` or ``c`` is not positive, or, when called, if the fan-in
        of the shape is not defined.

    Examples:
      >>> w = siren(is_first=True)(jax.random.key(0), (2, 256))
      >>> bool(abs(w).max() <= 0.5)
      True

    References:
      Sitzmann et al., "Implicit Neural Representations with Periodic Activation
      Functions", 2020, section 3.2 and supplement 1.5.
    """
    w0 = check_number("w0", w0, "It is the frequency: 30 in the paper.", low=0)
    c = check_number("c", c, "It sets the bound sqrt(c / fan_in): 6.", low=0)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        fan_in = fans(shape, in_axis, out_axis, batch_axis).fan_in
        bound = 1 / fan_in if is_first else math.sqrt(c / fan_in) / w0
        return _draw.uniform(key, shape, dtype, -1.0, 1.0, bound, sharding)

    def check_shape(shape: tuple[int, ...]) -> None:
        fans(shape, in_axis, out_axis, batch_axis)

    bound = "1/fan_in" if is_first else f"sqrt({c:g}/fan_in)/{w0:g}"
    return _draw.from_maker(
        make,
        dtype,
        check_shape=check_shape,
        kinds="real",
        law=f"uniform, bound {bound}",
    )
