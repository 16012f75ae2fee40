"""Patterns of paths, as rules and mappings of names take them."""

import re

_WILD = re.compile(r"(\*\*/|\*\*|\*|\?)")
_MEANING = {"**/": "((?:.*/)?)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}


def is_pattern(text: str) -> bool:
    """Whether a path holds a wildcard."""
    return _WILD.search(text) is not None


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression with a group for each wildcard.

    Args:
      pattern: a path. ``*`` stands for anything within one part of it, ``**`` for any
        number of parts, ``?`` for one character.
    """
    tokens = _WILD.split(pattern)
    return re.compile("".join(_MEANING.get(t, re.escape(t)) for t in tokens))


def wildcards(pattern: str) -> list[str]:
    """The wildcards of a pattern, in order."""
    return [token.rstrip("/") for token in _WILD.findall(pattern)]


def filled(pattern: str, texts: tuple[str, ...]) -> str:
    """A pattern with a text in the place of each wildcard."""
    found = []
    given = iter(texts)
    for token in _WILD.split(pattern):
        if token not in _MEANING:
            found.append(token)
            continue
        text = next(given).rstrip("/")
        found.append(f"{text}/" if token == "**/" and text else text)
    return "".join(found)
