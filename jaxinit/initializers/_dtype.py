"""Which dtype a result has, and in which one it is computed."""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def check_dtype(dtype: DTypeLike | None, *, allow_complex: bool = True) -> np.dtype:
    """The dtype that jax will give the result; integers and bools are refused."""
    if dtype is None:
        return np.dtype(jnp.result_type(float))
    resolved = np.dtype(dtype)
    allowed = jnp.inexact if allow_complex else jnp.floating
    if not jnp.issubdtype(resolved, allowed):
        kinds = "float or complex" if allow_complex else "real float"
        raise ValueError(
            f"`dtype` must be a {kinds} dtype, got {resolved.name}. Initialize in "
            "float32, say, and convert the result."
        )
    if resolved.name == "float8_e8m0fnu":
        raise ValueError(
            "`dtype` is float8_e8m0fnu, which has neither a sign nor a zero. Use "
            "another float8 dtype."
        )
    if resolved.itemsize > 8 or resolved == np.float64:
        # Without x64 jax warns and truncates; leave both to it.
        resolved = np.dtype(jnp.empty((), resolved).dtype)
    return resolved


def compute_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype in which samples of ``dtype`` are drawn and scaled."""
    dtype = np.dtype(dtype)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return dtype
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def real_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of the real and imaginary parts of the compute dtype."""
    return np.zeros((), compute_dtype(dtype)).real.dtype


def is_complex(dtype: DTypeLike) -> bool:
    """Whether the dtype is complex."""
    return bool(jnp.issubdtype(np.dtype(dtype), jnp.complexfloating))
