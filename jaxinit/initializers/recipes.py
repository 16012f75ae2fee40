"""The named recipes: one line each over :func:`variance_scaling`.

=================  =====  =======  ===================
name               scale  mode     distribution
=================  =====  =======  ===================
``lecun_normal``   1      fan_in   truncated_normal
``lecun_uniform``  1      fan_in   uniform
``glorot_normal``  1      fan_avg  truncated_normal
``glorot_uniform`` 1      fan_avg  uniform
``he_normal``      2      fan_in   truncated_normal
``he_uniform``     2      fan_in   uniform
=================  =====  =======  ===================

``xavier_*`` is ``glorot_*`` and ``kaiming_*`` is ``he_*``.
"""

from collections.abc import Sequence

from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers.variance_scaling import variance_scaling


def lecun_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""LeCun's normal initializer.

    Truncated normal samples of variance :math:`1 / \text{fan}_\text{in}`. Keeps the
    variance of the signal through a linear layer; with SELU through every layer.

    The normal is cut at two untruncated standard deviations and rescaled.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998, section 4.6. Klambauer
      et al., "Self-Normalizing Neural Networks", 2017, for SELU.
    """
    return variance_scaling(
        1.0,
        "fan_in",
        "truncated_normal",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


def lecun_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""LeCun's uniform initializer.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{3 / \text{fan}_\text{in}}`.
    Keeps the variance of the signal through a linear layer; with SELU through every
    layer.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998, section 4.6. Klambauer
      et al., "Self-Normalizing Neural Networks", 2017, for SELU.
    """
    return variance_scaling(
        1.0,
        "fan_in",
        "uniform",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


def glorot_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""Glorot's normal initializer. Also named ``xavier_normal``.

    Truncated normal samples of variance :math:`2 / (\text{fan}_\text{in} +
    \text{fan}_\text{out})`. A compromise between keeping the variance of the signal
    and that of the gradient, for layers that are linear around zero, such as tanh.

    The normal is cut at two untruncated standard deviations and rescaled.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      Glorot and Bengio, "Understanding the difficulty of training deep feedforward
      neural networks", 2010, eq. 12 and 16.
    """
    return variance_scaling(
        1.0,
        "fan_avg",
        "truncated_normal",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


def glorot_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""Glorot's uniform initializer. Also named ``xavier_uniform``.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{6 / (\text{fan}_\text{in} +
    \text{fan}_\text{out})}`. A compromise between keeping the variance of the
    signal and that of the gradient, for layers that are linear around zero, such as
    tanh.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      Glorot and Bengio, "Understanding the difficulty of training deep feedforward
      neural networks", 2010, eq. 12 and 16.
    """
    return variance_scaling(
        1.0,
        "fan_avg",
        "uniform",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


def he_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""He's normal initializer. Also named ``kaiming_normal``.

    Truncated normal samples of variance :math:`2 / \text{fan}_\text{in}`. Keeps the
    second moment of the signal through layers that end in a ReLU, which discards
    half of it.

    The normal is cut at two untruncated standard deviations and rescaled.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, eq. 10.
    """
    return variance_scaling(
        2.0,
        "fan_in",
        "truncated_normal",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


def he_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
) -> Initializer:
    r"""He's uniform initializer. Also named ``kaiming_uniform``.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{6 / \text{fan}_\text{in}}`.
    Keeps the second moment of the signal through layers that end in a ReLU, which
    discards half of it.

    Args:
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
      ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
        shape are not defined.

    References:
      He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, eq. 10.
    """
    return variance_scaling(
        2.0,
        "fan_in",
        "uniform",
        in_axis,
        out_axis,
        batch_axis,
        dtype,
        groups=groups,
        transpose=transpose,
        stride=stride,
    )


xavier_normal = glorot_normal
xavier_uniform = glorot_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform
