"""An elementwise function, read off a program, for arrays of any shape."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program import versions
from jaxinit.program.primitives import ELEMENTWISE, IDENTITIES
from jaxinit.program.program import CALLS, Constant, Node, build
from jaxinit.program.read import read

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
        (result,) = read(build(program), [value], _Elementwise())
        return jnp.broadcast_to(result, value.shape)

    return function


class _Elementwise:
    """Values of other shapes than were traced; what does not vary stays a scalar."""

    def constant(self, constant: Constant | None) -> Any:
        return None if constant is None else constant.value

    def node(self, node: Node, operands: list[Any]) -> Sequence[Any]:
        name, equation = node.primitive, node.equation
        if node.kind in CALLS:
            return read(node.bodies[0], operands, self)
        if name == "broadcast_in_dim" and np.ndim(operands[0]) == 0:
            return operands
        if name not in ELEMENTWISE | IDENTITIES:
            raise NotElementwise(f"`{name}` does not work on each element by itself")
        shape = np.broadcast_shapes(*(np.shape(x) for x in operands))
        spread = [
            jnp.broadcast_to(jnp.asarray(x, atom.aval.dtype), shape)
            for x, atom in zip(operands, equation.invars, strict=True)
        ]
        return versions.bind(equation, spread)
