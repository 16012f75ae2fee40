"""Checks of the arguments of factories, with messages that say what to do."""

import math
import operator
from typing import Any

import numpy as np


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
    if isinstance(value, (bool, np.bool_, str)) or np.ndim(value) != 0:
        raise TypeError(f"`{name}` must be a number, got {value!r}. {advice}")
    number = float(value)
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


def check_count(name: str, value: Any, advice: str, *, minimum: int = 1) -> int:
    """The integer, which must be at least ``minimum``."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(
            f"`{name}` must be an integer, got {value!r}. {advice}"
        ) from error
    if isinstance(value, bool) or number < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}, got {value}. {advice}"
        )
    return number


def check_choice(name: str, value: Any, allowed: tuple[str, ...], advice: str) -> str:
    """The string, which must be one of ``allowed``."""
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}. "
            f"{advice}"
        )
    return str(value)


def check_initializer(name: str, value: Any) -> None:
    """Raises unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(
            f"`{name}` must be an initializer, called as init(key, shape, dtype), got "
            f"{value!r}. Pass for example he_normal()."
        )


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
