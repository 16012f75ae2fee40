"""Layers, and sums of products of data."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxinit.moments.combine import collapsed, combined
from jaxinit.moments.law import Law, normal, view, with_sources
from jaxinit.moments.pairs import alike, cosine
from jaxinit.moments.places import terms_by_place
from jaxinit.moments.sums import summed
from jaxinit.moments.values import (
    Context,
    Known,
    Product,
    Rearranged,
    Value,
    Weight,
    as_law,
)
from jaxinit.program import versions
from jaxinit.program.paths import Location

# Sums of fewer products are not taken as normal.
_FEW = 4


def product(
    context: Context, equation: versions.Equation, operands: Sequence[Value]
) -> Law:
    """A sum of products: a layer, or two values of data."""
    aval = equation.outvars[0].aval
    first, second = operands[:2]
    weights = [v for v in (first, second) if isinstance(v, Weight)]
    terms = _num_terms(equation)
    if len(weights) == 2:
        raise Rearranged(frozenset(leaf for w in weights for leaf, _ in w.of))
    if weights:
        (other,) = (v for v in (first, second) if not isinstance(v, Weight))
        met = as_law(other)
        counted, places = terms, None
        if context.inside and equation.primitive.name == "conv_general_dilated":
            terms = counted = _terms_inside(equation)
            if weights[0] is second:
                counted, places = terms_by_place(equation, met, terms)
        each = context.variance(weights[0], terms, met.second_moment)
        variance = each * counted * met.second_moment
        same = cosine(met) if context.inside else math.nan
        result = normal(0.0, variance, aval.shape, alike=same)
        result = with_sources(result, lambda s: replace(s, places=places))
        for source in result.sources:
            before = second if weights[0] is first else first
            sizes = _size(equation, before is second), math.prod(aval.shape)
            context.products[source.key] = Product(
                (context.path, context.at),
                met,
                each,
                terms,
                sizes,
                math.sqrt(variance),
            )
        return result
    for array, law in ((first, second), (second, first)):
        if isinstance(array, Known):
            return _with_known(equation, array.array, as_law(law), array is first)
    one, two = as_law(first), as_law(second)
    if one.keys & two.keys:
        two = view(two, "other")
    if terms > _FEW or equation.primitive.name != "dot_general":
        mean = one.mean * two.mean
        square = one.second_moment * two.second_moment
        return normal(terms * mean, terms * (square - mean**2), aval.shape)
    if terms > 1:
        one, two = collapsed(one), collapsed(two)
    left, right = _places(equation)
    law = combined(np.multiply, [_moved(one, left), _moved(two, right)])
    contracted = {axis: n for axis, n in left.values() if axis < 0}
    return summed(law, contracted) if terms > 1 else law


def _num_terms(equation: versions.Equation) -> float:
    """How many products are summed into each output."""
    first, second = (var.aval.shape for var in equation.invars[:2])
    params = equation.params
    match equation.primitive.name:
        case "dot_general":
            (left, _), _ = params["dimension_numbers"]
            return float(math.prod(first[axis] for axis in left))
        case "conv_general_dilated":
            _, into, *taps = params["dimension_numbers"].rhs_spec
            size = second[into] * math.prod(second[axis] for axis in taps)
            return float(size / math.prod(params["lhs_dilation"]))
        case "ragged_dot_general":
            (left, _), _ = params["ragged_dot_dimension_numbers"].dot_dimension_numbers
            return float(math.prod(first[axis] for axis in left))
    return float(first[-1])


def factor(
    context: Context, operands: Sequence[Value], shape: tuple[int, ...]
) -> Law | None:
    """A weight times data entry by entry, where the products are then summed.

    None if the program does no such thing with it.
    """
    weights = [v for v in operands if isinstance(v, Weight)]
    others = [as_law(v) for v in operands if not isinstance(v, Weight)]
    anchors = context.network.anchors
    number = anchors.event_at(Location(context.path, context.at or 0))
    uses = () if number is None else anchors.events[number].uses
    if len(weights) != 1 or len(others) != 1 or len(uses) != 1:
        return None
    met = others[0].second_moment
    return normal(0.0, context.variance(weights[0], uses[0].fan_in, met) * met, shape)


def _size(equation: versions.Equation, operand: int) -> int:
    return math.prod(equation.invars[operand].aval.shape)


def _terms_inside(equation: versions.Equation) -> float:
    """The mean number of taps of a convolution that meet neither padding nor gaps."""
    into = equation.params["dimension_numbers"].rhs_spec[1]
    total = float(equation.invars[1].aval.shape[into])
    for inside in taps_inside(equation):
        total *= float(inside.sum())
    return total


def taps_inside(equation: versions.Equation) -> list[np.ndarray]:
    """Along each axis and for each tap, how often it meets neither padding nor gaps."""
    params, found = equation.params, []
    numbers = params["dimension_numbers"]
    left, right = (var.aval.shape for var in equation.invars[:2])
    for axis, (before, _) in enumerate(params["padding"]):
        length = left[numbers.lhs_spec[2 + axis]]
        outputs = equation.outvars[0].aval.shape[numbers.out_spec[2 + axis]]
        taps = np.arange(right[numbers.rhs_spec[2 + axis]])
        starts = np.arange(outputs) * params["window_strides"][axis] - before
        place = starts[:, None] + taps * params["rhs_dilation"][axis]
        step = params["lhs_dilation"][axis]
        met = (place >= 0) & (place <= (length - 1) * step) & (place % step == 0)
        found.append(met.mean(axis=0))
    return found


def _with_known(
    equation: versions.Equation, array: np.ndarray, law: Law, is_first: bool
) -> Law:
    """Sums with known coefficients."""
    wide = np.asarray(array, np.float64)
    if equation.primitive.name == "dot_general":
        (left, right), _ = equation.params["dimension_numbers"]
        axes = tuple(left if is_first else right)
    else:
        out = equation.params["dimension_numbers"].rhs_spec[0]
        axes = tuple(axis for axis in range(wide.ndim) if axis != out)
        wide = wide / math.sqrt(math.prod(equation.params["lhs_dilation"]))
    sums, squares = wide.sum(axes), np.square(wide).sum(axes)
    mean = law.mean * float(sums.mean())
    varying, fixed = law.variance * squares.mean(), law.mean**2 * sums.var()
    variance = float(varying + fixed)
    same = float(varying * alike(law) + fixed) / variance if variance > 0 else 1.0
    return normal(mean, variance, equation.outvars[0].aval.shape, alike=same)


def _places(
    equation: versions.Equation,
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
    """For each operand's axes, the axis of the result and its size.

    Axes that are summed over are numbered -1, -2, ...
    """
    (lc, rc), (lb, rb) = equation.params["dimension_numbers"]
    first, second = (var.aval.shape for var in equation.invars[:2])
    left = {axis: (i, first[axis]) for i, axis in enumerate(lb)}
    right = {axis: (i, second[axis]) for i, axis in enumerate(rb)}
    count = len(lb)
    for axis in range(len(first)):
        if axis not in lb and axis not in lc:
            left[axis] = (count, first[axis])
            count += 1
    for axis in range(len(second)):
        if axis not in rb and axis not in rc:
            right[axis] = (count, second[axis])
            count += 1
    for number, (one, two) in enumerate(zip(lc, rc, strict=True), 1):
        left[one] = (-number, first[one])
        right[two] = (-number, second[two])
    return left, right


def _moved(law: Law, places: dict[int, tuple[int, int]]) -> Law:
    spread = tuple(frozenset(places[a][0] for a in axes) for axes in law.spread)
    return Law(law.values, law.sources, spread, (None,) * len(law.sources))
