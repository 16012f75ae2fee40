"""Initializers and signal-propagation analysis for JAX and Flax models.

The names of every day are here. All initializers are in `jaxinit.initializers`, all
schemes for whole networks in `jaxinit.schemes`, weights from elsewhere in
`jaxinit.transfer`; what these rooms hold can be had from here as well.

Names are imported when they are first used, so that `jaxinit --help` need not wait for
jax. `__init__.pyi`, which type checkers read, says where each comes from.
"""

import ast as _ast
import importlib as _importlib
import pathlib as _pathlib
from typing import Any as _Any

_ROOMS = ("initializers", "schemes", "transfer")


def _homes() -> dict[str, str]:
    """The module that each name of the stub is imported from."""
    stub = _pathlib.Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return {
        name.name: str(line.module)
        for line in _ast.parse(stub).body
        if isinstance(line, _ast.ImportFrom) and line.module != "typing"
        for name in line.names
    }


_HOMES = _homes()

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> _Any:
    """A name of the stub, or any other name of the three rooms."""
    if name == "__version__":
        found: _Any = _importlib.import_module("importlib.metadata").version("jaxinit")
    elif name in _HOMES:
        found = _from(_HOMES[name], name)
    else:
        found = _from_rooms(name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _from(home: str, name: str) -> _Any:
    if home == __name__:
        return _importlib.import_module(f"{home}.{name}")
    return getattr(_importlib.import_module(home), name)


def _from_rooms(name: str) -> _Any:
    if not name.startswith("_"):
        for room in _ROOMS:
            module = _importlib.import_module(f"{__name__}.{room}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'jaxinit' has no attribute {name!r}")
