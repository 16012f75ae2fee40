"""Python values as JSON and back, by their type annotations; and the JSON Schema.

JSON has no word for a number that is not finite: such a number is written as the
string ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``; where any value may stand, and
strings mean themselves, as the object ``{"$float": "NaN"}``.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import (
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Field(NamedTuple):
    """One field of a class that is written as an object.

    Attributes:
      hint: its annotation.
      dtype: of arrays: the metadata ``dtype`` of a dataclass's field, else float64.
      required: whether it has no default.
    """

    hint: Any
    dtype: str
    required: bool


@cache
def fields(cls: Any) -> Mapping[str, Field]:
    """The fields of a dataclass or a NamedTuple."""
    hints = get_type_hints(cls)
    if dataclasses.is_dataclass(cls):
        return {
            f.name: Field(
                hints[f.name],
                f.metadata.get("dtype", "float64"),
                f.default is dataclasses.MISSING
                and f.default_factory is dataclasses.MISSING,
            )
            for f in dataclasses.fields(cls)
        }
    defaults = getattr(cls, "_field_defaults", {})
    return {
        name: Field(hints[name], "float64", name not in defaults)
        for name in getattr(cls, "_fields", ())
    }


def _fields_of(value: Any) -> Mapping[str, Field]:
    cls: Any = type(value)
    found: Mapping[str, Field] = fields(cls)
    return found


def encode(value: Any, *, free: bool = False) -> Any:
    """What ``json.dumps`` takes for ``value``.

    Args:
      value: of plain types, arrays, NamedTuples and dataclasses.
      free: whether any type may stand at this place.
    """
    if isinstance(value, np.ndarray):
        return encode(value.tolist())
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return {"$float": word} if free else word
    if hasattr(value, "_fields") or dataclasses.is_dataclass(value):
        return {
            name: encode(getattr(value, name), free=field.hint == dict[str, Any])
            for name, field in _fields_of(value).items()
        }
    if isinstance(value, dict):
        return {key: encode(item, free=free) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, free=free) for item in value]
    return value


def decode(hint: Any, value: Any, place: str, dtype: str = "float64") -> Any:
    """What :func:`encode` wrote, checked.

    Args:
      hint: the annotation of what is wanted.
      value: what ``json.loads`` returned.
      place: how to call it in an error.
      dtype: of arrays.

    Raises:
      ValueError: if it is none, naming the place.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(args, value, place, dtype)
    if origin is Literal:
        if not any(value is a or (type(value) is type(a) and value == a) for a in args):
            _refuse(place, f"one of {', '.join(map(repr, args))}", value)
        return value
    if origin is tuple:
        return _tuple(args, value, place)
    if origin is list:
        return [
            decode(args[0], item, f"{place}[{i}]")
            for i, item in enumerate(_of(list, value, place, "a list"))
        ]
    if origin is dict:
        items = _of(dict, value, place, "an object").items()
        return {k: decode(args[1], v, f"{place}[{k!r:.80}]", dtype) for k, v in items}
    if hint in _PLAIN:
        return _PLAIN[hint](value, place)
    if hint is np.ndarray:
        return _array(value, place, dtype)
    return _object(hint, value, place)


def schema(hint: Any, dtype: str = "float64") -> dict[str, Any]:
    """The JSON Schema of what :func:`decode` takes."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(arg, dtype) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple and args[-1] is not Ellipsis:
        parts = [schema(arg) for arg in args]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts)} | {
            "maxItems": len(parts)
        }
    if origin in (tuple, list):
        return {"type": "array", "items": schema(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(args[1], dtype)}
    if hint is np.ndarray:
        number = {"$ref": "#/$defs/number"} if dtype == "float64" else _INTEGER
        one: dict[str, Any] = {"type": "array", "items": number}
        return {"anyOf": [one, {"type": "array", "items": one}]}
    if hint in _SCHEMAS:
        return dict(_SCHEMAS[hint])
    known = fields(hint)
    return {
        "type": "object",
        "properties": {name: schema(f.hint, f.dtype) for name, f in known.items()},
        "required": [name for name, f in known.items() if f.required],
        "additionalProperties": False,
    }


NUMBER: dict[str, Any] = {"anyOf": [{"type": "number"}, {"enum": list(_WORDS)}]}
_LARGE = 2**63
_INTEGER: dict[str, Any] = {
    "type": "integer",
    "minimum": -_LARGE,
    "maximum": _LARGE - 1,
}

_SCHEMAS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: _INTEGER,
    float: {"$ref": "#/$defs/number"},
    types.NoneType: {"type": "null"},
    Any: {},
}


def _union(args: tuple[Any, ...], value: Any, place: str, dtype: str) -> Any:
    if value is None and types.NoneType in args:
        return None
    rest = [arg for arg in args if arg is not types.NoneType]
    for arg in rest[:-1]:
        try:
            return decode(arg, value, place, dtype)
        except ValueError:
            continue
    return decode(rest[-1], value, place, dtype)


def _tuple(args: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    items = _of(list, value, place, "a list")
    if args[-1] is Ellipsis:
        args = (args[0],) * len(items)
    if len(args) != len(items):
        _refuse(place, f"{len(args)} items", value)
    return tuple(
        decode(arg, item, f"{place}[{i}]")
        for i, (arg, item) in enumerate(zip(args, items, strict=True))
    )


def _object(cls: Any, value: Any, place: str) -> Any:
    given, known = _of(dict, value, place, "an object"), fields(cls)
    for name in given:
        if name not in known:
            raise ValueError(
                f"`{place}` has no field {name!r:.80}; it has {', '.join(known)}."
            )
    for name, field in known.items():
        if field.required and name not in given:
            raise ValueError(f"`{place}` must have the field {name!r}; it is missing.")
    return cls(
        **{
            name: decode(known[name].hint, item, f"{place}.{name}", known[name].dtype)
            for name, item in given.items()
        }
    )


def _array(value: Any, place: str, dtype: str) -> np.ndarray:
    """Numbers in one list, or in lists of one length."""
    number: Callable[[Any, str], Any] = _integer if dtype != "float64" else _float
    items = _of(list, value, place, "a list")
    if not items or not isinstance(items[0], list):
        flat = [number(item, f"{place}[{i}]") for i, item in enumerate(items)]
        return _packed(flat, place, dtype)
    width = len(items[0])
    rows = []
    for i, row in enumerate(items):
        if not isinstance(row, list) or len(row) != width:
            _refuse(f"{place}[{i}]", f"a list of {width} numbers", row)
        rows.append([number(item, f"{place}[{i}][{j}]") for j, item in enumerate(row)])
    return _packed(rows, place, dtype).reshape(len(rows), width)


def _packed(values: list[Any], place: str, dtype: str) -> np.ndarray:
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise ValueError(f"`{place}` holds a number that no {dtype} holds.") from error


def _string(value: Any, place: str) -> str:
    return str(_of(str, value, place, "a string"))


def _bool(value: Any, place: str) -> bool:
    return bool(_of(bool, value, place, "true or false"))


def _integer(value: Any, place: str) -> int:
    if type(value) is not int or not -_LARGE <= value < _LARGE:
        _refuse(place, "an integer of 64 bits", value)
    return int(value)


def _float(value: Any, place: str) -> float:
    if type(value) is str and value in _WORDS:
        return _WORDS[value]
    if type(value) not in (int, float):
        _refuse(place, f"a number or one of {', '.join(map(repr, _WORDS))}", value)
    try:
        return float(value)
    except OverflowError:
        _refuse(place, "a number that a float64 holds", value)


def _none(value: Any, place: str) -> None:
    if value is not None:
        _refuse(place, "null", value)


def _anything(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            return _float(value["$float"], place)
        return {k: _anything(v, f"{place}[{k!r:.80}]") for k, v in value.items()}
    if isinstance(value, list):
        return [_anything(item, f"{place}[{i}]") for i, item in enumerate(value)]
    return value


_PLAIN: dict[Any, Callable[[Any, str], Any]] = {
    str: _string,
    bool: _bool,
    int: _integer,
    float: _float,
    types.NoneType: _none,
    Any: _anything,
}


def _of(cls: type, value: Any, place: str, what: str) -> Any:
    if type(value) is not cls:
        _refuse(place, what, value)
    return value


def _refuse(place: str, what: str, value: Any) -> NoReturn:
    raise ValueError(f"`{place}` must be {what}, got {_short(value)}.")


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return f"{value!r:.80}"
