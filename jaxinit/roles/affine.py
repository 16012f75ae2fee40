"""Parameters that are added to data or multiplied into it: biases, gains, norms."""

import math
from collections.abc import Sequence

from jaxinit.layers.event import Event
from jaxinit.program import primitives
from jaxinit.program.axes import Layout, Shape, rearranged
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Flow, Node
from jaxinit.roles.anchors import Anchors, is_weight, telling_uses

_PRODUCTS = ("mul", "div")
_SUMS = ("add", "sub", "add_any")
_PASSES = primitives.LAYOUT | {SLICE, STACK, "gather"}


class Affine:
    """What the parameters of a program do by addition and multiplication.

    Attributes:
      roles: for each parameter leaf, what it was seen to do.
      added: for each node that adds parameters along channels, their leaves.
    """

    def __init__(self, anchors: Anchors, num_leaves: int) -> None:
        self.anchors = anchors
        self.flow = anchors.flow
        self.roles: list[set[str]] = [set() for _ in range(num_leaves)]
        self.added: dict[int, frozenset[int]] = {}
        self._weights = {
            use.leaf
            for event in anchors.events.values()
            if is_weight(event)
            for use in telling_uses(event)
        }
        self._acting: list[list[Event]] = [[] for _ in range(num_leaves)]
        for event in anchors.events.values():
            for leaf in event.params:
                self._acting[leaf].append(event)
        self._varying = varying_axes(self.flow)
        count = len(self.flow.values)
        # What is known of each value: computed from reductions of data (or from the
        # model's state) alone; a root of such (+1) or its inverse (-1); data that was
        # divided by such a root.
        self._statistic = list(self.flow.state)
        self._root = [0] * count
        self._normalized = [False] * count
        # Whether a norm's gain was multiplied in already.
        self._scaled = [False] * count
        for index, node in enumerate(self.flow.nodes):
            self._follow(node)
            self._assign(index, node)

    # Normalization.

    def _follow(self, node: Node) -> None:
        flow, operands = self.flow, node.operands
        result = node.results[0]
        moving = [v for v in operands if flow.data[v] or flow.state[v]]
        if not moving:
            return
        name = node.primitive
        if name in primitives.REDUCTIONS and flow.data[operands[0]]:
            self._statistic[result] = True
            return
        if name in (CARRY, CHOICE):
            return
        statistic = all(self._statistic[v] for v in moving)
        for value in node.results:
            self._statistic[value] = statistic
        roots = [self._root[v] for v in moving]
        if name in ("rsqrt", "sqrt") and statistic:
            self._root[result] = -1 if name == "rsqrt" else 1
        elif name == "pow" and statistic:
            self._root[result] = _sign_of_half(flow, operands[1])
        elif name == "integer_pow" and node.params["y"] == -1:
            self._root[result] = -roots[0]
        elif name == "div" and len(moving) == 1 and operands[1] == moving[0]:
            self._root[result] = -roots[0]
        elif len(moving) == 1 and (
            name in _PASSES
            or name in (*_SUMS, "max", "select_n", "clamp")
            or is_factor(node)
        ):
            (value,) = moving
            gained = any(flow.leaves[v] for v in operands if v != value)
            self._root[result] = roots[0]
            self._normalized[result] = self._normalized[value] and not (
                gained and (name in _SUMS or self._scaled[value])
            )
            self._scaled[result] = self._scaled[value] or (gained and is_factor(node))
        elif is_factor(node) and len(moving) == 2:
            self._normalized[result] = self._is_normalization(node)
            self._scaled[result] = any(self._scaled[v] for v in operands)

    def _is_normalization(self, node: Node) -> bool:
        first, second = node.operands
        if node.primitive == "div":
            return self._root[second] == 1 and self.flow.data[first]
        return any(
            self._root[root] == -1 and self.flow.data[other]
            for root, other in ((first, second), (second, first))
        )

    # Roles.

    def _assign(self, index: int, node: Node) -> None:
        flow, operands = self.flow, node.operands
        params = [v for v in operands if flow.is_param(v)]
        others = [v for v in operands if flow.data[v] or flow.state[v]]
        others = [v for v in others if not flow.is_param(v)]
        name = node.primitive
        if not params or not flow.values[node.results[0]].is_float:
            return
        if name in ("concatenate", "select_n", "dynamic_update_slice", "scatter"):
            if any(flow.data[v] and flow.values[v].is_float for v in operands):
                self._give(params, "token")
        elif len(operands) == 2 and len(params) == 2 and name in _PRODUCTS:
            self._weight_gain(params, flow.values[node.results[0]].shape)
        elif len(operands) == 2 and len(params) == len(others) == 1:
            if is_factor(node):
                self._multiplied(node, params[0], others[0])
            elif name in _SUMS and flow.data[others[0]]:
                self._summed(index, node, params[0], others[0])

    def _multiplied(self, node: Node, param: int, other: int) -> None:
        fresh = (self._root[other] or self._normalized[other]) and not (
            self._scaled[other]
        )
        if fresh:
            self._give([param], "norm_scale")
        elif self.flow.data[other] and not self._root[param]:
            leaves = self.flow.leaves[param] - self._weights
            if len(leaves) == 1:
                self._give([param], "gain")

    def _weight_gain(self, params: Sequence[int], shape: Shape) -> None:
        """A gain on a kernel: the size of a weight apart from its direction."""
        if any(self.flow.leaves[v] & self._weights for v in params):
            for value in params:
                leaves = self.flow.leaves[value] - self._weights
                varying = self._varying[value]
                if len(leaves) == 1 and any(
                    n > 1 and not v for n, v in zip(shape, varying, strict=True)
                ):
                    self._give([value], "gain")

    def _summed(self, index: int, node: Node, param: int, other: int) -> None:
        shape = self.flow.values[param].shape
        sizes = [n for v, n in zip(self._varying[param], shape, strict=True) if v]
        if self._normalized[other] and (len(sizes) < 2 or self._has_scale(param)):
            self._give([param], "norm_bias")
        elif len(sizes) < 2 or self._along_channels(other, math.prod(sizes)):
            self._give([param], "bias")
            self.added[index] = self.flow.leaves[param] - self._weights
        else:
            self._give([param], "position")

    def _has_scale(self, param: int) -> bool:
        """Whether it is the shift of a norm, whose gain may vary along many axes."""
        return any(
            "norm_scale" in self.roles[other]
            for leaf in self.flow.leaves[param]
            for event in self._acting[leaf]
            for other in event.params
        )

    def _along_channels(self, value: int, count: int) -> bool:
        """Whether a parameter of so many entries has one for each channel."""
        events = self.anchors.events
        for number in self.anchors.nearest_weights([value]):
            layer = events[number]
            if math.prod(layer.shape[axis] for axis in layer.channels) == count:
                return True
        return False

    def _give(self, values: Sequence[int], role: str) -> None:
        for value in values:
            for leaf in self.flow.leaves[value] - self._weights:
                self.roles[leaf].add(role)


def is_factor(node: Node) -> bool:
    """Whether it multiplies, or divides, entry by entry: also as a product of arrays.

    ``einsum("h,blh->blh", gain, x)`` sums over nothing.
    """
    if node.primitive == "dot_general":
        summed, _ = node.params["dimension_numbers"]
        return not summed[0]
    return node.primitive in _PRODUCTS


def _sign_of_half(flow: Flow, exponent: int) -> int:
    """+1 for an exponent of one half, -1 for minus one half, else 0."""
    literal = flow.values[exponent].literal
    if literal is None or float(abs(literal)) != 0.5:
        return 0
    return 1 if literal > 0 else -1


def varying_axes(flow: Flow) -> list[tuple[bool, ...]]:
    """For each value, the axes along which parameters make it vary."""
    known = [
        tuple(
            value.maker is None and flow.is_param(number) and n > 1 for n in value.shape
        )
        for number, value in enumerate(flow.values)
    ]
    for node in flow.nodes:
        if any(flow.leaves[v] for v in node.operands):
            for result in node.results:
                shape = flow.values[result].shape
                known[result] = _axes_of_result(node, shape, known)
    return known


def _axes_of_result(
    node: Node, shape: Shape, known: Sequence[tuple[bool, ...]]
) -> tuple[bool, ...]:
    first = node.operands[0]
    axes = known[first]
    name = node.primitive
    if name == SLICE:
        return axes[1:]
    if name == STACK:
        return (True, *axes)
    if name in primitives.ELEMENTWISE:
        alike = [known[v] for v in node.operands if len(known[v]) == len(shape)]
        return tuple(n > 1 and any(k[i] for k in alike) for i, n in enumerate(shape))
    if name in primitives.LAYOUT:
        marked = tuple((i,) if varies else () for i, varies in enumerate(axes))
        layout = rearranged(node.equation, Layout((), marked))
        if layout is not None:
            return tuple(
                bool(a) and n > 1 for a, n in zip(layout.axes, shape, strict=True)
            )
    return tuple(n > 1 for n in shape)
