"""Numbers and names, short enough for a table or a sentence."""

import math


def compact(value: float) -> str:
    """Three digits, or two and an exponent where one is needed.

    Examples:
      >>> [compact(x) for x in (0.0, 1.0, 0.0123456, 5.9e-7, 1234.5, 2.5e12)]
      ['0', '1.00', '0.0123', '5.9e-7', '1234', '2.5e12']
      >>> [compact(float(x)) for x in ("nan", "inf", "-inf")]
      ['nan', 'inf', '-inf']
    """
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == 0:
        return "0"
    if 1e-3 <= size < 999.5:
        return f"{value:#.3g}".rstrip(".")
    if 999.5 <= size < 9999.5:
        return f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def count(value: int) -> str:
    """A count with a decimal suffix.

    Examples:
      >>> [count(n) for n in (7, 4096, 65536, 3_200_000)]
      ['7', '4.1k', '66k', '3.2M']
    """
    for scale, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= scale:
            share = value / scale
            return f"{share:.1f}{suffix}" if share < 9.95 else f"{share:.0f}{suffix}"
    return str(value)


def elide(name: str, width: int, ellipsis: str = "…") -> str:
    """Cuts the middle out of a name that is too long; its ends say the most.

    Examples:
      >>> elide("Transformer/encoderblock_11/MlpBlock_0/Dense_1", 25)
      'Transfor…pBlock_0/Dense_1'
    """
    if len(name) <= width:
        return name
    room = width - len(ellipsis)
    head = room // 3
    return name[:head] + ellipsis + name[len(name) - (room - head) :]


def some(names: list[str] | tuple[str, ...], limit: int = 4) -> str:
    """The first names, and how many more there are.

    Examples:
      >>> some(["a", "b", "c"], limit=2)
      'a, b and 1 more'
    """
    rest = len(names) - limit
    shown = ", ".join(names[:limit])
    return f"{shown} and {rest} more" if rest > 0 else shown


def is_bias(name: str) -> bool:
    """Whether a parameter is added, by the names that libraries give to those.

    Examples:
      >>> [is_bias(n) for n in ("Dense_0/bias", "blocks/ln/bias[3]", "ln/scale")]
      [True, True, False]
    """
    leaf = name.split("[")[0].rsplit("/", 1)[-1]
    return leaf in {"b", "beta", "bias", "offset", "shift"}
