"""One array into a leaf of another shape or dtype."""

from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.transfer.load_report import Outcome

Mismatch: TypeAlias = Literal["error", "reinit", "slice", "pad", "fit", "select"]


class Fit(NamedTuple):
    """What of an array goes into a leaf: all of it where ``index`` is ``None``."""

    outcomes: tuple[Outcome, ...]
    index: Any = None
    problem: str = ""


def fit(shape: tuple[int, ...], there: tuple[int, ...], mismatch: Mismatch) -> Fit:
    if shape == there:
        return Fit(("loaded",))
    if mismatch == "reinit":
        return Fit(("reinitialized",))
    if mismatch == "error":
        return Fit((), problem="the shapes differ")
    if len(shape) != len(there):
        return Fit((), problem="the number of axes differs")
    axes = list(zip(shape, there, strict=True))
    larger = any(n > m for m, n in axes)
    smaller = any(n < m for m, n in axes)
    if larger and mismatch == "pad":
        return Fit((), problem="larger than the leaf along an axis ('pad')")
    if smaller and mismatch in ("slice", "select"):
        return Fit((), problem=f"smaller than the leaf along an axis ({mismatch!r})")
    if mismatch == "select":
        return Fit(("selected",), np.ix_(*(evenly(m, n) for m, n in axes)))
    parts: list[tuple[bool, Outcome]] = [(larger, "sliced"), (smaller, "padded")]
    return Fit(
        tuple(outcome for happens, outcome in parts if happens),
        tuple(slice(0, min(m, n)) for m, n in axes),
    )


def evenly(count: int, total: int) -> np.ndarray:
    """As many of ``total`` units, evenly apart, the first one among them.

    Every so many where that is a whole number, else rounded steps from the first to
    the last.
    """
    if count and total % count == 0:
        return np.arange(count) * (total // count)
    return np.round(np.linspace(0, total - 1, count)).astype(int)


def cast(value: Any, dtype: np.dtype) -> tuple[Any, str]:
    """The array in another dtype of its kind, or what is wrong with it."""
    given = np.dtype(value.dtype)
    if _kind(given) != _kind(dtype):
        return None, (
            f"{given} for a leaf of {dtype}; a `transform` may convert what is meant "
            "as other numbers (quantized weights)"
        )
    if isinstance(value, jax.core.Tracer):
        return value.astype(dtype), ""
    if _kind(dtype) == "integer":
        narrow = value.astype(dtype)
        fits = bool((narrow == value).all())
        return (narrow, "") if fits else (None, f"integers beyond {dtype}")
    if not _all_finite(value):
        return None, "numbers that are not finite"
    with np.errstate(over="ignore"):
        narrow = value.astype(dtype)
    if not _all_finite(narrow):
        return None, f"numbers beyond {dtype}"
    return narrow, ""


def _kind(dtype: np.dtype) -> str:
    kinds = {
        "boolean": jnp.bool_,
        "integer": jnp.integer,
        "float": jnp.floating,
        "complex": jnp.complexfloating,
    }
    return next(kind for kind, of in kinds.items() if jnp.issubdtype(dtype, of))


def _all_finite(value: Any) -> bool:
    if isinstance(value, jax.Array):
        return bool(jnp.isfinite(value).all())
    # NumPy does not know what is finite among the smallest floats.
    wide = value.astype(np.float32) if value.dtype.itemsize < 4 else value
    return bool(np.isfinite(wide).all())
