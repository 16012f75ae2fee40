"""Evaluates blocks: every draw flat, equal derivations of keys all at once."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinit._configuration import keys_count_apart
from jaxinit.draw.pieces import Piece, cut, is_threefry
from jaxinit.initializers._threefry import fast_key
from jaxinit.program import versions
from jaxinit.program.bodies import Made, run_bodies
from jaxinit.program.plan import NO_HOOKS, Probes
from jaxinit.program.primitives import ELEMENTWISE
from jaxinit.program.program import Constant, Node, Operand, Region


def evaluate(block: Region, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of ``block``: every draw flat, equal derivations of keys as one."""
    env: dict[Operand, Any] = dict(zip(block.inputs, inputs, strict=True))
    for group in cut(block):
        run_group(group, env)
    return [read(env, output) for output in block.outputs]


def run_group(group: Sequence[Piece], env: dict[Operand, Any]) -> None:
    """Runs equal pieces and enters their outputs in ``env``."""
    if len(group) < 2 or not group[0].derives_keys:
        for piece in group:
            values = [read(env, operand) for operand in piece.inputs]
            env.update(zip(piece.outputs, run_piece(piece, values), strict=True))
        return
    columns = list(zip(*(piece.inputs for piece in group), strict=True))
    axes = [0 if len(set(column)) > 1 else None for column in columns]
    values = [
        read(env, column[0]) if axis is None else stack(env, column)
        for axis, column in zip(axes, columns, strict=True)
    ]
    if 0 not in axes:
        results = run_piece(group[0], values)
        for piece in group:
            env.update(zip(piece.outputs, results, strict=True))
        return
    run = functools.partial(run_piece, group[0])
    stacks = jax.vmap(lambda *xs: run(xs), in_axes=axes)(*values)
    for index, piece in enumerate(group):
        for output, results in zip(piece.outputs, stacks, strict=True):
            env[output] = _Item(results, index)


def read(env: dict[Operand, Any], operand: Operand | None) -> Any:
    """The value of an operand; a constant that is an input of a piece may vary."""
    if operand is None:  # an output of a body that is not wanted
        return None
    if isinstance(operand, Constant):
        return env.get(operand, operand.value)
    value = env[operand]
    if isinstance(value, _Item):
        value = env[operand] = value.stack[value.place]
    return value


def stack(env: dict[Operand, Any], column: Sequence[Operand]) -> Any:
    """The values of ``column`` along a new leading axis."""
    if all(isinstance(operand, Constant) for operand in column):
        return np.stack([np.asarray(read(env, operand)) for operand in column])
    items = [env.get(operand) for operand in column]
    first = items[0]
    if isinstance(first, _Item) and all(
        isinstance(item, _Item) and item.stack is first.stack for item in items
    ):
        places = np.array([item.place for item in items if item is not None])
        if np.array_equal(places, np.arange(first.stack.shape[0])):
            return first.stack
        return first.stack[places]
    return jnp.stack([read(env, operand) for operand in column])


def run_piece(piece: Piece, inputs: Sequence[Any], *, flat: bool = True) -> list[Any]:
    """The outputs of ``piece`` on ``inputs``.

    Args:
      piece: what to run.
      inputs: what it reads.
      flat: whether numbers are drawn flat, which compiles faster. A result that is to
        be sharded is drawn in its own shape, so that each device draws its part.
    """
    env: dict[Operand, Any] = dict(zip(piece.inputs, inputs, strict=True))
    for node in piece.nodes:
        values = [read(env, operand) for operand in node.operands]
        env.update(zip(node.results, _run_node(node, values, flat), strict=True))
    return [_shaped(env[output]) for output in piece.outputs]


class _Flat(NamedTuple):
    """An array of ``shape``, held flat."""

    array: jax.Array
    shape: tuple[int, ...]


class _Item(NamedTuple):
    """One of several arrays that lie in a stack."""

    stack: Any
    place: int


def _run_node(node: Node, values: list[Any], flat_draws: bool) -> list[Any]:
    if node.primitive == "random_bits":
        draw = _draw_flat if flat_draws else _draw_shaped
        return [draw(node.equation, values[0])]
    if node.primitive in ELEMENTWISE:  # it may run before the reshape of a draw
        flat = _all_flat(node, values)
        if flat is not None:
            results = versions.bind(node.equation, flat)
            return [_Flat(results[0], node.equation.outvars[0].aval.shape)]
    values = [_shaped(value) for value in values]
    return (
        _evaluate_bodies(node, values)
        if node.bodies
        else versions.bind(node.equation, values)
    )


def _all_flat(node: Node, values: list[Any]) -> list[Any] | None:
    """The operands of an elementwise node, all flat, if one of them is held flat."""
    shape = node.equation.outvars[0].aval.shape
    if not any(isinstance(value, _Flat) and value.shape == shape for value in values):
        return None
    flat = []
    for value in values:
        if isinstance(value, _Flat) and value.shape == shape:
            flat.append(value.array)
        elif isinstance(value, _Flat):
            return None
        elif np.ndim(value) == 0:
            flat.append(value)
        elif np.size(value) == 1 or np.shape(value) == shape:
            flat.append(lax.reshape(value, (np.size(value),)))
        else:
            return None
    return flat


def _shaped(value: Any) -> Any:
    return lax.reshape(value.array, value.shape) if isinstance(value, _Flat) else value


def _evaluate_bodies(node: Node, values: list[Any]) -> list[Any]:
    """Runs a loop or a branch anew, from its pruned bodies, which keep no records."""

    def run(which: int, values: Sequence[Any], probes: Probes) -> Made:
        del probes
        return evaluate(node.bodies[which], values), {}

    return run_bodies(node, values, {}, run, NO_HOOKS.merge)[0]


def _draw_shaped(equation: versions.Equation, key: Any) -> Any:
    """A ``random_bits`` equation in its own shape, by the faster form of the hash."""
    with equation.ctx.manager:
        fast = fast_key(key, tuple(equation.params["shape"]))
    return versions.bind(equation, [fast])[0]


def _draw_flat(equation: versions.Equation, key: Any) -> Any:
    """A ``random_bits`` equation drawn flat, where that changes no bit of it.

    It changes none since partitionable threefry became the default: an element
    depends on the key and on its place in the flat array alone. Each equation
    remembers whether the mode was on. Its parameters are ``bit_width`` and ``shape``,
    the shape for one key, on 0.10 and 0.12 alike.
    """
    keys: Any = equation.invars[0].aval
    made: Any = equation.outvars[0].aval
    params = equation.params
    size = math.prod(params["shape"])
    with equation.ctx.manager:
        apart = keys_count_apart()
    if not apart or not is_threefry(keys):
        return versions.bind(equation, [key])[0]
    flat = equation.replace(params={**params, "shape": (size,)})
    bits = versions.bind(flat, [fast_key(key, (size,))])[0]
    return _Flat(lax.reshape(bits, (bits.size,)), tuple(made.shape))
