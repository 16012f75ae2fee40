"""What makes two equations equal, up to what they read from outside."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax
import numpy as np

from jaxinit._caches import hashable
from jaxinit.program import versions
from jaxinit.program.primitives import is_float


def literal_form(value: Any, aval: Any) -> Hashable:
    """Equal for literals that are one value."""
    return str(aval), np.asarray(value).tobytes()


class Forms:
    """Forms of equations: equal for two that are equal.

    Ids stand for what cannot be compared, as long as this object holds it.
    """

    def __init__(self) -> None:
        self._programs: dict[tuple[int, bool], tuple[Any, int]] = {}
        self._numbers: dict[Hashable, int] = {}
        self._in_gradient = False

    def equation(self, equation: versions.Equation) -> Hashable:
        """The form of an equation that outlives this object."""
        params: Hashable
        if equation.primitive.name in versions.CUSTOM_RULES:
            params = self._rule(equation)
        else:
            params = tuple(
                (name, self._value(value))
                for name, value in sorted(equation.params.items())
            )
        return (
            str(equation.primitive.name),
            params,
            equation.ctx,
            tuple(str(atom.aval) for atom in equation.invars),
            tuple(str(var.aval) for var in equation.outvars),
        )

    def _rule(self, equation: versions.Equation) -> Hashable:
        """A function with a derivative of its own: what it is, and its derivative.

        The rule itself is a new object for each call; two are the same if they trace
        to the same.
        """
        called = versions.called_program(equation)
        avals = [atom.aval for atom in (*equation.invars, *equation.outvars)]
        if called is None or not all(map(is_float, avals)):
            return id(equation)
        value = self._program(called)
        if self._in_gradient:  # nobody differentiates it once more
            return value
        try:
            gradient = _derivative(equation)
        except Exception:  # whatever a user's rule raises: it equals itself alone
            return id(equation)
        self._in_gradient = True
        try:
            return value, self._program(gradient)
        finally:
            self._in_gradient = False

    def _value(self, value: Any) -> Hashable:
        """A parameter of an equation; programs in it count by what they are."""
        if hasattr(getattr(value, "jaxpr", value), "eqns"):
            return "program", self._program(value)
        if isinstance(value, tuple | list):
            return tuple(map(self._value, value))
        if isinstance(value, Mapping):
            return tuple((k, self._value(v)) for k, v in sorted(value.items()))
        form: Hashable = value if hashable(value) else id(value)
        return form

    def _program(self, outer: Any) -> int:
        """The number of an inner program; equal ones have the same."""
        name = (id(outer), self._in_gradient)
        if name in self._programs:
            return self._programs[name][1]
        jaxpr = versions.program(outer).jaxpr
        numbers: dict[Any, int] = {}

        def read(atom: Any) -> Hashable:
            if isinstance(atom, versions.Literal):
                return literal_form(atom.val, atom.aval)
            return numbers.setdefault(atom, len(numbers))

        form: list[Hashable] = [tuple(map(id, getattr(outer, "consts", ())))]
        form.append(tuple((read(v), str(v.aval)) for v in jaxpr.invars))
        form.append(tuple(read(v) for v in jaxpr.constvars))
        for equation in jaxpr.eqns:
            operands = tuple(map(read, equation.invars))
            results = tuple(map(read, equation.outvars))
            form.append((self.equation(equation), operands, results))
        form.append(tuple(map(read, jaxpr.outvars)))
        number = self._numbers.setdefault(tuple(form), len(self._numbers))
        self._programs[name] = (outer, number)  # held, so that ids stay its own
        return number


def _derivative(equation: versions.Equation) -> versions.Program:
    """The derivative of an equation, forward where it has a rule for that: cheaper."""
    forward = equation.primitive.name == "custom_jvp_call"
    given = [atom.aval for atom in equation.invars]
    moved = given if forward else [var.aval for var in equation.outvars]
    count = len(given)

    def run(*values: Any) -> Any:
        return versions.bind(equation, values)

    def derivative(*values: Any) -> Any:
        if forward:
            return jax.jvp(run, values[:count], values[count:])
        _, back = jax.vjp(run, *values[:count])
        return back(list(values[count:]))

    spec: Any = jax.ShapeDtypeStruct
    shapes = [spec(aval.shape, aval.dtype) for aval in (*given, *moved)]
    return versions.trace(derivative, *shapes)[0]
