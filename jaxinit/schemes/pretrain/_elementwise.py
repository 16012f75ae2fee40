"""An elementwise function, read off a program, for arrays of any shape."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program import versions
from jaxinit.program.liveness import live_equations
from jaxinit.program.primitives import ELEMENTWISE, IDENTITIES

Array = jax.Array


class NotElementwise(ValueError):
    """A program does something else than work on each element by itself."""


def elementwise(program: versions.Program) -> Callable[[Array], Array]:
    """The function that a program is, if it treats each element alike.

    Args:
      program: a program with one input and one output of the same shape.

    Returns:
      A function of one array of any shape. Its derivative is that of its equations,
      also where the program has rules of its own.

    Raises:
      NotElementwise: when called, if an equation does not work element by element.
    """

    def function(value: Array) -> Array:
        (result,) = _run(program, [value])
        return jnp.broadcast_to(result, value.shape)

    return function


def _run(program: versions.Program, values: Sequence[Any]) -> list[Any]:
    """Runs a program on values of other shapes; what does not vary stays a scalar."""
    known: dict[Any, Any] = dict(
        zip(program.jaxpr.constvars, program.consts, strict=True)
    )
    known.update(zip(program.jaxpr.invars, values, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, versions.Literal) else known[atom]

    live = live_equations(program.jaxpr, None)
    for equation in (program.jaxpr.eqns[index] for index in sorted(live)):
        operands = [read(atom) for atom in equation.invars]
        inner = versions.called_program(equation)
        name = equation.primitive.name
        if inner is not None:
            results = _run(inner, operands)
        elif name == "broadcast_in_dim" and np.ndim(operands[0]) == 0:
            results = operands
        elif name in ELEMENTWISE | IDENTITIES:
            shape = np.broadcast_shapes(*(np.shape(x) for x in operands))
            spread = [
                jnp.broadcast_to(jnp.asarray(x, atom.aval.dtype), shape)
                for x, atom in zip(operands, equation.invars, strict=True)
            ]
            results = versions.bind(equation, spread)
        else:
            raise NotElementwise(f"`{name}` does not work on each element by itself")
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.jaxpr.outvars]
