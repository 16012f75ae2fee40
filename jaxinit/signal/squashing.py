"""What a function of one variable makes of what it is given, and what takes it."""

import jax
import jax.numpy as jnp

from jaxinit.moments.functions import Function, Shape
from jaxinit.program.flow import Flow, Node

Array = jax.Array

# A derivative of so much less than its maximum is none.
_NO_SLOPE = 0.05

_STEPS = frozenset(
    "add sub mul div neg integer_pow square convert_element_type max min".split()
)


def record_slopes(function: Function, shape: Shape, x: Array) -> Array:
    """What a squashing function makes of an array.

    Returns:
      `(5,)`: the mean of (f' / max f')^2; the shares of the entries without a slope
      below and above the middle; mean and deviation of the results, as -1 to 1.
    """
    y, slope = jax.jvp(function, (x,), (jnp.ones_like(x),))
    x, y, slope = (a.astype(jnp.float32) for a in (x, y, slope))
    squares = jnp.square(slope / shape.largest)
    if shape.rectifies:
        squares = jnp.where(x > 0, squares, jnp.nan)
    flat = squares < _NO_SLOPE**2
    half = (shape.high - shape.low) / 2
    unit = (y - (shape.low + half)) / half
    return jnp.stack(
        [
            jnp.nanmean(squares),
            jnp.mean((flat & (x < shape.middle)).astype(jnp.float32)),
            jnp.mean((flat & (x > shape.middle)).astype(jnp.float32)),
            jnp.mean(unit),
            jnp.std(unit),
        ]
    )


def multiplied(flow: Flow, argument: int, result: int) -> str | None:
    """What a squashed value is multiplied by: its own argument, other data, nothing."""
    own = {argument}
    todo = [argument]
    while todo:
        maker = maker_of(flow, todo.pop())
        if maker is not None and maker.primitive in _STEPS:
            fresh = [v for v in maker.operands if flow.data[v] and v not in own]
            own.update(fresh)
            todo += fresh
    values = [result]
    seen = set(values)
    while values:
        value = values.pop()
        for number, position in flow.users[value]:
            user = flow.nodes[number]
            others = [v for p, v in enumerate(user.operands) if p != position]
            if user.primitive == "mul" and others and flow.data[others[0]]:
                return "itself" if others[0] in own else "data"
            if user.primitive not in _STEPS | {"slice", "split", "copy"}:
                continue
            if user.primitive == "add" and others and flow.data[others[0]]:
                continue
            for result in user.results:
                if result not in seen:
                    seen.add(result)
                    values.append(result)
    return None


def maker_of(flow: Flow, value: int) -> Node | None:
    """The node that computes a value, if one does."""
    maker = flow.values[value].maker
    return None if maker is None else flow.nodes[maker]
