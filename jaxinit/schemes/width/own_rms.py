"""The root mean square of what initializers draw, and arrays brought to one."""

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxinit._typing import Initializer
from jaxinit.draw.own_init import OwnDraw, as_arrays
from jaxinit.initializers._call import call
from jaxinit.models.trace import Traced

Array = jax.Array
T = TypeVar("T")

# A model's own init is run until it has drawn so many numbers, between so many times:
# 2**14 samples have a root mean square within 0.6 percent.
_NUM_ENTRIES = 2**22
_MOST_DRAWS = 256
_FEW_DRAWS = 8


@functools.partial(jax.jit, static_argnames="axes")
def with_rms(value: Array, wanted: ArrayLike, axes: tuple[int, ...]) -> Array:
    """``value`` multiplied to the root mean square ``wanted``.

    Args:
      value: the array. Zeros stay zeros.
      wanted: the root mean square for each index along ``axes``, in their order.
      axes: the axes that number stacked layers.

    Returns:
      An array of the same dtype.
    """
    others = tuple(axis for axis in range(value.ndim) if axis not in axes)
    wide = value.astype(jnp.promote_types(value.dtype, jnp.float32))
    rms = jnp.sqrt(jnp.square(jnp.abs(wide)).mean(others, keepdims=True))
    order = np.argsort(axes).tolist()
    target = jnp.transpose(jnp.asarray(wanted, rms.dtype), order).reshape(rms.shape)
    return (wide * (target / jnp.where(rms > 0, rms, 1))).astype(value.dtype)


@functools.lru_cache(maxsize=16)
def own_rms(
    traced: Traced,
    inputs: tuple[jax.ShapeDtypeStruct, ...],
    axes: tuple[tuple[int, ...], ...],
) -> tuple[np.ndarray, ...]:
    """The root mean square of what a model's own init draws.

    Args:
      traced: the model.
      inputs: the shapes of its inputs.
      axes: for each of its parameters, those that number stacked layers.

    Returns:
      For each parameter, an array with the sizes of these axes, in their order.
    """
    shapes = [var.aval.shape for var in traced.apply.jaxpr.invars[: len(axes)]]
    entries = max(sum(map(math.prod, shapes)), 1)
    count = min(_MOST_DRAWS, max(_FEW_DRAWS, _NUM_ENTRIES // entries))
    if traced.init is None:  # each draw then runs op by op
        count = _FEW_DRAWS

    def measure() -> tuple[np.ndarray, ...]:
        draw, arrays = OwnDraw(traced, range(len(axes))), as_arrays(inputs)
        totals = [np.zeros(())] * len(axes)
        for key in jax.random.split(jax.random.key(0), count):
            for i, value in enumerate(draw(key, *arrays)):
                totals[i] = totals[i] + _mean_square(np.asarray(value), axes[i])
        return tuple(np.sqrt(total / count) for total in totals)

    return _untraced(measure)


def rms_of(
    init: Initializer, shape: tuple[int, ...], axes: Sequence[int]
) -> np.ndarray:
    """The root mean square of an initializer's samples of one shape.

    Args:
      init: the initializer.
      shape: the shape of the samples.
      axes: the axes that number stacked layers.

    Returns:
      An array with the sizes of these axes, in their order.
    """

    def measure() -> np.ndarray:
        keys = jax.random.split(jax.random.key(0), _FEW_DRAWS)
        draws = [call(init, key, shape, np.dtype("float32")) for key in keys]
        total = sum(_mean_square(np.asarray(draw), axes) for draw in draws)
        return np.asarray(np.sqrt(total / len(draws)))

    return _untraced(measure)


def _untraced(function: Callable[[], T]) -> T:
    """Runs a function with real values, also where the caller is being traced.

    Tracing is a matter of a thread; ``jax.ensure_compile_time_eval`` does not reach
    into compiled functions in all versions of jax.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def _mean_square(value: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """For each index along ``axes``, in their order."""
    sizes = [value.shape[axis] for axis in axes]
    first = np.moveaxis(value, axes, range(len(axes)))
    wide = np.abs(first).astype(np.float64).reshape(*sizes, -1)
    return np.asarray(np.square(wide).mean(-1))
