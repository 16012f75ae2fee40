"""Text for terminals and pipes that know nothing but ASCII."""

_SPELLED = str.maketrans(
    {"±": "+-", "²": "^2", "·": "|", "…": "...", "▶": ">", "→": "->", "—": "-"}
)


def to_ascii(text: str, ascii: bool) -> str:
    """Spells out what ASCII lacks; anything else foreign becomes ``?``.

    Args:
      text: any text.
      ascii: whether to do so at all.

    Returns:
      The text, unchanged if ``ascii`` is false.

    Examples:
      >>> to_ascii("1.02 ± 0.01 · σ²", True)
      '1.02 +- 0.01 | ?^2'
    """
    if not ascii:
        return text
    return text.translate(_SPELLED).encode("ascii", "replace").decode()
