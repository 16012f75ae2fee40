"""Of which of Flax's libraries a model is, told without importing the other one."""

import sys
from typing import Any, Literal

Library = Literal["linen", "nnx"]


def is_module(value: Any, library: Library) -> bool:
    """Whether it is a module of ``flax.linen`` or of ``flax.nnx``.

    Importing nnx takes a third as long as jax and linen together; what nobody has
    imported made no module.
    """
    base = _base(library)
    return base is not None and isinstance(value, base)


def is_module_class(value: Any, library: Library) -> bool:
    """Whether it is a class of such modules."""
    base = _base(library)
    return base is not None and isinstance(value, type) and issubclass(value, base)


def _base(library: Library) -> type | None:
    found: type | None = getattr(sys.modules.get(f"flax.{library}"), "Module", None)
    return found
