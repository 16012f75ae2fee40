"""What part of a unit's mean square is variance over samples and positions.

A norm over samples divides by that variance. Behind one, a unit's values over samples
and positions follow the law of a typical entry; so do functions of them and sums. Of
a kernel's outputs the mean over samples and positions is that of what it takes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.moments.law import Law
from jaxinit.moments.products import taps_inside
from jaxinit.moments.row_sizes import Rows
from jaxinit.moments.slopes import Functions
from jaxinit.moments.trust import Trust
from jaxinit.program import primitives
from jaxinit.program.flow import Node

# Of fewer values, or sums of fewer terms, one over a variance is anything.
_FEW = 32
# A variance over samples that are more alike differs more from unit to unit.
_ALIKE = 0.025


class Over(NamedTuple):
    """A value over samples and positions, unit by unit.

    Attributes:
      varying: the part of its mean square that is variance; NaN if not known.
      normed: whether each unit's values follow the law of a typical entry.
      statistic: whether it is a statistic over all samples and positions instead.
      number: of a statistic, of how many values; else how many terms the value sums.
    """

    varying: float
    normed: bool = False
    statistic: bool = False
    number: float = math.inf


_NOTHING = Over(math.nan)


def through_norm(value: Over, statistic: Over, apart: float) -> float:
    """The factor of a gradient's mean square in front of a norm, but for the size.

    The variance of b values that are sums of n independent terms has the relative
    variance 2/n + 2/b. Of what comes back as ``apart`` numbers two are lost, by the
    mean and the deviation; NaN if these are few.
    """
    terms, values = value.number, statistic.number
    if min(terms, values, apart) < _FEW or not value.varying > 0:
        return math.nan
    inverse = values / (values - 1) / (1 - 2 / terms - 2 / values)
    return (1 - 2 / apart) * inverse / value.varying


def over_batches(
    functions: Functions,
    trust: Trust,
    rows: Sequence[Rows],
    law: Callable[[int], Law | None],
    inputs: Mapping[int, np.ndarray],
    batch: int,
) -> list[Over]:
    """What is known of each value over samples and positions.

    Args:
      functions: which values are functions of which.
      trust: which laws are none.
      rows: whose last axis is one of units.
      law: what is known of a value.
      inputs: the model's inputs of real numbers, by their value.
      batch: the number of samples.
    """
    reading = _Reading(functions, trust, rows, law, batch)
    if not inputs or not all(map(_is_wide, inputs.values())):
        return reading.over
    for value, x in inputs.items():
        means = np.square(x.mean(axis=0)).mean()
        reading.over[value] = Over(1 - float(means / np.square(x).mean()))
    for node in functions.flow.nodes:
        if not node.loops:
            reading.follow(node)
    return reading.over


def _is_wide(x: np.ndarray) -> bool:
    """Whether samples are vectors in so many directions that no two are alike."""
    if x.ndim != 2:
        return False
    centered = x - x.mean(axis=0)
    covariance = centered.T @ centered
    whole = float(np.trace(covariance))
    if not whole > 0:
        return False
    # The mean square of the correlation between two samples.
    alike = float(np.square(covariance).sum()) / whole**2 - 1 / len(x)
    return alike < _ALIKE


class _Reading:
    def __init__(
        self,
        functions: Functions,
        trust: Trust,
        rows: Sequence[Rows],
        law: Callable[[int], Law | None],
        batch: int,
    ) -> None:
        self.flow, self.functions = functions.flow, functions
        self.trust, self.rows, self.law, self.batch = trust, rows, law, batch
        self.over = [_NOTHING] * len(self.flow.values)

    def follow(self, node: Node) -> None:
        moving = [v for v in node.operands if self.flow.data[v]]
        if moving:
            for value in node.results:
                self.over[value] = self._found(node, value, moving)

    def _found(self, node: Node, value: int, moving: Sequence[int]) -> Over:
        if self.trust.statistic[value]:
            return self._statistic(node, moving)
        argument = self.functions.argument[value]
        if argument is not None:
            return self._function(value, argument)
        first = self.over[moving[0]]
        match node.primitive:
            case name if name in primitives.CONTRACTIONS:
                return self._layer(node, moving)
            case "add" | "add_any" | "sub" | "mul" | "div":
                for one, other in (moving, reversed(moving)):
                    if self.over[other].statistic and not self.trust.statistic[one]:
                        return self._scaled(node, one, other)
                return self._normed(value, moving)
            case "concatenate":
                return self._normed(value, moving)
            case "reshape" | "slice" | "transpose" | "squeeze" | "split":
                return first if self._keeps_units(node, moving[0], value) else _NOTHING
        return _NOTHING

    def _statistic(self, node: Node, moving: Sequence[int]) -> Over:
        if node.primitive not in primitives.REDUCTIONS:
            same = {self.over[v] for v in moving if self.over[v].statistic}
            known = all(self.over[v].statistic for v in moving) and len(same) == 1
            return same.pop() if known else _NOTHING
        shape = self.flow.values[moving[0]].shape
        all_but_units = tuple(node.params.get("axes", ())) == (*range(len(shape) - 1),)
        count = math.prod(shape[:-1])
        known = (
            node.primitive == "reduce_sum"
            and all_but_units
            and self.rows[moving[0]].units
            and shape[0] == self.batch
        )
        return Over(0.0, statistic=True, number=count) if known else _NOTHING

    def _normed(self, value: int, of: Sequence[int]) -> Over:
        """A function of values that follow their laws, unit by unit."""
        law = self.law(value)
        if law is None or not all(self.over[v].normed for v in of):
            return _NOTHING
        if self.trust.doubt[value] or not law.second_moment > 0:
            return _NOTHING
        return Over(1 - law.mean**2 / law.second_moment, True)

    def _function(self, value: int, argument: int) -> Over:
        if self.over[argument].normed:
            return self._normed(value, [argument])
        after, before = self.law(value), self.law(argument)
        if after is None or before is None or not after.second_moment > 0:
            return _NOTHING
        kept = self.functions.gain[value] * before.second_moment / after.second_moment
        before_it = self.over[argument]
        return before_it._replace(varying=before_it.varying * kept)

    def _scaled(self, node: Node, value: int, other: int) -> Over:
        """Centered by a mean, or divided by a root."""
        if node.primitive in ("add", "add_any", "sub"):
            return self.over[value]
        return Over(1.0, True) if self.trust.root[other] else _NOTHING

    def _layer(self, node: Node, moving: Sequence[int]) -> Over:
        first, second = node.operands[:2]
        if len(moving) != 1 or moving[0] != first or not self.flow.is_param(second):
            return _NOTHING
        kernel, padding = self.flow.values[second].shape, 1.0
        terms = math.prod(kernel[:-1])
        if node.primitive == "conv_general_dilated":
            inside = taps_inside(node.equation)
            out = node.params["dimension_numbers"].rhs_spec[0]
            terms = math.prod(kernel) // kernel[out]
            padding = math.prod(float(np.sum(x**2) / np.sum(x)) for x in inside)
        elif node.primitive != "dot_general":
            return _NOTHING
        # A tap in the padding meets zeros, and its mean is the smaller.
        return Over(1 - (1 - self.over[first].varying) * padding, number=terms)

    def _keeps_units(self, node: Node, before: int, after: int) -> bool:
        return self.rows[before].units and self.rows[after].units
