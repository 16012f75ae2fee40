"""Text that shows as what it is: names speak to a reader, never to a terminal."""

_SPELLED = str.maketrans(
    {"±": "+-", "²": "^2", "·": "|", "…": "...", "▶": ">", "→": "->", "—": "-"}
)


def visible(text: str, keep: str = "") -> str:
    r"""Spells out what is not printed but acted upon.

    Escape codes, newlines, marks that turn the direction of writing, halves of
    surrogate pairs: whoever names a layer could otherwise write lines of his own.

    Args:
      text: any text.
      keep: characters to leave as they are.

    Returns:
      Printable text.

    Examples:
      >>> print(visible("a\x1b[31m\n\u202eb"))
      a\x1b[31m\n\u202eb
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode()
        for c in text
    )


def to_ascii(text: str, ascii: bool) -> str:
    """Visible text that keeps to ASCII, if asked to; anything foreign becomes ``?``.

    Args:
      text: any text.
      ascii: whether to keep to ASCII.

    Returns:
      Printable text.

    Examples:
      >>> to_ascii("1.02 ± 0.01 · σ²", True)
      '1.02 +- 0.01 | ?^2'
    """
    text = visible(text)
    if not ascii:
        return text
    return text.translate(_SPELLED).encode("ascii", "replace").decode()
