"""Initializers in words: their laws, and the calls that make them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxinit._typing import Scalar
from jaxinit.initializers._check import as_number


def law_of(init: Callable[..., Any]) -> str:
    """The law of an initializer: in words, or the name of what made it."""
    law = getattr(init, "law", None)
    if isinstance(law, str) and law:  # one of ours
        return law
    name = getattr(init, "__qualname__", None) or type(init).__name__
    return str(name).partition(".<locals>")[0].strip("_")


def number_of(value: Scalar) -> str:
    """A number of a law, which may be traced or an array."""
    number = as_number(value)
    if number is not None:
        return f"{number:.4g}"
    return "traced" if isinstance(value, jax.core.Tracer) else "array"


def times(factor: Scalar, law: str) -> str:
    """The law of what is multiplied by ``factor``."""
    shown = number_of(factor)
    if shown == "1":
        return law
    return f"{shown} * ({law})" if " " in law else f"{shown} * {law}"


def written(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """The arguments that are not the defaults, by position as long as possible."""
    words, by_position = [], True
    for name, parameter in inspect.signature(factory).parameters.items():
        value = arguments[name]
        if parameter.kind is parameter.KEYWORD_ONLY:
            by_position = False
        if parameter.default is not parameter.empty and _is_same(
            value, parameter.default
        ):
            by_position = False
            continue
        words.append(_word(value) if by_position else f"{name}={_word(value)}")
    return ", ".join(words)


def _is_same(value: Any, default: Any) -> bool:
    if isinstance(value, (np.ndarray, jax.Array)) or value is None or default is None:
        return value is default
    return type(value) in (type(default), float) and bool(value == default)


def _word(value: Any) -> str:
    call = getattr(value, "call", None)
    if isinstance(call, str):  # one of ours
        return call
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_word, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, jax.core.Tracer):
        return "traced"
    if isinstance(value, np.ndarray) and value.dtype in (float, bool):
        if value.size <= 8:  # its own words; larger ones by dtype and shape
            return repr(value.tolist())
    if isinstance(value, (np.ndarray, jax.Array)):
        return f"{value.dtype.name}{list(value.shape)}" if value.ndim else str(value)
    if isinstance(value, (np.generic, float)):
        return repr(as_number(value)) if as_number(value) is not None else repr(value)
    if "<locals>" in getattr(value, "__qualname__", ""):
        return f"<{law_of(value)}>"  # made by another library's factory
    return getattr(value, "__name__", None) or repr(value)
