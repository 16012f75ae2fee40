"""Checks of the arguments of factories, with messages that say what to do.

There is one notion of a number (Python, NumPy and ml_dtypes scalars, arrays without
axes) and one of an integer (what can index), whoever asks.
"""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._typing import Axes, Scalar


def as_number(value: Any) -> float | None:
    """The float of a real number of any kind; ``None`` if ``value`` is none."""
    if isinstance(value, (bool, jax.core.Tracer)):
        return None
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return None
    return float(np.asarray(value)) if value.ndim == 0 and _is_real(value) else None


def as_integer(value: Any) -> int | None:
    """The Python integer of an integer of any kind; ``None`` if ``value`` is none."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if getattr(value, "dtype", None) == np.bool_:
        return None
    try:
        return operator.index(value)
    except TypeError:  # traced integers among them
        return None


def _is_real(array: Any) -> bool:
    kinds = (jnp.floating, jnp.integer)
    return any(jnp.issubdtype(array.dtype, kind) for kind in kinds)


def as_array(name: str, value: Any) -> np.ndarray:
    """The array of nested lists, which must be even.

    Raises:
      TypeError: if they are ragged; the message names the argument.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"`{name}` must be an array, got {shown(value)}, which is ragged. Give "
            "rows of one length."
        ) from error


def shown(value: Any) -> str:
    """What was got, on one line of a message."""
    if isinstance(value, jax.core.Tracer):
        return f"a traced value, {value.aval}"
    text = " ".join(repr(value).split())
    return text if len(text) < 200 else f"{text[:200]}..."


def check_number(
    name: str,
    value: Any,
    advice: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    closed: bool = False,
) -> float:
    """The number as a float, which must lie strictly between ``low`` and ``high``.

    With ``closed`` it may also equal them.
    """
    number = as_number(value)
    if number is None:
        raise TypeError(f"`{name}` must be a number, got {shown(value)}. {advice}")
    inside = low <= number <= high if closed else low < number < high
    if not inside or not math.isfinite(number):
        ends = ("[", "]") if closed else ("(", ")")
        allowed = (
            "finite"
            if (low, high) == (-math.inf, math.inf)
            else f"in {ends[0]}{low:g}, {high:g}{ends[1]}"
        )
        raise ValueError(f"`{name}` must be {allowed}, got {number:g}. {advice}")
    return number


def check_share(name: str, value: Any, advice: str) -> float:
    """The number as a float from 0, but below 1."""
    number = check_number(name, value, advice)
    if not 0 <= number < 1:
        raise ValueError(f"`{name}` must be in [0, 1), got {number:g}. {advice}")
    return number


def check_factor(
    name: str, value: Any, advice: str, *, low: float = -math.inf
) -> Scalar:
    """A finite factor of samples: a float, an array that broadcasts, a traced value.

    Values of arrays must be at least ``low``; what is traced cannot be checked.
    """
    if as_number(value) is not None:
        return check_number(name, value, advice, low=low, closed=True)
    if not isinstance(value, (np.ndarray, jax.Array)) or not _is_real(value):
        raise TypeError(
            f"`{name}` must be a number, or an array of numbers that broadcasts to the "
            f"samples, got {shown(value)}. {advice}"
        )
    if not isinstance(value, jax.core.Tracer):
        values = np.asarray(value, np.float64)
        if not (np.isfinite(values) & (values >= low)).all():
            raise ValueError(
                f"`{name}` must be finite{' and not negative' if low == 0 else ''} "
                f"throughout, got {shown(value)}. {advice}"
            )
    return jnp.asarray(value)


def check_scale(name: str, value: Any, meaning: str) -> Scalar:
    """As :func:`check_factor` for what must not be negative."""
    number = as_number(value)
    if number is not None and not 0 <= number < math.inf:
        raise ValueError(
            f"`{name}` must be finite and not negative, got {number}. It is the "
            f"{meaning}."
        )
    return check_factor(name, value, f"It is the {meaning}.", low=0.0)


def check_integer(name: str, value: Any, advice: str) -> int:
    """The integer as Python's."""
    number = as_integer(value)
    if number is None:
        raise TypeError(f"`{name}` must be an integer, got {shown(value)}. {advice}")
    return number


def check_count(name: str, value: Any, advice: str, *, minimum: int = 1) -> int:
    """The integer, which must be at least ``minimum``."""
    number = check_integer(name, value, advice)
    if number < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}, got {number}. {advice}"
        )
    return number


def check_integers(name: str, value: Any, advice: str) -> Axes:
    """An integer, or a tuple of them."""
    number = as_integer(value)
    if number is not None:
        return number
    entries = entries_of(value)
    if entries is not None:
        found = [as_integer(entry) for entry in entries]
        if None not in found:
            return tuple(entry for entry in found if entry is not None)
    raise TypeError(
        f"`{name}` must be an integer or a sequence of integers, got {shown(value)}. "
        f"{advice}"
    )


def entries_of(value: Any) -> Sequence[Any] | None:
    """Those of a sequence, or of an array along its first axis; else ``None``."""
    if isinstance(value, (np.ndarray, jax.Array)):
        return None if value.ndim == 0 else list(value)
    text = isinstance(value, (str, bytes, bytearray))
    return value if isinstance(value, Sequence) and not text else None


def check_flag(name: str, value: Any) -> bool:
    """The truth value, of which nothing but a bool is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` must be True or False, got {shown(value)}.")
    return bool(value)


def check_choice(name: str, value: Any, allowed: tuple[str, ...], advice: str) -> str:
    """The string, which must be one of ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, allowed))}, got "
            f"{shown(value)}. {advice}"
        )
    return value


def check_initializer(name: str, value: Any) -> None:
    """Raises unless ``value`` can be called as an initializer."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(
            f"`{name}` must be an initializer, called as init(key, shape, dtype), got "
            f"{shown(value)}. Pass for example he_normal()."
        )
    if getattr(value, "makes_initializers", False):
        raise TypeError(
            f"`{name}` must be an initializer, got the factory {value.__name__}. Call "
            f"it: {value.__name__}()."
        )


def check_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple of Python integers, none of them negative."""
    if type(shape) is tuple:
        for dim in shape:
            if type(dim) is not int or dim < 0:
                break
        else:
            return shape
    entries = entries_of(shape)
    dims: list[int | None] = [None]
    if entries is not None:
        dims = [d if type(d) is int else as_integer(d) for d in entries]
    if None in dims:
        raise TypeError(
            "`shape` must be a sequence of integers such as (16, 32), got "
            f"{shown(shape)}. A call is init(key, shape, dtype)."
        )
    found: tuple[int, ...] = tuple(dims)  # type: ignore[arg-type]
    if found and min(found) < 0:
        raise ValueError(f"`shape` must not have negative entries, got {found}.")
    return found


def check_rank(shape: tuple[int, ...], ranks: range, advice: str) -> None:
    """Raises unless the shape has one of the given numbers of axes."""
    if len(shape) not in ranks:
        raise ValueError(
            f"`shape` must have {ranks.start} to {ranks.stop - 1} axes, got {shape}. "
            f"{advice}"
        )


def check_kernel(shape: tuple[int, ...]) -> None:
    """Raises unless the shape has inputs and outputs."""
    if len(shape) < 2:
        raise ValueError(
            f"`shape` must have at least two axes, (*spatial, in, out), got {shape}. "
            "Use `zeros` for biases."
        )
