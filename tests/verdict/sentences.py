"""The sentences of the verdict, as its modules write them down."""

import ast
import inspect
import json
import pathlib
import re
from collections.abc import Iterator

import jaxinit.verdict

SAID: dict[str, list[str]] = json.loads(
    pathlib.Path(__file__).with_name("said.json").read_text()
)
"""Name of a case of the planted set, or of a test of a made-up report, to pieces of
text that it makes the verdict say."""

# Fewer words are no sentence.
NUM_WORDS = 4


def sentences() -> dict[str, str]:
    """Each piece of text that a finding, a remedy or a note can be made of.

    Returns:
      The piece, a literal between two numbers or names, to the module that holds it.
    """
    folder = pathlib.Path(inspect.getfile(jaxinit.verdict)).parent
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        silent = {*_docstrings(tree), *_errors(tree), *_lists(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.strip()
                if id(node) not in silent and len(text.split()) >= NUM_WORDS:
                    for piece in _pieces(text):
                        found.setdefault(piece, path.stem)
    return found


def _pieces(text: str) -> list[str]:
    """A template's literal parts: ``{name}`` is filled in later."""
    parts = re.split(r"\{\w+\}", text)
    stripped = [part.strip() for part in parts]
    return [part for part in stripped if len(part.split()) >= NUM_WORDS]


def _docstrings(tree: ast.AST) -> Iterator[int]:
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    for node in ast.walk(tree):
        for child in getattr(node, "body", []) if isinstance(node, kinds) else []:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                yield id(child.value)


def _lists(tree: ast.AST) -> Iterator[int]:
    """Names that are written as one text and split."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "split":
            yield id(node.value)


def _errors(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            for child in ast.walk(node):
                yield id(child)
