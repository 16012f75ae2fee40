"""Kernels whose scale follows from the activation function."""

from collections.abc import Sequence

from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers._activations import Activation
from jaxinit.initializers._value import family
from jaxinit.initializers.gains import GainKind, calculate_gain
from jaxinit.initializers.variance_scaling import (
    Distribution,
    Mode,
    variance_scaling,
)


@family
def scaled_by_activation(
    activation: Activation,
    kind: GainKind = "second_moment",
    mode: Mode = "fan_in",
    distribution: Distribution = "truncated_normal",
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""Samples of variance :math:`g^2 / n` with the gain :math:`g` of ``activation``.

    He's rule for any elementwise function: with the default kind, a layer that is fed
    :math:`\phi(z)`, :math:`z \sim N(0, 1)`, gives outputs of second moment 1. For relu
    it is :func:`he_normal`, for the identity :func:`lecun_normal`.

    Args:
      activation: the function applied to the layer's *inputs*, that is, between the
        layer before and this one; a name or an elementwise JAX function.
      kind: the kind of gain, see :func:`calculate_gain`.
      mode: ``"fan_in"``, ``"fan_out"``, ``"fan_avg"`` or ``"fan_geo_avg"``. Use
        ``"fan_out"`` with ``kind="backward"`` to keep gradients.
      distribution: ``"truncated_normal"``, ``"normal"`` or ``"uniform"``.
      in_axis: the axes that are summed over.
      out_axis: the axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where none is given.
      groups: the number of groups of a grouped convolution.
      transpose: whether the kernel is stored as ``(*spatial, out, in)``.
      stride: the stride of a transposed convolution.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable.
      ValueError: if the gain does not exist, or as :func:`variance_scaling` does.

    Examples:
      >>> import jax
      >>> init = scaled_by_activation(jax.nn.gelu)
      >>> init(jax.random.key(0), (64, 32)).shape
      (64, 32)

    References:
      He et al., "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    return variance_scaling(
        calculate_gain(activation, kind) ** 2,
        mode,
        distribution,
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


@family
def self_normalizing(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Samples of :math:`N(0, 1/\text{fan-in})`, for layers between selu functions.

    With zero biases, mean 0 and variance 1 of the activations are a stable fixed
    point: whatever the input's, they approach it from layer to layer. It holds for
    selu alone. Dropout must be alpha dropout, which drops to
    :math:`-\lambda\alpha = -1.7580993408473766`, the value that selu saturates at.

    Args:
      in_axis: the axes that are summed over.
      out_axis: the axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      dtype: the dtype of the result where none is given.
      groups: the number of groups of a grouped convolution.

    Returns:
      An initializer.

    Examples:
      >>> import jax
      >>> w = self_normalizing()(jax.random.key(0), (256, 256))
      >>> round(float(w.std()) * 16, 1)
      1.0

    References:
      Klambauer et al., "Self-Normalizing Neural Networks", 2017, section 3.
    """
    return variance_scaling(
        1.0, "fan_in", "normal", in_axis, out_axis, batch_axis, dtype, groups=groups
    )
