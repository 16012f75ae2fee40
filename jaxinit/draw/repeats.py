"""Whether a model's own init gives the same weights whatever the key is."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.draw.pieces import DRAWS
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.program import Constant, Operand, Region, build
from jaxinit.program.prune import body_marks, prune, reached

Repeats = Literal["no", "drawn", "fixed"]
"""Whether weights are the same for all keys: ``"drawn"`` where the init is seen to
draw them from a key of its own; ``"fixed"`` where numbers that differ come from
elsewhere, as from NumPy, from a callback, or out of a program that is not traced."""

_CALLBACKS = frozenset({"pure_callback", "io_callback"})


def repeats(traced: Traced, leaves: Sequence[int], inputs: Sequence[Any]) -> Repeats:
    """Whether the init gives these leaves of a model the same values for all keys.

    What is the same for all keys by its nature, such as zeros or an identity, repeats
    nothing that was meant to be random.

    Args:
      traced: the model.
      leaves: which of its leaves; the key reaches none of them in a program.
      inputs: the model's inputs, for an init that cannot be traced.
    """
    if not traced.draws or not leaves:
        return "no"
    if traced.init is None:
        return _eagerly(traced, leaves, inputs)
    block = prune(build(versions.with_outputs(traced.init, list(leaves))))
    is_key = [i == 0 for i in range(len(block.inputs))]
    if _without(block, is_key, DRAWS):
        return "drawn"
    return "fixed" if _without(block, is_key, _CALLBACKS) or _holds(block) else "no"


def _eagerly(traced: Traced, leaves: Sequence[int], inputs: Sequence[Any]) -> Repeats:
    """The same for an init that cannot be traced: by drawing with two keys."""
    first, second = (traced.init_eagerly(jax.random.key(n), *inputs) for n in (0, 1))
    pairs = [(np.asarray(first[i]), np.asarray(second[i])) for i in leaves]
    if not all(np.array_equal(a, b) for a, b in pairs):
        return "no"
    return "fixed" if any(map(_differ, (a for a, _ in pairs))) else "no"


def _without(block: Region, marks: Sequence[bool], names: frozenset[str]) -> bool:
    """Whether a node of these ``names`` runs that none of the marked inputs reaches."""
    found, _ = reached(block, marks)
    for node in block.nodes:
        held = [operand in found for operand in node.operands]
        if node.primitive in names and not any(held):
            return True
        bodies = zip(node.bodies, body_marks(node, held), strict=True)
        if any(_without(body, inner, names) for body, inner in bodies):
            return True
    return False


def _holds(block: Region) -> bool:
    """Whether it holds an array of numbers that differ, which no equation made."""
    operands: list[Operand | None] = [*block.outputs]
    for node in block.nodes:
        operands += node.operands
    return any(isinstance(v, Constant) and _differ(v.value) for v in operands) or any(
        _holds(body) for node in block.nodes for body in node.bodies
    )


def _differ(value: Any) -> bool:
    """Whether an array holds real numbers, and more than one of them."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        return False
    array = np.asarray(value)
    return array.size > 1 and bool((array != array.flat[0]).any())
