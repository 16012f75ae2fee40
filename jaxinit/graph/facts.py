"""What is known of a value while a program is read: its color and its ancestry.

A value is a *parameter value* (computed from parameter leaves alone), a *data value*
(it depends on the inputs), or neither (constants, state, random numbers).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxinit.graph import compat

Shape = tuple[int, ...]
Path = tuple[tuple[int, int], ...]


class Layout(NamedTuple):
    """A parameter value that is parameter leaves, rearranged.

    Attributes:
      leaves: the leaves that the value holds; several if they were concatenated.
      axes: for each axis of the value, the axes of a leaf that lie along it.
      scanned: the axes of a leaf that enclosing scans have already sliced away,
        outermost first.
    """

    leaves: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    scanned: tuple[int, ...] = ()


class Location(NamedTuple):
    """A result of an equation, possibly inside the programs of other equations.

    Attributes:
      path: the way in, as pairs of an equation's index and which of its programs.
      equation: the equation's index in the innermost program.
      result: which of its results.
    """

    path: Path
    equation: int
    result: int = 0


class Unary(NamedTuple):
    """A value that is an elementwise function of one event's output.

    Attributes:
      event: that event.
      steps: names of the primitives or functions applied, in order.
      at: where the value is computed.
    """

    event: int
    steps: tuple[str, ...]
    at: Location

    @property
    def nonlinear(self) -> bool:
        return any(step not in LINEAR for step in self.steps)


class Fact(NamedTuple):
    """All that is known of one value.

    Attributes:
      data: whether it depends on the model's inputs.
      params: for a parameter value, the leaves that it is computed from.
      layout: set when it is parameter leaves, rearranged.
      up: for a data value, the events nearest upstream.
      of: the event whose output it is, up to layout and constant factors.
      unary: set when it is an elementwise function of an event's output.
      statistic: whether it is computed from reductions of data alone.
      scales: an event whose parameter scaled a statistic and waits to be applied.
      source: the input leaf that an integer value was taken from.
    """

    data: bool = False
    params: frozenset[int] = frozenset()
    layout: Layout | None = None
    up: frozenset[int] = frozenset()
    of: int | None = None
    unary: Unary | None = None
    statistic: bool = False
    scales: int | None = None
    source: int | None = None

    @property
    def is_param(self) -> bool:
        return bool(self.params) and not self.data

    @property
    def base(self) -> int | None:
        """The event that it is an elementwise function of, if any."""
        return self.unary.event if self.unary else self.of


NEITHER = Fact()

LAYOUT = frozenset(
    "broadcast_in_dim convert_element_type copy copy_p dynamic_slice expand_dims "
    "optimization_barrier reduce_precision reshape rev sharding_constraint slice "
    "squeeze stop_gradient transpose name pvary pcast reshard".split()
)
KEEPS_ELEMENTS = LAYOUT - {"broadcast_in_dim", "dynamic_slice", "slice"}
LINEAR = frozenset("convert_element_type copy mul div neg add sub dropout".split())
ELEMENTWISE = frozenset(
    "abs add add_any and asin asinh acos acosh atan atan2 atanh cbrt ceil clamp "
    "convert_element_type copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 "
    "floor ge gt imag integer_pow is_finite le lgamma log log1p logistic lt max min "
    "mul ne neg nextafter not or pow real reduce_precision rem round rsqrt select_n "
    "sign sin sinh sqrt square stop_gradient sub tan tanh xor copy_p".split()
)
REDUCTIONS = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax "
    "argmin".split()
)


def is_float(aval: Any) -> bool:
    """Whether values are floating point, jax's own narrow formats included."""
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not hasattr(aval, "shape"):
        return False
    if str(dtype).startswith(("bfloat16", "float8")):
        return True
    return isinstance(dtype, np.dtype) and np.issubdtype(dtype, np.inexact)


def has_float_result(equation: compat.Equation) -> bool:
    return any(is_float(v.aval) for v in equation.outvars)


def is_elementwise(program: compat.Program) -> bool:
    """Whether each equation of ``program`` works on its elements one by one."""
    for equation in program.jaxpr.eqns:
        name = equation.primitive.name
        if name in ELEMENTWISE:
            continue
        if name == "broadcast_in_dim" and not equation.invars[0].aval.shape:
            continue
        inner = compat.called_program(equation)
        if inner is None or name in compat.REMAT_CALLS or not is_elementwise(inner):
            return False
    return True


def rearranged(equation: compat.Equation, layout: Layout) -> Layout | None:
    """The layout of the result of a layout operation on a parameter value."""
    before: Shape = equation.invars[0].aval.shape
    after: Shape = equation.outvars[0].aval.shape
    axes = layout.axes
    match equation.primitive.name:
        case "transpose":
            new = tuple(axes[i] for i in equation.params["permutation"])
        case "broadcast_in_dim":
            placed = dict(
                zip(equation.params["broadcast_dimensions"], axes, strict=True)
            )
            new = tuple(placed.get(i, ()) for i in range(len(after)))
        case "squeeze":
            gone = {d % len(before) for d in equation.params["dimensions"]}
            new = tuple(a for i, a in enumerate(axes) if i not in gone)
        case "reshape":
            new = _reshaped(before, axes, after)
        case _:
            if len(before) != len(after):
                return None
            new = axes
    return layout._replace(axes=new)


def concatenated(layouts: Sequence[Layout | None]) -> Layout | None:
    """The layout of parameter values laid side by side, if they agree."""
    first = layouts[0]
    if first is None:
        return None
    leaves: list[int] = []
    for layout in layouts:
        if layout is None or layout[1:] != first[1:]:
            return None
        leaves += [leaf for leaf in layout.leaves if leaf not in leaves]
    return first._replace(leaves=tuple(leaves))


def _reshaped(
    before: Shape, axes: tuple[tuple[int, ...], ...], after: Shape
) -> tuple[tuple[int, ...], ...]:
    """Follows axes through a reshape, by the shortest groups of equal size."""
    new: list[tuple[int, ...]] = []
    for group_in, group_out in reshape_groups(before, after):
        merged = tuple(a for k in group_in for a in axes[k])
        for k in group_out:
            alone = len(group_out) == 1 or after[k] > 1
            new.append(merged if alone else ())
    return tuple(new)


def reshape_groups(
    before: Shape, after: Shape
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Axes that a reshape turns into each other: the shortest groups of equal size."""
    groups = []
    i = j = 0
    while j < len(after) or i < len(before):
        group_in, group_out = [i], [j]
        i, j = i + 1, j + 1
        size_in = math.prod(before[group_in[0] : i])
        size_out = math.prod(after[group_out[0] : j])
        while size_in != size_out and (i < len(before) or j < len(after)):
            if (size_in < size_out and i < len(before)) or j >= len(after):
                group_in.append(i)
                size_in *= before[i]
                i += 1
            else:
                group_out.append(j)
                size_out *= after[j]
                j += 1
        groups.append(
            (
                tuple(k for k in group_in if k < len(before)),
                tuple(k for k in group_out if k < len(after)),
            )
        )
    return groups


def union(facts: Sequence[Fact]) -> Fact:
    """What is known of a value computed from ``facts`` in some unknown way."""
    data = any(f.data for f in facts)
    params: frozenset[int] = frozenset().union(*(f.params for f in facts))
    up: frozenset[int] = frozenset().union(*(f.up for f in facts))
    return Fact(data=data, params=frozenset() if data else params, up=up)
