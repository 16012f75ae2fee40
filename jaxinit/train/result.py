"""What the results of training share beside the rest: exact JSON."""

import dataclasses
import json
import os
import pathlib
from typing import Any, ClassVar, Self

import numpy as np

from jaxinit.report.files import write
from jaxinit.report.shown import Shown


class Result(Shown):
    """A frozen dataclass of arrays, texts and numbers that survives JSON.

    Attributes:
      SCHEMA: the name of its JSON.
    """

    SCHEMA: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The result as strict JSON text, exact to the last bit.

        Args:
          path: a file to write it to as well.

        Returns:
          The text.
        """
        assert dataclasses.is_dataclass(self)
        fields = {f.name: _encoded(getattr(self, f.name)) for f in _fields(self)}
        document = {"schema": self.SCHEMA, "version": self.VERSION, **fields}
        text = json.dumps(document, allow_nan=False)
        if path is not None:
            write(path, text.encode())
        return text

    @classmethod
    def from_json(cls, text_or_path: str | os.PathLike[str]) -> Self:
        """What ``to_json`` returned or wrote.

        Args:
          text_or_path: the text, or a file that holds it.

        Returns:
          An equal result.

        Raises:
          ValueError: if it is no such text.
        """
        text = os.fspath(text_or_path)
        if not text.lstrip("\ufeff \n\t").startswith("{"):
            text = pathlib.Path(text_or_path).read_text(encoding="utf-8")
        try:
            document = json.loads(text)
            right = (document["schema"], document["version"]) == (
                cls.SCHEMA,
                cls.VERSION,
            )
            values = {f.name: _decoded(document[f.name]) for f in _fields(cls)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a {cls.SCHEMA}: {type(error).__name__} {error}. Pass what "
                f"{cls.__name__}.to_json returned or wrote."
            ) from error
        if not right:
            raise ValueError(
                f"not a {cls.SCHEMA} of version {cls.VERSION}: got "
                f"{document['schema']!r}, version {document['version']!r}."
            )
        return cls(**values)


def _fields(owner: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(owner)


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        flat = value.reshape(-1).tolist()
        words = [_word(item) for item in flat]
        return {"$array": words, "dtype": str(value.dtype), "shape": value.shape}
    if isinstance(value, np.generic):
        return _encoded(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, dict):
        return {str(name): _encoded(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return {"$tuple": [_encoded(item) for item in value]}
    return value


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        items = [float(i) if isinstance(i, str) else i for i in value["$array"]]
        return np.asarray(items, value["dtype"]).reshape(value["shape"])
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decoded(item) for item in value["$tuple"])
    return {name: _decoded(item) for name, item in value.items()}


def _word(item: Any) -> Any:
    """JSON has no word for what is not finite."""
    return str(item) if isinstance(item, float) and not np.isfinite(item) else item
