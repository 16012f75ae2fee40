"""Reports as strict JSON, exact to the last bit.

Python writes a float64 with as many digits as are needed to read the same number
back. JSON has no word for a number that is not finite, so these are written as
strings: ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` in arrays, and the object
``{"$float": "NaN"}`` in settings, where strings mean themselves.
"""

import json
import math
import os
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinit.report.findings import Finding

if TYPE_CHECKING:
    from jaxinit.report.report import Report

SCHEMA = "jaxinit.report"
VERSION = 1

_GROUPS = ("forward", "backward", "weights")


def dump(report: "Report") -> str:
    """The report as JSON text."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "verdict": report.verdict,
        "findings": [_encode(finding._asdict()) for finding in report.findings],
        "rows": [row._asdict() for row in report.rows],
        "params": report.params,
        "seeds": report.seeds.tolist(),
        "key_data": report.key_data.tolist(),
        "key_impl": report.key_impl,
        "mode": report.mode,
        "loss": None if report.loss is None else _array(report.loss),
        "unreached": report.unreached,
        "notes": report.notes,
        "settings": _encode(report.settings),
    }
    for group in _GROUPS:
        document[group] = _arrays(getattr(report, group))
    document["profiles"] = {
        row: _arrays(metrics) for row, metrics in report.profiles.items()
    }
    return json.dumps(document, allow_nan=False)


def load(text_or_path: str | os.PathLike[str]) -> "Report":
    """The report that :func:`dump` wrote; the arguments are ``Report.from_json``'s."""
    from jaxinit.report.report import Report, Row

    document = _read(text_or_path)
    num_seeds = len(document["seeds"])

    def arrays(metrics: dict[str, Any], width: int | None) -> dict[str, np.ndarray]:
        return {
            name: _floats(values, (num_seeds, -1 if width is None else width))
            for name, values in metrics.items()
        }

    num_rows, num_params = len(document["rows"]), len(document["params"])
    return Report(
        rows=tuple(Row(**_tuples(row)) for row in document["rows"]),
        forward=arrays(document["forward"], num_rows),
        backward=arrays(document["backward"], num_rows),
        params=tuple(document["params"]),
        weights=arrays(document["weights"], num_params),
        profiles={
            row: arrays(metrics, None) for row, metrics in document["profiles"].items()
        },
        seeds=np.asarray(document["seeds"], np.int64),
        key_data=np.asarray(document["key_data"], np.uint32),
        key_impl=document["key_impl"],
        mode=document["mode"],
        loss=(
            None
            if document["loss"] is None
            else _floats(document["loss"], (num_seeds,))
        ),
        unreached=tuple(document["unreached"]),
        notes=tuple(document["notes"]),
        settings=_decode(document["settings"]),
        findings=tuple(Finding(**_decode(item)) for item in document["findings"]),
    )


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
    if isinstance(value, np.generic):
        return plain(value.item(), place)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"`{place}` must be of types that JSON knows (None, bool, int, float, str, "
        f"list, dict with str keys), got {type(value).__name__}: {value!r:.80}."
    )


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes ``data`` beside ``path`` first, so that no reader sees half a file.

    Args:
      path: the file to write; its folder must exist.
      data: the whole contents.

    Raises:
      FileNotFoundError: if the folder does not exist.
    """
    target = pathlib.Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target}: the folder {target.parent} does not exist. "
            "Create it first."
        )
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files for the owner's eyes only; give the usual rights.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def _read(text_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    is_text = isinstance(text_or_path, str) and text_or_path.lstrip().startswith("{")
    text = (
        text_or_path
        if isinstance(text_or_path, str) and is_text
        else pathlib.Path(text_or_path).read_text(encoding="utf-8")
    )
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a report: the text is no JSON ({error}).") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        got = document.get("schema") if isinstance(document, dict) else document
        raise ValueError(
            f"not a report: `schema` must be {SCHEMA!r}, got {got!r:.80}. Pass what "
            "`Report.to_json` returned or wrote."
        )
    if document.get("version") != VERSION:
        raise ValueError(
            f"the report has version {document.get('version')!r}, and this jaxinit "
            f"reads version {VERSION}. Read it with the jaxinit that wrote it, or "
            "analyze again."
        )
    return document


def _arrays(metrics: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _array(values) for name, values in metrics.items()}


def _array(values: np.ndarray) -> list[Any]:
    return [_word(item) for item in values.tolist()]


def _word(value: Any) -> Any:
    if isinstance(value, list):
        return [_word(item) for item in value]
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _floats(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    # NumPy reads the words "NaN" and "Infinity" as Python's float does; -1 has no
    # meaning for an empty axis, so only a non-empty array leaves a width open.
    array = np.array(_numbers(values), np.float64)
    return array.reshape(shape if array.size else tuple(max(n, 0) for n in shape))


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value)


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": _word(value)}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            return float(value["$float"])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(item) if isinstance(item, list) else item
        for key, item in row.items()
    }
