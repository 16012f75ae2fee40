"""How unequal the mean squares of rows are: what a norm over units divides by.

Units of a layer are independent, and many; so a row of them, at one position of one
sample, has the mean square that theory expects there. If rows of the inputs differ in
size, so do those of the layers behind, until a norm makes them equal.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.moments.law import Law
from jaxinit.moments.slopes import Functions, elasticity
from jaxinit.moments.trust import Trust
from jaxinit.program import primitives
from jaxinit.program.flow import Node
from jaxinit.program.primitives import CONTRACTIONS

_KEPT = frozenset("squeeze slice dynamic_slice rev split".split())


class Rows(NamedTuple):
    """Rows along a value's last axis.

    Attributes:
      units: whether their entries are independent units of a layer.
      sizes: their mean squares in ascending order, of which the mean is 1; of unequal
        rows in one place the input's rows are; NaN if they are not known.
      are_one: whether the value is a statistic of rows of such units instead.
    """

    units: bool
    sizes: np.ndarray
    are_one: bool = False

    @property
    def inverse(self) -> float:
        """The mean of one over the mean square of a row."""
        return float(np.mean(1 / self.sizes))


_EQUAL, _UNKNOWN = np.ones(1), np.full(1, math.nan)
_NOTHING = Rows(False, _UNKNOWN)
# Of so many rows, each one of many, the law of sizes is made.
_ROWS = 64


def rows_of(
    functions: Functions,
    trust: Trust,
    law: Callable[[int], Law | None],
    inputs: Mapping[int, np.ndarray],
) -> list[Rows]:
    """What is known of the rows of each value.

    Args:
      functions: which values are functions of which.
      trust: which laws are none.
      law: what is known of a value.
      inputs: the model's inputs of real numbers, by their value.
    """
    reading = _Reading(functions, trust, law)
    for value, x in inputs.items():
        if len(inputs) == 1 and x.ndim:
            reading.rows[value] = Rows(False, _sizes(x))
    for node in functions.flow.nodes:
        if not node.loops:
            reading.follow(node)
    return reading.rows


def _sizes(x: np.ndarray) -> np.ndarray:
    squares = np.sort(np.square(x).mean(axis=-1), axis=None)
    if not squares.size or not squares[0] > 0:
        return _UNKNOWN
    parts = np.array_split(squares, min(_ROWS, squares.size))
    return _relative(np.array([part.mean() for part in parts]))


def _relative(sizes: np.ndarray) -> np.ndarray:
    relative: np.ndarray = sizes / sizes.mean()
    return relative


class _Reading:
    def __init__(
        self,
        functions: Functions,
        trust: Trust,
        law: Callable[[int], Law | None],
    ) -> None:
        self.flow, self.functions = functions.flow, functions
        self.trust, self.law = trust, law
        self.rows = [_NOTHING] * len(self.flow.values)

    def follow(self, node: Node) -> None:
        moving = [v for v in node.operands if self.flow.data[v]]
        if not moving:
            return
        found = self._found(node, moving)
        for value in node.results:
            self.rows[value] = found

    def _found(self, node: Node, moving: Sequence[int]) -> Rows:
        if self.trust.statistic[node.results[0]]:
            return Rows(False, _UNKNOWN, self._is_of_rows(node, moving))
        argument = self.functions.argument[node.results[0]]
        if argument is not None:
            return self._function(node.results[0], argument)
        match node.primitive:
            case name if name in CONTRACTIONS:
                return self._layer(node, moving)
            case "gather":
                return self._lookup(node)
            case "add" | "add_any" | "sub":
                return self._sum(moving)
            case "mul" | "div":
                return self._product(moving)
            case name if name in primitives.LAYOUT or name in _KEPT:
                return self._moved(node, moving[0])
        return _NOTHING

    def _is_of_rows(self, node: Node, moving: Sequence[int]) -> bool:
        if node.primitive in primitives.REDUCTIONS:
            if node.primitive != "reduce_sum":
                return False
            rank = len(self.flow.values[moving[0]].shape)
            axes = tuple(node.params.get("axes", ()))
            return axes == (rank - 1,) and self.rows[moving[0]].units
        return all(self.rows[v].are_one for v in moving)

    def _function(self, value: int, argument: int) -> Rows:
        rows = self.rows[argument]
        law, of = self.law(value), self.law(argument)
        if len(rows.sizes) == 1:
            return rows
        if law is None or of is None or self.trust.doubt[value]:
            return rows._replace(sizes=_UNKNOWN)
        return rows._replace(sizes=_relative(rows.sizes ** elasticity(law, of)))

    def _layer(self, node: Node, moving: Sequence[int]) -> Rows:
        """The rows of a kernel's outputs are as unequal as those that it takes."""
        first, second = node.operands[:2]
        if node.primitive == "conv_general_dilated":
            out = node.params["dimension_numbers"].out_spec
            return Rows(out[1] == len(out) - 1, _UNKNOWN)
        if node.primitive != "dot_general" or len(moving) != 1 or moving[0] != first:
            return _NOTHING
        if not self.flow.is_param(second):
            return _NOTHING
        (left, right), (batched, _) = node.params["dimension_numbers"]
        before, kernel = (self.flow.values[v].shape for v in (first, second))
        outputs = len(kernel) - len(right) - len(batched)
        rows = self.rows[first]
        last = tuple(left) == (len(before) - 1,)
        if not outputs:
            return _NOTHING
        return Rows(True, rows.sizes if last or rows.sizes is _EQUAL else _UNKNOWN)

    def _lookup(self, node: Node) -> Rows:
        table = node.operands[0]
        if not self.flow.is_param(table):
            return _NOTHING
        after = self.flow.values[node.results[0]].shape
        width = self.flow.values[table].shape[-1]
        whole = node.params["slice_sizes"][-1] == width
        last = len(after) - 1 in node.params["dimension_numbers"].offset_dims
        return Rows(True, _EQUAL) if whole and last else _NOTHING

    def _sum(self, moving: Sequence[int]) -> Rows:
        one, two = (self.rows[v] for v in moving)
        for value, other in zip(moving, reversed(moving), strict=True):
            if self.trust.statistic[other] and not self.trust.statistic[value]:
                centered = self.rows[value]
                known = self.rows[other].are_one
                return centered if known else centered._replace(sizes=_UNKNOWN)
        units = one.units and two.units
        if one.sizes is _EQUAL and two.sizes is _EQUAL:
            return Rows(units, _EQUAL)
        laws = [self.law(v) for v in moving]
        if any(self.trust.doubt[v] for v in moving) or None in laws:
            return Rows(units, _UNKNOWN)
        sizes = [law.second_moment for law in laws if law is not None]
        if not sum(sizes) > 0:
            return Rows(units, _UNKNOWN)
        return Rows(units, _relative(sizes[0] * one.sizes + sizes[1] * two.sizes))

    def _product(self, moving: Sequence[int]) -> Rows:
        one, two = (self.rows[v] for v in moving)
        for value, other in zip(moving, reversed(moving), strict=True):
            if self.trust.root[other] and not self.trust.statistic[value]:
                equal = self.rows[other].are_one  # it is normalized
                return Rows(self.rows[value].units, _EQUAL if equal else _UNKNOWN)
        both = _relative(one.sizes * two.sizes)
        return Rows(one.units and two.units, both)

    def _moved(self, node: Node, value: int) -> Rows:
        before = self.flow.values[value].shape
        after = self.flow.values[node.results[0]].shape
        params, rank = node.params, len(before)
        kept = bool(before and after)
        match node.primitive:
            case "reshape":
                kept = kept and before[-1] == after[-1]
            case "transpose":
                kept = kept and params["permutation"][-1] == rank - 1
            case "broadcast_in_dim":
                to = params["broadcast_dimensions"]
                kept = kept and before[-1:] == after[-1:] and to[-1] == len(after) - 1
            case "squeeze":
                kept = kept and rank - 1 not in {d % rank for d in params["dimensions"]}
        return self.rows[value] if kept else _NOTHING
