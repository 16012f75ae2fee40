"""Packages whose names are imported when they are first used, each as its stub says."""

import ast
import functools
import importlib
import pathlib
import sys
import types
from typing import Any


class Lazy(types.ModuleType):
    """A package that holds what the ``__init__.pyi`` beside it imports.

    Type checkers read the same lines, so what a name is stands in one place.
    """

    def __getattr__(self, name: str) -> Any:
        found = self._found(name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets each submodule when it is imported; it must not hide the
        # function that has the same name.
        if not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self.__all__})

    def _found(self, name: str) -> Any:
        """What a name stands for, imported if it has to be.

        Raises:
          AttributeError: if the stub does not have it and it is no submodule either.
        """
        homes = _homes(self.__name__)
        if name == "__all__":
            return sorted(homes)
        if name in homes and homes[name] != self.__name__:
            return getattr(importlib.import_module(homes[name]), name)
        submodule = f"{self.__name__}.{name}"
        if name in homes:
            return importlib.import_module(submodule)
        if submodule in sys.modules:
            return sys.modules[submodule]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def lazy(package: str, kind: type[Lazy] = Lazy) -> None:
    """Makes a package one of that kind; to be called from its ``__init__``."""
    sys.modules[package].__class__ = kind


@functools.cache
def _homes(package: str) -> dict[str, str]:
    """The module that each name of a package's stub is imported from."""
    path = pathlib.Path(str(sys.modules[package].__file__)).with_suffix(".pyi")
    return {
        name.name: str(line.module)
        for line in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(line, ast.ImportFrom) and line.module != "typing"
        for name in line.names
    }
