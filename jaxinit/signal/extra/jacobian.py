"""Singular values of the Jacobian from the model's inputs to its outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.models.trace import Traced
from jaxinit.program import versions

Array = jax.Array

NAMES = ("jacobian_mean", "jacobian_var", "jacobian_max", "jacobian_min")
"""Of the squared singular values; the variance is over the square of the mean."""
_EXACT = 2**20
_PROBES, _STEPS = 16, 24


def isometry(
    traced: Traced, values: Sequence[Any], key: Array, exact: int = _EXACT
) -> list[Array]:
    r"""Mean, variance over squared mean, largest and smallest squared singular value.

    There are :math:`n` of them, the smaller number of entries of inputs and outputs.
    A Jacobian of at most ``exact`` entries is computed whole. Of a larger one
    Gaussian probes :math:`v` on its smaller side give the mean
    :math:`E|J^T v|^2 / n` and :math:`n\,E|J J^T v|^2 / (E|J^T v|^2)^2 - 1`, a power
    iteration the largest, and the smallest is NaN.

    Args:
      traced: the model.
      values: the inputs of its program.
      key: of the probes.
      exact: the number of entries up to which the Jacobian is computed.

    Returns:
      Four numbers, as in ``NAMES``; NaN where no floating-point input reaches a
      floating-point output.

    References:
      Pennington et al., "Resurrecting the sigmoid in deep learning through dynamical
      isometry", 2017.
    """
    function, start = _flat(traced, values)
    if function is None:
        return [jnp.full((), jnp.nan)] * 4
    number_out = jax.eval_shape(function, start).size
    n = min(start.size, number_out)
    if not n:
        return [jnp.full((), jnp.nan)] * 4
    _, push = jax.linearize(function, start)
    pull_back = jax.linear_transpose(push, start)

    def pull(v: Array) -> Array:
        (found,) = pull_back(v)
        return jnp.asarray(found)

    to_other, back = (pull, push) if number_out <= start.size else (push, pull)
    if start.size * number_out <= exact:
        rows = jax.vmap(to_other)(jnp.eye(n))
        squares = jnp.square(jnp.linalg.svd(rows, compute_uv=False))
        mean = jnp.mean(squares)
        spread = jnp.mean(jnp.square(squares / mean - 1))
        return [mean, spread, jnp.max(squares), jnp.min(squares)]
    probes = jax.random.normal(key, (_PROBES, n))

    def moments(v: Array) -> tuple[Array, Array]:
        there = to_other(v)
        return jnp.sum(there**2), jnp.sum(back(there) ** 2)

    first, second = (jnp.mean(m) for m in jax.lax.map(moments, probes))

    def step(v: Array, _: None) -> tuple[Array, Array]:
        there = back(to_other(v))
        size = jnp.linalg.norm(there)
        return there / size, size

    unit = probes[0] / jnp.linalg.norm(probes[0])
    _, sizes = jax.lax.scan(step, unit, length=_STEPS)
    nan = jnp.full((), jnp.nan)
    return [first / n, n * second / first**2 - 1, sizes[-1], nan]


def _flat(
    traced: Traced, values: Sequence[Any]
) -> tuple[Callable[[Array], Array] | None, Array]:
    """The model as a function from all its inputs, one vector, to all its outputs."""
    inputs = [i for i in traced.input_positions if _is_float(values[i])]
    parts = [jnp.ravel(values[i]).astype(jnp.float32) for i in inputs]
    start = jnp.concatenate(parts) if parts else jnp.zeros(0)
    outputs = [i for i, v in enumerate(traced.apply.jaxpr.outvars) if _is_float(v.aval)]
    if not inputs or not outputs:
        return None, start

    def function(flat: Array) -> Array:
        filled, first = list(values), 0
        for i in inputs:
            size = values[i].size
            part = flat[first : first + size].reshape(values[i].shape)
            filled[i] = part.astype(values[i].dtype)
            first += size
        found = versions.evaluate(traced.apply, filled)
        return jnp.concatenate(
            [jnp.ravel(found[i]).astype(jnp.float32) for i in outputs]
        )

    return function, start


def _is_float(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jnp.floating))
