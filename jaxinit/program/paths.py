"""Where an equation is in a program: the way in, through the programs of others."""

from typing import NamedTuple

Path = tuple[tuple[int, int], ...]


class Location(NamedTuple):
    """A result of an equation, possibly inside the programs of other equations.

    Attributes:
      path: the way in, as pairs of an equation's index and which of its programs.
      equation: the equation's index in the innermost program.
      result: which of its results.
    """

    path: Path
    equation: int
    result: int = 0
