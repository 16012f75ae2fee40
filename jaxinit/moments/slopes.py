"""Elementwise steps that make a function of one value, and how steep it is on average.

A chain such as ``x * sigmoid(x)`` is one function: its slope is that of the whole, and
no product of the slopes of its steps.
"""

import math
from collections.abc import Callable, Container, Sequence

import numpy as np

from jaxinit.moments.law import PANEL, Law, Source, expectation
from jaxinit.program import primitives
from jaxinit.program.flow import Flow, Node

# What passes no gradient on is no step of a function that is differentiated.
STEPS = (primitives.ELEMENTWISE | primitives.IDENTITIES) - frozenset(
    "stop_gradient complex conj real imag".split()
)
_SHIFTS = frozenset("add add_any sub neg convert_element_type".split())


class Functions:
    """Which values are functions of one other value alone, entry by entry.

    Args:
      flow: the graph.
      ends: values that count as arguments even where they are functions themselves.
      law: what is known of a value; ``None`` for nothing.

    Attributes:
      argument: for each value, the one that it is a function of; ``None`` if it is of
        none or of several.
      gain: where it is a multiple of its argument, shifted, the factor's mean square.
    """

    def __init__(
        self, flow: Flow, ends: Container[int], law: Callable[[int], Law | None]
    ) -> None:
        self.flow, self.ends, self._law = flow, ends, law
        self.argument: list[int | None] = [None] * len(flow.values)
        self.gain = [1.0] * len(flow.values)
        for node in flow.nodes:
            if len(node.results) != 1 or not is_step(node):
                continue
            moving = [v for v in node.operands if flow.data[v]]
            of = {self.seen_as(v) for v in moving}
            if len(of) == 1:
                result = node.results[0]
                self.argument[result] = of.pop()
                self.gain[result] = self._gain(node, moving)

    def seen_as(self, value: int) -> int:
        """What later steps take a value for a function of: itself at an end."""
        argument = self.argument[value]
        return value if argument is None or value in self.ends else argument

    def _gain(self, node: Node, moving: Sequence[int]) -> float:
        name, (result,) = node.primitive, node.results
        if len(moving) != 1:
            return math.nan
        own = 1.0 if self.seen_as(moving[0]) == moving[0] else self.gain[moving[0]]
        if name in primitives.IDENTITIES or name in _SHIFTS:
            return own
        if name == "mul" or (name == "div" and node.operands[0] == moving[0]):
            return own * self.ratio(result, moving[0])
        return math.nan

    def ratio(self, result: int, operand: int) -> float:
        """By how much a multiplication with what is independent changes the square."""
        after, before = self._law(result), self._law(operand)
        if after is None or before is None or not before.second_moment > 0:
            return math.nan
        return after.second_moment / before.second_moment


def is_step(node: Node) -> bool:
    """Whether it is elementwise by itself, not a way into a loop or ``shard_map``."""
    return node.primitive in STEPS and node.equation.primitive.name in STEPS


def mean_square_slope(law: Law, argument: Law) -> float:
    """The mean of f'(u)^2, for the laws of f(u) and of u; NaN if it is not known."""
    for source in argument.sources:
        unit = _unit(argument, source)
        if unit is None or source.key not in law.keys:
            continue
        rest = tuple(s for s in law.sources if s.key != source.key)
        slopes = derivative(_first(law, source), source)
        square = expectation(np.square(slopes), (_inner(source), *rest))
        return float(square) / unit**2
    return math.nan


def elasticity(law: Law, argument: Law) -> float:
    """The relative change of E f(u)^2 by that of E u^2, as u's deviation changes."""
    for source in argument.sources:
        if _unit(argument, source) is None or source.key not in law.keys:
            continue
        of, by = by_deviation(law, source), by_deviation(argument, source)
        if by > 0:
            return of / by
    return math.nan


def derivative(values: np.ndarray, source: Source) -> np.ndarray:
    """Of values on a normal variable's nodes, first axis, by it: without the mean.

    On each panel of the variable's nodes the function is a polynomial through them.
    """
    assert source.nodes is not None
    z = source.nodes[1:].reshape(-1, PANEL)
    points, _ = np.polynomial.legendre.leggauss(PANEL)
    powers = np.vander(points, increasing=True)
    slopes = np.vander(points, increasing=True)[:, :-1] * np.arange(1, PANEL)
    derive = slopes @ np.linalg.inv(powers)[1:]
    half = (z[:, -1] - z[:, 0]) / np.ptp(points)
    panels = np.reshape(values[1:], (len(z), PANEL, -1))
    found = np.einsum("ij,pjr->pir", derive, panels) / half[:, None, None]
    return np.reshape(found, (z.size, *values.shape[1:]))


def by_deviation(law: Law, source: Source) -> float:
    """How fast the mean square grows with a normal variable's variance, relatively."""
    values = _first(law, source)
    rest = tuple(s for s in law.sources if s.key != source.key)
    assert source.nodes is not None
    along = source.nodes[1:].reshape(-1, *[1] * (values.ndim - 1))
    moved = values[1:] * derivative(values, source) * along
    second = law.second_moment
    part = float(expectation(moved, (_inner(source), *rest)))
    return part / second if second > 0 else math.nan


def _unit(law: Law, source: Source) -> float | None:
    """By how much a law changes with a normal variable, if always by as much."""
    if source.nodes is None or not np.issubdtype(law.values.dtype, np.floating):
        return None
    values, z = _first(law, source), source.nodes
    flat = np.reshape(values, (len(z), -1))
    slope = float((flat[-1, 0] - flat[1, 0]) / (z[-1] - z[1]))
    line = flat[:1] + slope * (z - z[0])[:, None]
    close = np.allclose(flat, line, rtol=1e-9, atol=1e-9 * abs(slope))
    return slope if slope and close else None


def _first(law: Law, source: Source) -> np.ndarray:
    axis = [s.key for s in law.sources].index(source.key)
    return np.moveaxis(np.asarray(law.values, np.float64), axis, 0)


def _inner(source: Source) -> Source:
    """A normal variable without the node that is its mean."""
    return Source(source.key, source.weights[1:])
