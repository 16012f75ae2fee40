"""Reports as strict JSON, exact to the last bit, and checked when they are read.

Python writes a float64 with as many digits as are needed to read the same number
back. What each field may hold follows from the annotations of ``Measured``.
"""

import json
import os
from typing import Any, NoReturn, TypeVar

from jaxinit.report.codec import NUMBER, decode, encode
from jaxinit.report.codec import schema as schema_of
from jaxinit.report.findings import Kind
from jaxinit.report.measured import Measured

M = TypeVar("M", bound=Measured)

SCHEMA = "jaxinit.report"
VERSION = 1


class NoSuchReport(FileNotFoundError, ValueError):
    """A string that is neither JSON text nor the path of a file."""


def dump(report: Measured) -> str:
    """The report as JSON text."""
    head = {"schema": SCHEMA, "version": VERSION, "verdict": report.verdict}
    return json.dumps(head | encode(report), allow_nan=False)


def load(cls: type[M], text_or_path: str | bytes | os.PathLike[str]) -> M:
    """The report that :func:`dump` wrote; the arguments are ``Report.from_json``'s."""
    try:
        document = _parsed(_text(text_or_path))
        _check_head(document)
        verdict = document.pop("verdict", None)
        report: M = decode(
            cls, {k: v for k, v in document.items() if k not in _HEAD}, "report"
        )
        if verdict != report.verdict:
            raise ValueError(
                f"`report.verdict` must be {report.verdict!r}, as `report.findings` "
                f"say, got {verdict!r:.80}."
            )
    except RecursionError as error:
        raise ValueError("not a report: it is nested too deeply.") from error
    return report


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what :func:`dump` writes."""
    body = schema_of(Measured)
    head = {
        "schema": {"const": SCHEMA},
        "version": {"const": VERSION},
        "verdict": schema_of(Kind),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **body,
        "properties": head | body["properties"],
        "required": [*head, *body["required"]],
        "$defs": {"number": NUMBER},
    }


_HEAD = ("schema", "version")


def _text(text_or_path: str | bytes | os.PathLike[str]) -> str:
    if isinstance(text_or_path, bytes):
        return _utf8(text_or_path)
    if isinstance(text_or_path, str):
        text = text_or_path.removeprefix("\ufeff")
        if text.lstrip()[:1] in ("{", "[", '"', "") or "\n" in text or "\0" in text:
            return text
        if not os.path.exists(text):
            raise NoSuchReport(
                f"not a report: {text!r:.80} is neither JSON text nor the path of a "
                "file that exists. Pass what `Report.to_json` returned or wrote."
            )
    elif not isinstance(text_or_path, os.PathLike):
        raise TypeError(
            "`text_or_path` must be JSON text or the path of a file, got "
            f"{type(text_or_path).__name__}. Pass what `Report.to_json` returned or "
            "wrote."
        )
    with open(text_or_path, "rb") as file:
        return _utf8(file.read())


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not a report: the text is no UTF-8 ({error}).") from error


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        what = "no JSON" if text.strip() else "empty"
        raise ValueError(f"not a report: the text is {what} ({error}).") from error
    if not isinstance(document, dict):
        raise ValueError(f"not a report: `schema` must be {SCHEMA!r}, got no object.")
    return document


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON; it is written as a string")


def _check_head(document: dict[str, Any]) -> None:
    if document.get("schema") != SCHEMA:
        raise ValueError(
            f"not a report: `schema` must be {SCHEMA!r}, got "
            f"{document.get('schema')!r:.80}. Pass what `Report.to_json` returned or "
            "wrote."
        )
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"the report has `version` {version!r:.80}, and this jaxinit "
            f"reads version {VERSION}. Read it with the jaxinit that wrote it, or "
            "analyze again."
        )
