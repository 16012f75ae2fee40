"""Fans of a weight, read from the equation in which it meets data."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from jaxinit.layers.event import Use
from jaxinit.layers.facts import Fact
from jaxinit.program import versions
from jaxinit.program.axes import Layout, Shape
from jaxinit.program.primitives import CONTRACTIONS

Axes = tuple[int, ...]


class Roles(NamedTuple):
    """Which axes of a parameter are summed over, which ones number the outputs.

    Attributes:
      inputs, outputs, batch, taps: axes of the operand.
      groups: into how many groups a convolution splits its channels.
      channels: axes of the result along which the operand varies.
      is_weight: whether it has fans. A product without an axis to sum over is a gain.
      is_lookup: whether rows of a table are read.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: tuple[int, ...]
    taps: tuple[int, ...]
    groups: int
    channels: tuple[int, ...]
    is_weight: bool = True
    is_lookup: bool = False


def roles(equation: versions.Equation, operand: int) -> Roles | None:
    """The axes' roles if ``equation`` uses ``operand`` as a weight, else ``None``."""
    rank = len(equation.invars[operand].aval.shape)
    params = equation.params
    match equation.primitive.name:
        case "dot_general":
            return _product_roles(equation, operand, rank)
        case "conv_general_dilated" if operand == 1:
            spec = params["dimension_numbers"]
            out, into, *taps = spec.rhs_spec
            return Roles(
                (into,),
                (out,),
                (),
                tuple(taps),
                params["feature_group_count"],
                (spec.out_spec[1],),
            )
        case "ragged_dot" | "ragged_dot_general" if operand == 1 and rank == 3:
            result = len(equation.outvars[0].aval.shape)
            return Roles((1,), (2,), (0,), (), 1, (result - 1,))
        case "gather" if operand == 0:
            numbers = params["dimension_numbers"]
            rows = tuple(numbers.start_index_map)
            rest = tuple(i for i in range(rank) if i not in rows)
            channels = tuple(numbers.offset_dims)
            return Roles((), rest, rows, (), 1, channels, is_lookup=True)
    return None


def looked_up(role: Roles) -> Roles:
    """The role of a table that a product reads: the axis summed over numbers rows."""
    return role._replace(inputs=(), batch=role.inputs, is_lookup=True)


def is_product(equation: versions.Equation) -> bool:
    """Whether it may sum products of a weight with data."""
    return equation.primitive.name in CONTRACTIONS


def convolving(equation: versions.Equation) -> Roles | None:
    """The role of a transformed parameter that a product of spectra multiplies."""
    if equation.primitive.name != "mul":
        return None
    rank = len(equation.outvars[0].aval.shape)
    return Roles((), (), (), (), 1, tuple(range(rank))[-1:])


def summing(
    equation: versions.Equation,
    operand: int,
    layout: Layout | None,
    spread: Axes,
    summed: Axes,
) -> Roles | None:
    """The role of a factor whose products with data are then summed: a weight's.

    ``(x[..., None] * w).sum(-2)`` is ``x @ w``.

    Args:
      equation: the multiplication.
      operand: which of its operands is the parameter.
      layout: which of the leaf's axes lie along its axes.
      spread: the axes along which the data was repeated.
      summed: those that are summed over behind.
    """
    if layout is None or equation.primitive.name != "mul":
        return None
    shape: Shape = equation.invars[operand].aval.shape
    other: Shape = equation.invars[1 - operand].aval.shape
    mine = tuple(i for i, axes in enumerate(layout.axes) if axes and shape[i] > 1)
    spread = (*spread, *(i for i in mine if len(other) <= i or other[i] == 1))
    inputs = tuple(i for i in mine if i in summed and i not in spread)
    outputs = tuple(i for i in mine if i in spread and i not in summed)
    batch = tuple(i for i in mine if i not in (*summed, *spread))
    return Roles(inputs, outputs, batch, (), 1, outputs or batch) if inputs else None


def uses(
    equation: versions.Equation,
    operand: int,
    fact: Fact,
    found: Roles,
    shards: Mapping[int, Mapping[int, int]],
) -> list[Use]:
    """The uses of the parameter leaves that ``operand`` is made of.

    Args:
      equation: the equation.
      operand: which of its operands is the weight.
      fact: what is known of it.
      found: the roles of its axes.
      shards: for each leaf and its axes, over how many devices they are split.
    """
    shape: Shape = equation.invars[operand].aval.shape
    taps = math.prod(shape[i] for i in found.taps)
    # Between the entries of a dilated input are zeros: a strided transposed
    # convolution sums over that much fewer products. Where the stride does not divide
    # the window their number varies from output to output; this is the mean.
    zeros = math.prod(equation.params.get("lhs_dilation") or (1,))
    products = math.prod(shape[i] for i in found.inputs) * taps
    fan_in = products if zeros == 1 else max(1, round(products / zeros))
    fan_out = math.prod(shape[i] for i in found.outputs) * taps // found.groups
    fan_in, fan_out = fan_in * fact.spectrum, fan_out * fact.spectrum
    layout = fact.layout or Layout(tuple(sorted(fact.params)), tuple(() for _ in shape))

    def leaf_axes(axes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(a for i in axes for a in layout.axes[i]))

    def devices(leaf: int, axes: tuple[int, ...]) -> int:
        split = shards.get(leaf, {})
        return math.prod(split.get(axis, 1) for axis in leaf_axes(axes))

    batch = (*layout.scanned, *leaf_axes(found.batch))
    if found.is_lookup:
        batch = layout.scanned
    return [
        Use(
            leaf,
            fan_in * devices(leaf, (*found.inputs, *found.taps)),
            fan_out * devices(leaf, (*found.outputs, *found.taps)),
            leaf_axes(found.inputs),
            leaf_axes(found.outputs),
            batch,
            found.groups,
        )
        for leaf in layout.leaves
    ]


def _product_roles(equation: versions.Equation, operand: int, rank: int) -> Roles:
    contracting, batch = equation.params["dimension_numbers"]
    summed, stacked = tuple(contracting[operand]), tuple(batch[operand])
    free = tuple(i for i in range(rank) if i not in summed and i not in stacked)
    # A product's axes are: batch, those of the left operand, those of the right one.
    before = len(stacked)
    if operand == 1:
        left_rank = len(equation.invars[0].aval.shape)
        before += left_rank - len(contracting[0]) - len(batch[0])
    channels = (*range(len(stacked)), *range(before, before + len(free)))
    return Roles(summed, free, stacked, (), 1, channels, bool(summed))
