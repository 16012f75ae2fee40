r"""How many inputs and outputs a weight connects."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxinit._typing import Axes
from jaxinit.initializers._check import (
    check_count,
    check_flag,
    check_integers,
    check_shape,
    shown,
)


class Fans(NamedTuple):
    """The number of inputs that one output sums, and the converse."""

    fan_in: float
    fan_out: float


class Roles(NamedTuple):
    """The axes of a kernel by what they do in its equation."""

    in_axis: tuple[int, ...]
    out_axis: tuple[int, ...]
    batch_axis: tuple[int, ...]


def fans(
    shape: Sequence[int],
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    *,
    groups: int = 1,
    transpose: bool = False,
    stride: int | Sequence[int] = 1,
    einsum: str | None = None,
) -> Fans:
    r"""The fan-in and fan-out of a kernel.

    With :math:`R` the product of the axes that have no role (the receptive field of a
    convolution),

    .. math::
      \text{fan}_\text{in} = R \prod \text{in} \big/ \prod s, \qquad
      \text{fan}_\text{out} = R \prod \text{out} \big/ \text{groups}.

    Args:
      shape: the kernel's shape, ``(*spatial, in, out)`` unless the axes say otherwise.
      in_axis: the axes that are summed over.
      out_axis: the axes of the outputs.
      batch_axis: axes along which independent kernels are stacked.
      groups: the number of groups of a grouped convolution, whose kernel already
        holds only ``in / groups`` inputs. A depthwise convolution has one group a
        channel.
      transpose: whether the kernel is stored as ``(*spatial, out, in)``, as by a
        transposed convolution with ``transpose_kernel=True``; it swaps the two axes.
      stride: the stride of a *transposed* convolution :math:`s`, one number or one a
        spatial axis: an output meets only :math:`R / \prod s` taps on average. One
        number holds for every axis without a role. Leave it at 1 for an ordinary
        convolution, whose outputs all see every tap.
      einsum: instead of the axes, the equation in which the kernel is the second
        operand, ``"BTD,DNH->BTNH"``.

    Returns:
      ``Fans(fan_in, fan_out)``, as floats.

    Raises:
      ValueError: if the shape has fewer than two axes and no explicit ``in_axis``, an
        axis is out of range, ``groups`` does not divide the outputs, or the equation
        does not fit the shape.

    Examples:
      >>> fans((3, 3, 16, 32))
      Fans(fan_in=144.0, fan_out=288.0)
      >>> fans((3, 3, 1, 64), groups=64)
      Fans(fan_in=9.0, fan_out=9.0)
      >>> fans((512, 8, 64), einsum="BTD,DNH->BTNH")
      Fans(fan_in=512.0, fan_out=512.0)

    References:
      Glorot and Bengio, "Understanding the difficulty of training deep feedforward
      neural networks", 2010, section 4.2. He et al., "Delving Deep into Rectifiers",
      2015, section 2.2, for convolutions.
    """
    shape = check_shape(shape)
    check_layout(groups, stride)
    transpose = check_flag("transpose", transpose)
    if einsum is not None:
        in_axis, out_axis, batch_axis = einsum_roles(einsum, len(shape))
    elif len(shape) < 2 and as_axes(in_axis) == (-2,):
        raise ValueError(
            f"The fans of a kernel of shape {shape} are not defined by the default "
            "axes, which need at least two. Pass `in_axis`, `out_axis` and "
            "`batch_axis` that name its axes, or use `normal` or `zeros`."
        )
    if transpose:
        in_axis, out_axis = out_axis, in_axis
    ins, outs, batch = (
        normalize_axes(name, axes, shape)
        for name, axes in [
            ("in_axis", in_axis),
            ("out_axis", out_axis),
            ("batch_axis", batch_axis),
        ]
    )
    if {*ins, *outs} & set(batch):
        # An axis of inputs that is one of outputs too is jax's law for embeddings.
        raise ValueError(
            f"`batch_axis` is {batch_axis}, which shares an axis with `in_axis` "
            f"{in_axis} or `out_axis` {out_axis}. Give an axis that counts kernels "
            "that role alone."
        )
    size = math.prod(shape)
    if size == 0:
        return Fans(0.0, 0.0)
    outputs = math.prod(shape[axis] for axis in outs)
    check_groups(groups, outputs, shape)
    # Dividing by the other roles, rather than multiplying by the receptive field, is
    # jax's law also where one axis has two roles: Flax's embedding uses
    # `fan_in` with `out_axis=0` for a variance of one over the features.
    batches = math.prod(shape[axis] for axis in batch)
    inputs = math.prod(shape[axis] for axis in ins)
    num_spatial = len(set(range(len(shape))) - {*ins, *outs, *batch})
    return Fans(
        fan_in=float(size / (outputs * batches) / _stride(stride, num_spatial)),
        fan_out=float(size / (inputs * batches) / groups),
    )


cached_fans = functools.lru_cache(maxsize=1024)(fans)
"""As :func:`fans`, for arguments that have a hash."""


def einsum_roles(equation: str, ndim: int | None = None, name: str = "einsum") -> Roles:
    """The roles of the axes of a kernel that is the second operand of an einsum.

    A letter of the kernel that the output lacks is summed over: an input. One that
    the output has and the first operand has not is an output. One in all three is a
    batch axis.

    Args:
      equation: ``"lhs,kernel->out"``, with an ellipsis at most in ``lhs`` and ``out``.
      ndim: the number of axes of the kernel, if it is to be checked.
      name: what the caller calls the equation.

    Returns:
      ``Roles(in_axis, out_axis, batch_axis)``.

    Raises:
      ValueError: if the equation is not of this form or does not fit ``ndim``.

    Examples:
      >>> einsum_roles("BTD,DNH->BTNH")
      Roles(in_axis=(0,), out_axis=(1, 2), batch_axis=())
      >>> einsum_roles("ebd,edf->ebf")
      Roles(in_axis=(1,), out_axis=(2,), batch_axis=(0,))
    """
    if not isinstance(equation, str):
        raise TypeError(
            f"`{name}` must be an equation such as 'BTD,DNH->BTNH', got "
            f"{shown(equation)}. It comes before the initializer."
        )
    terms = equation.replace(" ", "").replace("->", ",").split(",")
    letters = [term.replace("...", "") for term in terms]
    if (
        equation.count("->") != 1
        or len(terms) != 3
        or "." in terms[1]
        or not all(term.isalpha() or not term for term in letters)
        or len(set(letters[1])) != len(letters[1])
    ):
        raise ValueError(
            f"`{name}` must read 'lhs,kernel->out' with one distinct letter for each "
            f"axis of the kernel, got {equation!r}. An example is 'BTD,DNH->BTNH'."
        )
    data, kernel, out = letters
    if ndim is not None and len(kernel) != ndim:
        raise ValueError(
            f"`{name}` {equation!r} gives its kernel {kernel!r} {len(kernel)} axes, "
            f"but the shape has {ndim}."
        )
    lost = [letter for letter in kernel if letter not in out and letter not in data]
    if lost:
        raise ValueError(
            f"`{name}` {equation!r} has the letter {lost[0]!r} in its kernel alone. "
            "A letter of the kernel must be in the first operand or in the output."
        )
    axes = list(enumerate(kernel))
    return Roles(
        in_axis=tuple(axis for axis, letter in axes if letter not in out),
        out_axis=tuple(
            axis for axis, letter in axes if letter in out and letter not in data
        ),
        batch_axis=tuple(
            axis for axis, letter in axes if letter in out and letter in data
        ),
    )


def check_layout(groups: int, stride: int | Sequence[int]) -> None:
    """Raises unless ``groups`` and ``stride`` are positive integers."""
    check_count("groups", groups, "It counts the groups of a convolution.")
    advice = "It is the stride of a transposed convolution."
    for step in as_axes(check_integers("stride", stride, advice)):
        check_count("stride", step, advice)


def check_groups(groups: int, outputs: int, shape: tuple[int, ...]) -> None:
    """Raises unless ``groups`` is a positive divisor of the number of outputs."""
    if groups < 1 or outputs % groups:
        raise ValueError(
            f"`groups` must be positive and divide the {outputs} outputs of the "
            f"shape {shape}, got {groups}. Use the layer's own number of groups "
            "(`feature_group_count`), which is the number of channels for a "
            "depthwise convolution."
        )


def as_axes(axes: Axes) -> tuple[int, ...]:
    """The axes as a tuple."""
    found = check_integers("axes", axes, "Axes are counted from 0.")
    return (found,) if isinstance(found, int) else tuple(found)


def normalize_axes(name: str, axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes as distinct non-negative numbers, checked against the shape."""
    ndim = len(shape)
    advice = "Axes are counted from 0, or from -1 backwards."
    found = as_axes(check_integers(name, axes, advice))
    if any(not -ndim <= axis < ndim for axis in found):
        raise ValueError(
            f"`{name}` is {axes}, but the shape {shape} has {ndim} axes. Use axes "
            f"from {-ndim} to {ndim - 1}."
        )
    normalized = tuple(axis % ndim for axis in found)
    if len(set(normalized)) != len(normalized):
        raise ValueError(
            f"`{name}` is {axes}, which names an axis of the shape {shape} twice. "
            "Name every axis once."
        )
    return normalized


def _stride(stride: int | Sequence[int], num_spatial: int) -> int:
    given = check_integers("stride", stride, "It may differ by spatial axis.")
    steps = (given,) * num_spatial if isinstance(given, int) else tuple(given)
    if len(steps) != num_spatial:
        raise ValueError(
            f"`stride` must be a positive number or one for each of the {num_spatial} "
            f"spatial axes, got {stride}."
        )
    return math.prod(steps)
