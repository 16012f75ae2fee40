"""The words of the command line, as values: inputs, keyword arguments, files.

Every function here takes one word and either returns what it means or raises what
argparse turns into a message and exit status 2. Nothing heavy is imported for it.
"""

import argparse
import ast
import math
import pathlib
import re
from typing import Any, NamedTuple, NoReturn

from jaxinit._calls import Call, parse_call
from jaxinit.report.files import check

_DTYPES = (
    *("float32", "bfloat16", "float16", "float64", "int32", "int8", "int16", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
)


class Shape(NamedTuple):
    """An input that is drawn: normal for floats, below the vocabulary for integers."""

    shape: tuple[int, ...]
    dtype: str


class Name(NamedTuple):
    """A value that a module of the user's holds."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


def parse_name(text: str) -> Name:
    """MODULE:ATTRIBUTE."""
    path, colon, rest = text.partition(":")
    if path.endswith(".py"):
        module = path.removesuffix(".py").replace("/", ".").lstrip(".")
        _refuse(
            f"{text!r} is not MODULE:ATTRIBUTE, like my_package.my_module:model. Not "
            f"a file name but {module}:{rest or 'model'}."
        )
    dotted = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
    if not colon or not re.fullmatch(f"{dotted}:{dotted}", text):
        module, dot, last = text.rpartition(".")
        if not colon and dot and re.fullmatch(dotted, text):
            _refuse(
                f"{text!r} is not MODULE:ATTRIBUTE. Put a colon before the attribute: "
                f"{module}:{last}."
            )
        _refuse(f"{text!r} is not MODULE:ATTRIBUTE, like my_package.my_module:model.")
    return Name(path, rest)


def parse_scheme(text: str) -> Name | Call:
    """NAME, NAME(literals) as ``orthogonal(1.4)``, or MODULE:ATTRIBUTE."""
    return _call_or_name(
        text,
        "scheme",
        "gpt2, orthogonal(1.4), my_module:my_scheme, or own for the model's own "
        "initialization",
    )


def parse_input(text: str) -> Shape | Name:
    """SHAPE[:DTYPE] or MODULE:ATTRIBUTE."""
    if not re.match(r"[\d,(\[-]", text):
        return parse_name(text)
    match = re.fullmatch(r"(\d+(?:,\d+)*)(?::(\w+))?", text)
    if match is None:
        _refuse(f"{text!r} is not SHAPE[:DTYPE], like 32,32,32,3 or 8,128:int32")
    shape, dtype = tuple(map(int, match[1].split(","))), match[2] or "float32"
    if 0 in shape:
        _refuse(f"{text!r} has an axis of length 0: nothing could be measured")
    if dtype not in _DTYPES:
        _refuse(f"{dtype!r} is not a dtype known here: {', '.join(_DTYPES)}")
    return Shape(shape, dtype)


def parse_kwarg(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a Python literal or MODULE:ATTRIBUTE."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        _refuse(f"{text!r} is not NAME=VALUE, like train=True")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        if ":" in value:
            return name, parse_name(value)
        _refuse(
            f"the value of {name!r} is no Python literal: {value!r}. For a string "
            f"quote twice: --kwarg \"{name}='{value}'\""
        )


def parse_seeds(text: str) -> int:
    """A number of seeds, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        _refuse(f"the number of seeds must be an integer of at least 1, got {text!r}")
    return int(text)


def parse_number(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 <= number < math.inf):
        _refuse(f"{text!r} is not a number of at least 0, like 0.01 or 1e-3")
    return number


def parse_numbers(text: str) -> list[float]:
    """Numbers, with commas between."""
    return [parse_number(word) for word in text.split(",")]


def parse_widths(text: str) -> list[int]:
    """Two or more whole numbers that rise, with commas between."""
    words = text.split(",")
    widths = [int(w) if w.strip().isdecimal() else 0 for w in words]
    if len(widths) < 2 or widths != sorted(set(widths)) or widths[0] < 1:
        _refuse(f"{text!r} is not two or more rising widths, like 64,128,256")
    return widths


def parse_optimizer(text: str) -> Name | Call:
    """One of optax, as ``adam`` or ``sgd(momentum=0.9)``; or MODULE:ATTRIBUTE."""
    return _call_or_name(text, "optimizer", "adam, 'sgd(momentum=0.9)'")


def parse_activation(text: str) -> Name | Call:
    """One of jax.nn or jax.numpy; or MODULE:ATTRIBUTE."""
    return _call_or_name(text, "activation", "tanh, 'leaky_relu(0.1)'")


def parse_data(text: str) -> Name | str:
    """digits, text:FILE or MODULE:ATTRIBUTE."""
    if text == "digits":
        return text
    kind, _, path = text.partition(":")
    if kind == "text":
        if not pathlib.Path(path).is_file():
            _refuse(f"there is no file {path!r}")
        return text
    return parse_name(text)


def parse_file(text: str) -> str:
    """A file that can be written, or - for standard output."""
    if text == "-":
        return text
    try:
        check(text)
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        reason = error.strerror if isinstance(error, OSError) else error
        _refuse(f"cannot write {text!r}: {reason}")
    return text


def parse_plot_file(text: str) -> str:
    """A file that can be drawn."""
    if pathlib.PurePath(text).suffix.lower() not in (".png", ".svg", ".pdf"):
        _refuse(f"{text!r} must end in .png, .svg or .pdf, to say what to draw")
    return parse_file(text)


def _call_or_name(text: str, what: str, like: str) -> Name | Call:
    call = parse_call(text)
    if call is not None:
        return call
    if ":" in text:
        return parse_name(text)
    _refuse(f"{text!r} is no {what}, like {like}")


def _refuse(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)
