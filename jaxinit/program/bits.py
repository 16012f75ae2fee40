"""Sets of numbers as the bits of one integer: unions of large ones cost little."""

from collections.abc import Iterable, Iterator


def bits(numbers: Iterable[int]) -> int:
    """The set of ``numbers``."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def union(sets: Iterable[int]) -> int:
    """All that is in any of ``sets``."""
    found = 0
    for other in sets:
        found |= other
    return found


def members(found: int) -> Iterator[int]:
    """The numbers in a set, the smallest first."""
    while found:
        lowest = found & -found
        yield lowest.bit_length() - 1
        found ^= lowest
