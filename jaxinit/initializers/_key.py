"""When two calls of a factory are one: equality of arguments, arrays by value."""

import functools
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np


def key_of(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Hashable:
    """Equal for two calls if their factories and arguments are."""
    return (factory, *(_key(value) for value in arguments.values()))


class Same:
    """Equal only where it holds the same object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class _Array:
    """Equal for arrays of the same dtype, shape and bits."""

    def __init__(self, value: np.ndarray | np.generic | jax.Array) -> None:
        self.value = value

    @property
    def _form(self) -> tuple[Hashable, ...]:
        return self.value.shape, np.dtype(self.value.dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Array) or self._form != other._form:
            return False
        if self.value is other.value:
            return True
        return np.asarray(self.value).tobytes() == np.asarray(other.value).tobytes()

    def __hash__(self) -> int:
        return hash(self._form)


def _key(value: Any) -> Hashable:
    if isinstance(value, jax.core.Tracer):
        return Same(value)
    if isinstance(value, tuple):
        return (tuple, *map(_key, value))
    if isinstance(value, (bool, complex)):
        return type(value), repr(value)  # Python has True == 1.0 == 1 + 0j
    if isinstance(value, float):
        # Zeros differ in their sign, which draws show.
        return (value, "-") if value == 0 and math.copysign(1, value) < 0 else value
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return _Array(value)
    if isinstance(value, functools.partial):
        words = tuple(
            (name, _key(value.keywords[name])) for name in sorted(value.keywords)
        )
        return _key(value.func), _key(value.args), words
    try:
        hash(value)
    except TypeError:
        return Same(value)
    return value  # type: ignore[no-any-return]
