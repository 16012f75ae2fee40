"""``jax.jit`` that keeps the types of what it wraps."""

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., object])


def jit(*static: str) -> Callable[[F], F]:
    """Compiles a function once per value of its arguments named ``static``."""
    return cast(Callable[[F], F], functools.partial(jax.jit, static_argnames=static))
