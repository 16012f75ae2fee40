"""Functions of one variable that a program composes, and which of them squash.

A function is all elementwise steps between a value and where something else uses what
they make of it: ``x / (1 + abs(x))``, ``1.7159 * tanh(2 * x / 3)``, ``clip(x, -1, 1)``.
It squashes if it is continuous and bounded, and flat far from 0 on both sides.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._activations import _float64_on_host
from jaxinit.moments.elementwise import evaluate
from jaxinit.moments.slopes import is_step
from jaxinit.program import primitives, versions
from jaxinit.program.flow import Flow, Node

Array = jax.Array

# Where functions are looked at: near 0, and far from it, at uneven distances.
_NEAR = np.linspace(-10.0, 10.0, 4001)
_FAR = 10.0 ** np.random.default_rng(0).uniform(2.0, 3.0, 200)
_ALL = np.concatenate([_NEAR, -_FAR, _FAR])
# Of the largest slope, and of the range near 0, what is left of them far away.
_FLAT, _BOUNDED = 0.01, 0.1
# Steps of difference quotients. A jump's slope is one over the step.
_STEP, _LARGE = 1e-5, 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """Elementwise steps from one value of data to another.

    Attributes:
      argument: the number of the value that it is a function of.
      end: that of its result.
      nodes: the steps, with those that constants take, in order.
      constants: for each number of a constant, it.
    """

    argument: int
    end: int
    nodes: tuple[Node, ...]
    constants: dict[int, Any]

    def __call__(self, x: Array) -> Array:
        """It of an array of the shape that the program has there."""
        known = {**self.constants, self.argument: x}
        for node in self.nodes:
            results = versions.bind(node.equation, [known[v] for v in node.operands])
            known.update(zip(node.results, results, strict=True))
        return jnp.asarray(known[self.end])

    def on_host(self, x: np.ndarray) -> np.ndarray:
        """It of numbers in float64; its constants are scalars, repeated."""
        known: dict[int, Any] = {v: np.asarray(c) for v, c in self.constants.items()}
        known[self.argument] = x
        for node in self.nodes:
            arrays = [known[v] for v in node.operands]
            if node.primitive in primitives.ELEMENTWISE:
                found = evaluate(node.equation, arrays)
            else:
                found = arrays[0]
            known[node.results[0]] = found
        return np.broadcast_to(np.asarray(known[self.end], np.float64), x.shape)

    @property
    def name(self) -> Hashable:
        """Equal for equal functions, of whatever shape."""
        made = [self.argument, *(node.results[0] for node in self.nodes)]
        place = {value: number for number, value in enumerate(made)}
        return tuple(
            (
                node.primitive,
                *(str(node.params.get(k)) for k in ("y", "new_dtype")),
                *(
                    str(self.constants[v]) if v in self.constants else place[v]
                    for v in node.operands
                ),
            )
            for node in self.nodes
        )


class Shape(NamedTuple):
    """What a squashing function looks like.

    Attributes:
      middle: where it is steep: the mean argument, by the square of the slope.
      width: half of its range over its largest slope; of tanh 1, of the logistic 2.
      largest: its largest slope.
      low, high: the ends of its range.
      usual: the mean of (f' / max f')^2 for normal arguments around ``middle`` of
        deviation ``width``.
      rectifies: whether it is 0 for all arguments below 0, as relu is: that half of it
        is no saturation.
    """

    middle: float
    width: float
    largest: float
    low: float
    high: float
    usual: float
    rectifies: bool


def find_functions(flow: Flow) -> list[Function]:
    """The functions of one variable that bend it, in the order of their results."""
    origin: list[int | None] = [None] * len(flow.values)
    bends = [False] * len(flow.values)
    fixed = [value.literal is not None for value in flow.values]
    members: dict[int, int] = {}
    for number, node in enumerate(flow.nodes):
        if len(node.results) != 1 or not node.operands:
            continue
        (result,) = node.results
        moving = [v for v in node.operands if not fixed[v]]
        if not moving:
            fixed[result] = is_step(node) or node.primitive == "broadcast_in_dim"
            continue
        of = {v if origin[v] is None else origin[v] for v in moving}
        known = is_step(node) and all(flow.data[v] for v in moving)
        if known and len(of) == 1:
            origin[result] = of.pop()
            bends[result] = any(bends[v] for v in moving) or _bends(node, fixed)
            members[number] = result
    return [
        _between(flow, origin[result], result)
        for result in members.values()
        if bends[result]
        and flow.values[result].is_float
        and flow.values[origin[result] or 0].is_float
        and (
            result in flow.outputs
            or not all(
                n in members and origin[members[n]] == origin[result]
                for n, _ in flow.users[result]
            )
        )
    ]


def _bends(node: Node, fixed: Sequence[bool]) -> bool:
    """Whether a step is more than a multiple and a shift of what it takes."""
    if node.primitive in ("mul", "div"):
        return not any(fixed[v] for v in node.operands) or (
            node.primitive == "div" and fixed[node.operands[0]]
        )
    return node.primitive not in primitives.LINEAR | primitives.IDENTITIES


def _between(flow: Flow, argument: int | None, end: int) -> Function:
    assert argument is not None
    numbers = flow.upstream([end], lambda node, i: node.operands[i] != argument)
    nodes = tuple(flow.nodes[number] for number in sorted(numbers))
    constants = {
        v: flow.values[v].literal
        for node in nodes
        for v in node.operands
        if flow.values[v].literal is not None
    }
    return Function(argument, end, nodes, constants)


def shape_of(function: Function) -> Shape | None:
    """What a function looks like if it squashes, else ``None``."""

    def f(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return function.on_host(x)

    def slope(x: np.ndarray, step: float) -> np.ndarray:
        step = step * np.maximum(1.0, np.abs(x))
        quotient: np.ndarray = np.abs(f(x + step) - f(x - step)) / (2 * step)
        return quotient

    with _float64_on_host():
        near, left, right = np.split(f(_ALL), [len(_NEAR), -len(_FAR)])
        reach = near.max() - near.min()
        ends = np.concatenate([left, right])
        if not (np.isfinite(near).all() and np.isfinite(ends).all() and reach > 0):
            return None
        if max(np.ptp(left), np.ptp(right)) > _BOUNDED * reach:
            return None
        steep, far = np.split(slope(_ALL, _STEP), [len(_NEAR)])
        largest = float(steep.max())
        smooth = 0.5 * largest < slope(_NEAR, _LARGE).max() < 2 * largest
        if not smooth or far.max() > _FLAT * largest:
            return None
        squares = np.square(steep / largest)
        middle = float(np.sum(squares * _NEAR) / np.sum(squares))
        everywhere = np.concatenate([near, ends])
        low, high = float(everywhere.min()), float(everywhere.max())
        width = (high - low) / (2 * largest)
        z = np.linspace(-6.0, 6.0, 1201)
        weights = np.exp(-(z**2) / 2)
        usual = np.square(slope(middle + width * z, _STEP) / largest)
        rectifies = bool((np.concatenate([near[_NEAR <= 0], left]) == 0).all())
    return Shape(
        middle,
        width,
        largest,
        low,
        high,
        float(np.sum(weights * usual) / np.sum(weights)),
        rectifies,
    )
