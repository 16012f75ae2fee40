"""How the axes of an array move through operations that only rearrange it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxinit.program import versions

Shape = tuple[int, ...]


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


def rearranged(equation: versions.Equation, layout: Layout) -> Layout | None:
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
