"""Initializers and signal-propagation analysis for JAX and Flax models.

The names of every day are here. All initializers are in `jaxinit.initializers`, all
schemes for whole networks in `jaxinit.schemes`, weights from elsewhere in
`jaxinit.transfer`; what these rooms hold can be had from here as well.

Names are imported when they are first used, so that `jaxinit --help` need not wait for
jax, nor `analyze` for what it does not use. `__init__.pyi`, which type checkers read,
says where each comes from.
"""

import importlib as _importlib
from typing import Any as _Any

from jaxinit import _lazy

_ROOMS = ("initializers", "schemes", "transfer")


class _Root(_lazy.Lazy):
    """Has a version, and any name of the three rooms besides its own."""

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), "__version__"})

    def _found(self, name: str) -> _Any:
        if name == "__version__":
            return _importlib.import_module("importlib.metadata").version("jaxinit")
        try:
            return super()._found(name)
        except AttributeError:
            if not name.startswith("_"):
                for room in _ROOMS:
                    module = _importlib.import_module(f"{__name__}.{room}")
                    if name in module.__all__:
                        return getattr(module, name)
            raise


_lazy.lazy(__name__, _Root)
