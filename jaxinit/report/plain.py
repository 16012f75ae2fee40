"""Values of the types that JSON knows."""

from typing import Any

import numpy as np


def plain(value: Any, place: str = "settings") -> Any:
    """A copy of ``value`` made of what JSON knows, so that it survives a round trip.

    Tuples become lists and numpy scalars become Python's.

    Args:
      value: nested dicts with string keys, lists, tuples and scalars.
      place: how to call ``value`` in an error.

    Returns:
      The copy.

    Raises:
      TypeError: for anything else, naming where it is.
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), place)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_inside(item, place, i) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _inside(item, place, key) for key, item in value.items()}
    raise TypeError(
        f"`{place}` must be of types that JSON knows (None, bool, int, float, str, "
        f"list, dict with str keys), got {type(value).__name__}: {value!r:.80}."
    )


_SCALARS = frozenset({type(None), bool, int, float, str})


def _inside(value: Any, place: str, key: int | str) -> Any:
    return value if type(value) in _SCALARS else plain(value, f"{place}[{key!r}]")
