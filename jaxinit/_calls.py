"""Calls in a word, as ``orthogonal(1.4)``: a name and literals, nothing evaluated."""

import ast
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A scheme or initializer of jaxinit's, with its arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs)]
        return self.name + (f"({', '.join(words)})" if words else "")


def parse_call(text: str) -> Call | None:
    """NAME or NAME(literals); ``None`` for any other text.

    Examples:
      >>> print(parse_call("orthogonal( 1.4, column_axis = -2)"))
      orthogonal(1.4, column_axis=-2)
      >>> parse_call("open('a').read()") is None
      True
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return Call(tree.id)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            return Call(
                tree.func.id,
                tuple(ast.literal_eval(arg) for arg in tree.args),
                tuple((str(k.arg), ast.literal_eval(k.value)) for k in tree.keywords),
            )
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    return None
