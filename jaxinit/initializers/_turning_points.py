"""Where the program of an activation turns, read off without running it.

Most kinks, jumps and spikes lie where the input, shifted and scaled, is compared with
a number or enters a function at its zero: ``(x > 0.3) & (x < 0.3001)`` turns at both,
and ``exp(-((x - 0.3) / 1e-5) ** 2)`` at 0.3. No grid of points finds them all.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

Line = tuple[float, float] | None
"""The slope and the value at 0 of what is linear in the input; of numbers, slope 0."""

_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne", "max", "min"}
_KEPT = {
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "pvary",
    "reshape",
    "squeeze",
    "stop_gradient",
}


def turning_points(function: Callable[..., Any]) -> tuple[float, ...]:
    """The points of the input where the program of an elementwise function turns.

    Args:
      function: from a float64 vector to one of its shape.

    Returns:
      The points in order; none for what the program does not tell.
    """
    closed = jax.make_jaxpr(lambda x: function(x))(np.zeros(1))
    points: set[float] = set()
    _follow(closed.jaxpr, closed.consts, [(1.0, 0.0)], points)
    return tuple(sorted(points))


def _follow(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Line], points: set[float]
) -> list[Line]:
    """The lines of the outputs; adds to ``points``."""
    lines: dict[Any, Line] = {}
    for variable, value in zip(jaxpr.constvars, consts, strict=True):
        lines[variable] = _number(value)
    lines.update(zip(jaxpr.invars, inputs, strict=True))

    def line_of(atom: Any) -> Line:
        return _number(atom.val) if hasattr(atom, "val") else lines.get(atom)

    for equation in jaxpr.eqns:
        operands = [line_of(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None and len(inner.jaxpr.invars) == len(operands):
            found = _follow(inner.jaxpr, inner.consts, operands, points)
        else:
            line = _combined(equation.primitive.name, operands)
            if line is None:
                points.update(_turns(equation.primitive.name, operands))
            found = [line] * len(equation.outvars)
        lines.update(zip(equation.outvars, found, strict=False))
    return [line_of(atom) for atom in jaxpr.outvars]


def _inner(equation: Any) -> Any:
    """The program that a call runs, as jit and custom derivatives have it."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        program = equation.params.get(name)
        if hasattr(program, "consts"):
            return program
    return None


def _combined(name: str, operands: list[Line]) -> Line:
    """The line that an operation makes of lines, if it makes one."""
    known = [line for line in operands if line is not None]
    if len(known) < len(operands) or not known:
        return None
    if name in _KEPT:
        return known[0]
    if name == "neg":
        return -known[0][0], -known[0][1]
    if len(known) != 2:
        return None
    (a, b), (c, d) = known
    if name == "add":
        return a + c, b + d
    if name == "sub":
        return a - c, b - d
    if name == "mul" and 0 in (a, c):
        return a * d + c * b, b * d
    if name == "div" and c == 0 != d:
        return a / d, b / d
    return None


def _turns(name: str, operands: list[Line]) -> list[float]:
    """Where a comparison changes its mind, or an operand is zero."""
    known = [line for line in operands if line is not None]
    if name in _COMPARISONS and len(known) == 2:
        (a, b), (c, d) = known
        known = [(a - c, b - d)]
    points = [0.0 - b / a for a, b in known if a != 0]
    return [point for point in points if math.isfinite(point)]


def _number(value: Any) -> Line:
    """A constant as a line, unless it is an array of different numbers."""
    array = np.asarray(value)
    real = np.issubdtype(array.dtype, np.number) and not np.iscomplexobj(array)
    if not real or array.size == 0 or (array != array.flat[0]).any():
        return None
    return 0.0, float(array.flat[0])
