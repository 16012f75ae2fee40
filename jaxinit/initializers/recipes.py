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

import inspect
from collections.abc import Sequence
from typing import Protocol

from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer
from jaxinit.initializers._value import family
from jaxinit.initializers.variance_scaling import Distribution, Mode, variance_scaling

_ARGUMENTS = """Args:
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
  TypeError: if an argument is not of its type.
  ValueError: if ``dtype`` is an integer dtype; when called, if the fans of the
    shape are not defined.

References:
  """


class Recipe(Protocol):
    """What every recipe takes."""

    def __call__(
        self,
        in_axis: Axes = -2,
        out_axis: Axes = -1,
        batch_axis: Axes = (),
        dtype: DTypeLike | None = None,
        *,
        groups: int = 1,
        transpose: bool = False,
        stride: int | Sequence[int] = 1,
    ) -> Initializer: ...


def _recipe(
    name: str, scale: float, mode: Mode, distribution: Distribution, *doc: str
) -> Recipe:
    """A factory of that name, documented by a text and its source."""

    def recipe(
        in_axis: Axes = -2,
        out_axis: Axes = -1,
        batch_axis: Axes = (),
        dtype: DTypeLike | None = None,
        *,
        groups: int = 1,
        transpose: bool = False,
        stride: int | Sequence[int] = 1,
    ) -> Initializer:
        axes = in_axis, out_axis, batch_axis
        return variance_scaling(
            scale,
            mode,
            distribution,
            *axes,
            dtype,
            groups=groups,
            transpose=transpose,
            stride=stride,
        )

    text, source = doc
    recipe.__name__ = recipe.__qualname__ = name
    recipe.__doc__ = f"{inspect.cleandoc(text)}\n\n{_ARGUMENTS}{source}\n"
    return family(recipe)


_LECUN = """LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998, section 4.6.
  Klambauer et al., "Self-Normalizing Neural Networks", 2017, for SELU."""
_GLOROT = """Glorot and Bengio, "Understanding the difficulty of training deep
  feedforward neural networks", 2010, eq. 12 and 16."""
_HE = """He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, eq. 10."""


lecun_normal = _recipe(
    "lecun_normal",
    1.0,
    "fan_in",
    "truncated_normal",
    r"""LeCun's normal initializer.

    Truncated normal samples of variance :math:`1 / \text{fan}_\text{in}`. Keeps the
    variance of the signal through a linear layer; with SELU through every layer.

    The normal is cut at two untruncated standard deviations and rescaled.
    """,
    _LECUN,
)
lecun_uniform = _recipe(
    "lecun_uniform",
    1.0,
    "fan_in",
    "uniform",
    r"""LeCun's uniform initializer.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{3 / \text{fan}_\text{in}}`.
    Keeps the variance of the signal through a linear layer; with SELU through every
    layer.
    """,
    _LECUN,
)
glorot_normal = _recipe(
    "glorot_normal",
    1.0,
    "fan_avg",
    "truncated_normal",
    r"""Glorot's normal initializer. Also named ``xavier_normal``.

    Truncated normal samples of variance :math:`2 / (\text{fan}_\text{in} +
    \text{fan}_\text{out})`. A compromise between keeping the variance of the signal
    and that of the gradient, for layers that are linear around zero, such as tanh.

    The normal is cut at two untruncated standard deviations and rescaled.
    """,
    _GLOROT,
)
glorot_uniform = _recipe(
    "glorot_uniform",
    1.0,
    "fan_avg",
    "uniform",
    r"""Glorot's uniform initializer. Also named ``xavier_uniform``.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{6 / (\text{fan}_\text{in} +
    \text{fan}_\text{out})}`. A compromise between keeping the variance of the
    signal and that of the gradient, for layers that are linear around zero, such as
    tanh.
    """,
    _GLOROT,
)
he_normal = _recipe(
    "he_normal",
    2.0,
    "fan_in",
    "truncated_normal",
    r"""He's normal initializer. Also named ``kaiming_normal``.

    Truncated normal samples of variance :math:`2 / \text{fan}_\text{in}`. Keeps the
    second moment of the signal through layers that end in a ReLU, which discards
    half of it.

    The normal is cut at two untruncated standard deviations and rescaled.
    """,
    _HE,
)
he_uniform = _recipe(
    "he_uniform",
    2.0,
    "fan_in",
    "uniform",
    r"""He's uniform initializer. Also named ``kaiming_uniform``.

    Samples of :math:`U[-b, b)` with :math:`b = \sqrt{6 / \text{fan}_\text{in}}`.
    Keeps the second moment of the signal through layers that end in a ReLU, which
    discards half of it.
    """,
    _HE,
)


xavier_normal = glorot_normal
xavier_uniform = glorot_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform
