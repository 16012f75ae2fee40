"""Mean squares of gradients, from the outputs of a model back to its layers.

A layer's kernel is random and of mean zero: gradients in front of it are uncorrelated
sums, whatever comes behind. Where paths part, gradients add up; their mean squares do,
if a kernel lies on all paths but one. Of what follows no such law, the mean square is
a new unknown number, in multiples of which those in front of it are known again.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from jaxinit.moments.batches import Over, through_norm
from jaxinit.moments.law import Law
from jaxinit.moments.row_sizes import Rows
from jaxinit.moments.slopes import Functions, mean_square_slope
from jaxinit.moments.trust import Trust
from jaxinit.moments.values import Product
from jaxinit.moments.windows import covered, is_plain, overlap
from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Flow, Node
from jaxinit.program.paths import Path

_MOVED = primitives.LAYOUT | primitives.IDENTITIES | {"convert_element_type"}
_LOOPS = frozenset({CARRY, CHOICE, SLICE, STACK})


class Gradient(NamedTuple):
    """The gradient with respect to a value.

    Attributes:
      parts: its mean square, as a sum of multiples of numbers by their names.
      marks: the kernels and unknowns that it came through last: gradients with none in
        common are uncorrelated.
      copied: whether it may be the same at several positions or samples.
      picked: whether where it is not zero hangs on the value itself.
    """

    parts: Mapping[int, float]
    marks: frozenset[int] = frozenset()
    copied: bool = False
    picked: bool = False

    def times(self, factor: float) -> "Gradient":
        return self._replace(parts={k: x * factor for k, x in self.parts.items()})


_NONE = Gradient({})
Region: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


class _Given(NamedTuple):
    """What one use adds to a value's gradient; ``None`` if that is not known.

    ``region`` is where, if not everywhere: the first places and the last ones.
    """

    gradient: Gradient | None
    region: Region | None = None


class Backward:
    """The gradient of every value.

    Args:
      flow: the graph.
      functions: which values are functions of which.
      trust: which laws are none.
      rows: of each value, what a norm over units divides by.
      over: of each value, what a norm over samples and positions divides by.
      law: what is known of a value.
      products: layers, by the place of their equation.
      opaque: ways in to functions whose derivative is their own.
      batch: the number of samples.
      known: whether gradients start from independent numbers of one variance.

    Attributes:
      found: for each value, what is known of its gradient.
    """

    def __init__(
        self,
        flow: Flow,
        functions: Functions,
        trust: Trust,
        rows: Sequence[Rows],
        over: Sequence[Over],
        law: Callable[[int], Law | None],
        products: Mapping[tuple[Path, int | None], Product],
        opaque: Sequence[Path],
        batch: int,
        known: bool,
    ) -> None:
        self.flow, self.functions, self.trust = flow, functions, trust
        self.rows, self.over = rows, over
        self.law, self.products = law, products
        self.opaque, self.batch = opaque, batch
        self._names = itertools.count(1)
        self._given: list[list[_Given]] = [[] for _ in flow.values]
        self.found = [_NONE] * len(flow.values)
        outputs = [v for v in flow.outputs if flow.values[v].is_float]
        for number, value in enumerate(outputs):
            name = 0 if known else number - len(outputs)
            marks = frozenset({next(self._names)})
            start = Gradient({name: 1.0}, marks, not known, not known)
            self._given[value].append(_Given(start))
        for node in reversed(flow.nodes):
            for value in node.results:
                self.found[value] = self._total(value)
            self._pass_on(node)

    def _total(self, value: int) -> Gradient:
        given = self._given[value]
        parts: dict[int, float] = {}
        for one in given:
            if one.gradient is None:
                return self._unknown()
            for name, factor in one.gradient.parts.items():
                parts[name] = parts.get(name, 0.0) + factor
        for one, two in itertools.combinations(given, 2):
            if not _are_uncorrelated(one, two):
                return self._unknown()
        known = [one.gradient for one in given if one.gradient]
        if not all(map(math.isfinite, parts.values())):
            return self._unknown()
        return Gradient(
            parts,
            frozenset[int]().union(*(g.marks for g in known)),
            any(g.copied for g in known),
            any(g.picked for g in known),
        )

    def _unknown(self) -> Gradient:
        name = next(self._names)
        return Gradient({name: 1.0}, frozenset({name}), True, True)

    def _pass_on(self, node: Node) -> None:
        flow = self.flow
        moving = [v for v in node.operands if flow.data[v] and flow.values[v].is_float]
        if not moving or not any(self.found[v].parts for v in node.results):
            return
        if node.loops or node.primitive in _LOOPS or self._is_opaque(node):
            return self._give(moving, None)
        if len(node.results) > 1:
            return self._split(node, moving)
        gradient = self.found[node.results[0]]
        argument = self.functions.argument[node.results[0]]
        if argument is not None:
            return self._function(node.results[0], argument, gradient)
        match node.primitive:
            case "stop_gradient":
                return
            case "add" | "add_any" | "sub":
                return self._sum(moving, gradient)
            case "mul" | "div" if len(moving) == 2:
                return self._product(node, moving, gradient)
            case "concatenate" | "stack":
                parts = any(one.region for one in self._given[node.results[0]])
                return self._give(moving, None if parts else gradient)
            case "pad" if all(n >= 0 for w in node.params["padding_config"] for n in w):
                return self._give(moving, gradient)
            case name if name in primitives.CONTRACTIONS:
                return self._layer(node, moving, gradient)
            case name if name in _MOVED:
                return self._moved(node, moving[0], gradient)
            case "reduce_sum" | "reduce_max" | "reduce_min":
                return self._reduction(node, moving[0], gradient)
            case "reduce_window_sum" | "reduce_window_max" | "reduce_window_min":
                return self._window(node, moving[0], gradient)
        return self._give(moving, None)

    def _give(
        self,
        values: Sequence[int],
        gradient: Gradient | None,
        region: Region | None = None,
    ) -> None:
        for value in values:
            self._given[value].append(_Given(gradient, region))

    def _is_opaque(self, node: Node) -> bool:
        path = node.at.path
        return any(path[: len(way)] == way for way in self.opaque)

    def _share(self, node: Node, value: int) -> float:
        """The number of entries of the result for each one of an operand."""
        sizes = [math.prod(self.flow.values[v].shape) for v in (node.results[0], value)]
        return sizes[0] / sizes[1]

    # Rules.

    def _function(self, value: int, argument: int, gradient: Gradient) -> None:
        slope = self.functions.gain[value]
        if math.isnan(slope):
            laws = self.law(value), self.law(argument)
            unclear = gradient.picked or any(
                self.trust.doubt[v] or self.trust.statistic[v]
                for v in (value, argument)
            )
            if unclear or laws[0] is None or laws[1] is None:
                return self._give([argument], None)
            slope = mean_square_slope(laws[0], laws[1])
        known = gradient.times(slope) if math.isfinite(slope) else None
        self._give([argument], known)

    def _sum(self, moving: Sequence[int], gradient: Gradient) -> None:
        for value in moving:
            if self._centers(value, moving):
                continue
            self._give([value], gradient)

    def _centers(self, value: int, moving: Sequence[int]) -> bool:
        """Whether it is a mean over units, or samples, of another value.

        What comes back through a statistic of many is one over their number; and so is
        by how much the inverse of a variance exceeds one over the mean variance.
        """
        known = self.rows[value].are_one or self.over[value].statistic
        return known and not all(self.trust.statistic[v] for v in moving)

    def _product(self, node: Node, moving: Sequence[int], gradient: Gradient) -> None:
        one, two = moving
        for value, other in ((one, two), (two, one)):
            if not self.trust.statistic[value] and self.trust.statistic[other]:
                return self._give([value], self._normalized(node, value, gradient))
        laws = [self.law(v) for v in moving]
        doubt = any(self.trust.doubt[v] or self.trust.statistic[v] for v in moving)
        if doubt or gradient.picked or node.primitive == "div" or not _apart(laws):
            return self._give(moving, None)
        for value, law in zip(moving, reversed(laws), strict=True):
            assert law is not None
            self._give([value], gradient.times(law.second_moment))

    def _normalized(
        self, node: Node, value: int, gradient: Gradient
    ) -> Gradient | None:
        """In front of a division by the root of a variance or a mean square."""
        (other,) = (v for v in node.operands if v != value)
        rows = self.rows[value]
        if not self.trust.root[other] or self.trust.doubt[value] or not rows.units:
            return None
        factor = self.functions.ratio(node.results[0], value)
        if self.rows[other].are_one:
            factor *= rows.inverse
        elif self.over[other].statistic:
            over = self.over[value], self.over[other]
            # One number for all positions of a sample is one: half of a mask's is.
            apart = 2 * self.batch if gradient.copied else over[1].number
            factor *= through_norm(*over, apart)
        else:
            return None
        return gradient.times(factor) if math.isfinite(factor) else None

    def _layer(self, node: Node, moving: Sequence[int], gradient: Gradient) -> None:
        found = self.products.get((node.at.path, node.at.equation))
        if found is None or len(moving) != 1:
            return self._give(moving, None)
        connections = found.terms * found.sizes[1] / found.sizes[0]
        behind = gradient.times(found.variance * connections)
        marks = frozenset({next(self._names)})
        self._give(moving, behind._replace(marks=marks, picked=False))

    def _moved(self, node: Node, value: int, gradient: Gradient) -> None:
        share, region = self._share(node, value), None
        if node.primitive == "slice":
            if any(n != 1 for n in node.params["strides"] or ()):
                return self._give([value], None)
            region = node.params["start_indices"], node.params["limit_indices"]
        if share > 1 and gradient.copied:
            return self._give([value], None)
        self._give([value], gradient.times(share), region)

    def _split(self, node: Node, moving: Sequence[int]) -> None:
        if node.primitive not in ("split", "unstack") or len(moving) != 1:
            return self._give(moving, None)
        shape, axis = self.flow.values[moving[0]].shape, node.params["axis"]
        start = 0
        for value in node.results:
            gradient = self.found[value]
            after = self.flow.values[value].shape
            size = after[axis] if node.primitive == "split" else 1
            low, high = [0] * len(shape), list(shape)
            low[axis], high[axis] = start, start + size
            start += size
            part = gradient.times(size / shape[axis])
            self._give(moving, part, (tuple(low), tuple(high)))

    def _reduction(self, node: Node, value: int, gradient: Gradient) -> None:
        if node.primitive == "reduce_sum":
            return self._give([value], gradient._replace(copied=True))
        share = self._share(node, value)
        self._give([value], gradient.times(share)._replace(picked=True))

    def _window(self, node: Node, value: int, gradient: Gradient) -> None:
        """Each entry's gradient is the sum over the windows that it is in, or leads."""
        shared = gradient.copied and overlap(node.equation)
        if shared or not is_plain(node.equation):
            return self._give([value], None)
        if node.primitive == "reduce_window_sum":
            known = gradient.times(covered(node.equation))
            return self._give([value], known._replace(copied=True))
        known = gradient.times(self._share(node, value))
        self._give([value], known._replace(picked=True))


def _are_uncorrelated(one: _Given, two: _Given) -> bool:
    if one.gradient is None or two.gradient is None:
        return False
    if not one.gradient.marks & two.gradient.marks:
        return True
    if one.region is None or two.region is None:
        return False
    (low, high), (first, last) = one.region, two.region
    return any(
        a >= d or c >= b for a, b, c, d in zip(low, high, first, last, strict=True)
    )


def _apart(laws: Sequence[Law | None]) -> bool:
    """Whether the laws of two values are known, and those of independent ones."""
    one, two = laws
    if one is None or two is None:
        return False
    of = [frozenset[Hashable]().union(*(s.of for s in x.sources)) for x in (one, two)]
    mixed = of[0] & (two.keys | of[1]) or of[1] & one.keys
    return not one.keys & two.keys and not mixed
