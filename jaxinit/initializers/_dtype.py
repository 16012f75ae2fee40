"""Which dtype a result has, and in which one it is computed."""

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Kinds: TypeAlias = Literal["real", "complex", "any"]
"""Real floats; complex ones as well; integers and bools as well."""

_WORDS = {"real": "real float", "complex": "float or complex", "any": "numeric or bool"}
_ADVICE = "Initialize in float32, say, and convert the result."


def check_dtype(
    dtype: DTypeLike | None, kinds: Kinds = "complex", name: str = "dtype"
) -> np.dtype:
    """The dtype that jax will give the result, if it is of one of the kinds.

    Raises:
      TypeError: if ``dtype`` is not a dtype.
      ValueError: if it is not of the kinds.
    """
    if dtype is None:
        return np.dtype(jnp.result_type(float))
    try:
        resolved: np.dtype = _checked(_of_python(dtype), kinds, name)
    except TypeError:  # no dtype, or without a hash
        resolved = _checked(as_dtype(name, dtype), kinds, name)
    if resolved.itemsize > 4 and resolved != np.complex64:
        # Without x64 jax warns and truncates; leave both to it.
        resolved = np.dtype(jnp.empty((), resolved).dtype)
    return resolved


@functools.lru_cache(maxsize=256)
def _checked(dtype: Any, kinds: Kinds, name: str) -> np.dtype:
    resolved: np.dtype = np.dtype(dtype)
    allowed = {"real": jnp.floating, "complex": jnp.inexact}
    if kinds == "any":
        fits = jnp.issubdtype(resolved, jnp.number) or resolved == np.bool_
    else:
        fits = jnp.issubdtype(resolved, allowed[kinds])
    if not fits:
        raise ValueError(
            f"`{name}` must be a {_WORDS[kinds]} dtype, got {resolved.name}. {_ADVICE}"
        )
    if resolved.name == "float8_e8m0fnu":
        raise ValueError(
            f"`{name}` is float8_e8m0fnu, which has neither a sign nor a zero. Use "
            "another float8 dtype."
        )
    return resolved


def _of_python(value: Any) -> Any:
    """jax's default for Python's ``float`` and the like, which ask for no size."""
    if isinstance(value, type) and value in (float, complex, int, bool):
        return jnp.result_type(value)
    if isinstance(value, _NUMBERS):  # NumPy would take that of the number
        raise TypeError("a number is no dtype")
    return value


_NUMBERS = (int, float, np.generic, np.ndarray, jax.Array)


def as_dtype(name: str, value: Any) -> np.dtype:
    """The dtype that ``value`` means.

    Raises:
      TypeError: if it means none.
    """
    try:
        found: np.dtype = np.dtype(_of_python(value))
        return found
    except Exception as error:
        hint = (
            "As in jax, it stands among the positional arguments: pass the numbers "
            "behind it by their names."
            if isinstance(value, _NUMBERS)
            else "None leaves it to the caller."
        )
        raise TypeError(
            f"`{name}` must be a dtype such as jnp.float32, got {value!r}. {hint}"
        ) from error


def compute_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype in which samples of ``dtype`` are drawn and scaled."""
    return _facts(np.dtype(dtype)).compute


def real_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of the real and imaginary parts of the compute dtype."""
    return _facts(np.dtype(dtype)).real


def is_complex(dtype: DTypeLike) -> bool:
    """Whether the dtype is complex."""
    return _facts(np.dtype(dtype)).is_complex


class _Facts(NamedTuple):
    compute: np.dtype
    real: np.dtype
    is_complex: bool


@functools.lru_cache(maxsize=256)
def _facts(dtype: np.dtype) -> _Facts:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return _Facts(dtype, np.zeros((), dtype).real.dtype, True)
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    return _Facts(wide, wide, False)
