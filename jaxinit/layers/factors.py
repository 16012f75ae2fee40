"""Kernels that are products of parameters: which factor faces the data, and its fans.

``x @ (A @ B)`` is ``(x @ A) @ B``; and in the derivative of a network the last layers'
kernels are multiplied with each other, and with a constant, before data meet them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxinit.program import versions
from jaxinit.program.axes import Layout, Shape, rearranged

Axes = tuple[int, ...]


class Factor(NamedTuple):
    """A kernel of a product.

    Attributes:
      leaf: the parameter leaf.
      near, far: its axes towards the product's two ends.
      sizes: how many entries lie along both.
      scanned: its axes that enclosing scans have sliced away.
    """

    leaf: int
    near: Axes
    far: Axes
    sizes: tuple[int, int]
    scanned: Axes

    def turned(self) -> "Factor":
        near, far = self.sizes
        return self._replace(near=self.far, far=self.near, sizes=(far, near))


class Transform(NamedTuple):
    """A kernel one axis of which a square constant mixes, as a Fourier transform does.

    Attributes:
      layout: which of its axes lie along which of the value's.
      axis: the axis that is mixed.
      sizes: how many entries lie along each of its axes.
    """

    layout: Layout
    axis: int
    sizes: Mapping[int, int]


class Chain(NamedTuple):
    """A product of kernels and constants, from one end to the other.

    Attributes:
      factors: the kernels, the near end's first.
      near: the value's axes that belong to the near end; ``None`` if not known.
      opened: whether the near and the far end are a kernel's and no constant's.
      transform: set if it is a kernel of several axes and a transform of one of them.
    """

    factors: tuple[Factor, ...]
    near: frozenset[int] | None
    opened: tuple[bool, bool]
    transform: Transform | None = None

    def turned(self, rank: int) -> "Chain":
        near = None if self.near is None else frozenset(range(rank)) - self.near
        factors = tuple(factor.turned() for factor in reversed(self.factors))
        return Chain(factors, near, (self.opened[1], self.opened[0]))

    def facing(self, summed: Sequence[int] | None, rank: int) -> "Chain | None":
        """The chain with the end that faces data first; ``None`` if none is seen to.

        Args:
          summed: the value's axes that a product with data sums over; ``None`` where
            data multiply it entry by entry.
          rank: how many axes the value has.
        """
        if summed is not None and self.near is not None:
            if self.near.issuperset(summed):
                return self
            return self.turned(rank) if self.near.isdisjoint(summed) else None
        if self.opened == (True, False):
            return self
        return self.turned(rank) if self.opened == (False, True) else None


def multiplied(
    equation: versions.Equation,
    layouts: Sequence[Layout | None],
    chains: Sequence[Chain | None],
    constant: Sequence[bool],
) -> Chain | None:
    """The chain that a product of parameters and constants gives.

    Args:
      equation: a ``dot_general``.
      layouts: for both operands, the leaf that they are, if it is known.
      chains: for both operands, the product that they are.
      constant: for both operands, whether no parameter is in them.
    """
    summed, stacked = equation.params["dimension_numbers"]
    if stacked[0]:
        return None
    sides = []
    for side in (0, 1):
        shape = equation.invars[side].aval.shape
        if constant[side]:
            sides.append(Chain((), frozenset(), (False, False)))
            continue
        chain = chains[side] or _alone(layouts[side], shape, summed[side])
        facing = None if chain is None else chain.facing(summed[side], len(shape))
        if facing is None:
            return None
        sides.append(facing.turned(len(shape)))
    left, right = sides
    count = len(equation.invars[0].aval.shape) - len(summed[0])
    behind = right.turned(0)
    return Chain(
        (*left.factors, *behind.factors),
        frozenset(range(count)),
        (left.opened[0], behind.opened[1]),
        _transformed(equation, layouts, constant),
    )


def _transformed(
    equation: versions.Equation,
    layouts: Sequence[Layout | None],
    constant: Sequence[bool],
) -> Transform | None:
    side = int(constant[0])
    layout, matrix = layouts[side], equation.invars[1 - side].aval.shape
    summed = equation.params["dimension_numbers"][0][side]
    square = len(matrix) == 2 and matrix[0] == matrix[1]
    if sum(constant) != 1 or not square or layout is None or len(layout.leaves) != 1:
        return None
    if len(layout.axes) < 3 or any(len(axes) != 1 for axes in layout.axes):
        return None
    free = [axes for i, axes in enumerate(layout.axes) if i not in summed]
    mixed = layout.axes[summed[0]]
    shape = equation.invars[side].aval.shape
    return Transform(
        layout._replace(axes=(*free, mixed) if side == 0 else (mixed, *free)),
        mixed[0],
        {axis: n for (axis,), n in zip(layout.axes, shape, strict=True)},
    )


def _alone(layout: Layout | None, shape: Shape, summed: Sequence[int]) -> Chain | None:
    """A leaf as a chain of one, its axes that are summed over at the near end."""
    if layout is None or len(layout.leaves) != 1:
        return None
    if any(
        len(axes) != 1 and n > 1 for axes, n in zip(layout.axes, shape, strict=True)
    ):
        return None
    near = [i for i in range(len(shape)) if i in summed]
    far = [i for i in range(len(shape)) if i not in summed]

    def leaf_axes(axes: Sequence[int]) -> Axes:
        return tuple(a for i in axes for a in layout.axes[i])

    sizes = [math.prod(shape[i] for i in axes) for axes in (near, far)]
    factor = Factor(
        layout.leaves[0],
        leaf_axes(near),
        leaf_axes(far),
        (sizes[0], sizes[1]),
        layout.scanned,
    )
    return Chain((factor,), frozenset(near), (True, True))


def moved(equation: versions.Equation, chain: Chain) -> Chain:
    """The chain behind a layout operation on its value."""
    params, near = equation.params, chain.near
    if chain.transform is not None:
        layout = rearranged(equation, chain.transform.layout)
        known = None if layout is None else chain.transform._replace(layout=layout)
        chain = chain._replace(transform=known)
    rank = len(equation.invars[0].aval.shape)
    places: list[int | None] | None = None
    match equation.primitive.name:
        case "transpose":
            order = list(params["permutation"])
            places = [order.index(axis) for axis in range(rank)]
        case "broadcast_in_dim":
            places = list(params["broadcast_dimensions"])
        case "squeeze":
            gone = {d % rank for d in params["dimensions"]}
            left = [axis for axis in range(rank) if axis not in gone]
            places = [left.index(a) if a in left else None for a in range(rank)]
    if near is None or places is None:
        return chain._replace(near=None)
    kept = [places[axis] for axis in near]
    return chain._replace(near=frozenset(axis for axis in kept if axis is not None))
