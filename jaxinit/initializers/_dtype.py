"""Which dtype a result has, and in which one it is computed."""

import functools
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Kinds: TypeAlias = Literal["real", "complex", "any"]
"""Real floats; complex ones as well; integers and bools as well."""

_WORDS = {"real": "real float", "complex": "float or complex", "any": "numeric or bool"}
_ADVICE = "Initialize in float32, say, and convert the result."


def check_dtype(dtype: DTypeLike | None, kinds: Kinds = "complex") -> np.dtype:
    """The dtype that jax will give the result, if it is of one of the kinds.

    Raises:
      TypeError: if ``dtype`` is not a dtype.
      ValueError: if it is not of the kinds.
    """
    if dtype is None:
        return np.dtype(jnp.result_type(float))
    try:
        resolved = _checked(dtype, kinds)
    except TypeError as error:  # no dtype, or without a hash
        resolved = _checked(as_dtype("dtype", dtype), kinds)
        del error
    if resolved.itemsize > 4 and resolved != np.complex64:
        # Without x64 jax warns and truncates; leave both to it.
        resolved = np.dtype(jnp.empty((), resolved).dtype)
    return resolved


@functools.lru_cache(maxsize=256)
def _checked(dtype: Any, kinds: Kinds) -> np.dtype:
    resolved = np.dtype(dtype)
    allowed = {"real": jnp.floating, "complex": jnp.inexact}
    if kinds == "any":
        fits = jnp.issubdtype(resolved, jnp.number) or resolved == np.bool_
    else:
        fits = jnp.issubdtype(resolved, allowed[kinds])
    if not fits:
        raise ValueError(
            f"`dtype` must be a {_WORDS[kinds]} dtype, got {resolved.name}. {_ADVICE}"
        )
    if resolved.name == "float8_e8m0fnu":
        raise ValueError(
            "`dtype` is float8_e8m0fnu, which has neither a sign nor a zero. Use "
            "another float8 dtype."
        )
    return resolved


def as_dtype(name: str, value: Any) -> np.dtype:
    """The dtype that ``value`` means.

    Raises:
      TypeError: if it means none.
    """
    try:
        return np.dtype(value)
    except Exception as error:
        number = isinstance(value, (int, float, np.generic, np.ndarray, jax.Array))
        hint = (
            "As in jax, it stands among the positional arguments: pass the numbers "
            "behind it by their names."
            if number
            else "None leaves it to the caller."
        )
        raise TypeError(
            f"`{name}` must be a dtype such as jnp.float32, got {value!r}. {hint}"
        ) from error


@functools.lru_cache(maxsize=256)
def compute_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype in which samples of ``dtype`` are drawn and scaled."""
    dtype = np.dtype(dtype)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return dtype
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


@functools.lru_cache(maxsize=256)
def real_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of the real and imaginary parts of the compute dtype."""
    return np.zeros((), compute_dtype(dtype)).real.dtype


@functools.lru_cache(maxsize=256)
def is_complex(dtype: DTypeLike) -> bool:
    """Whether the dtype is complex."""
    return bool(jnp.issubdtype(np.dtype(dtype), jnp.complexfloating))
