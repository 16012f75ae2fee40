"""The account of what was loaded into a model and what was not."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

Outcome: TypeAlias = Literal[
    "loaded", "sliced", "padded", "selected", "reinitialized", "missing", "excluded"
]


class LoadedLeaf(NamedTuple):
    """What happened to one leaf.

    Attributes:
      name: the leaf.
      outcomes: ``("loaded",)``: taken whole. ``"sliced"``, ``"selected"``,
        ``"padded"``: taken in part, or into a part of the leaf.
        ``"reinitialized"``: the shapes differ and the fresh values stay.
        ``"missing"``: the source does not have it. ``"excluded"``: the mapping says
        ``None``.
      shape: the leaf's shape.
      dtype: the leaf's dtype.
      source: its name in the source; ``None`` if excluded.
      source_shape: the shape there, after ``transform``; ``None`` if nothing was
        read.
      source_dtype: the dtype there.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    source_dtype: np.dtype | None = None


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_partial` loaded, and what it did not. Printing it gives a table.

    Attributes:
      origin: the source.
      leaves: what happened to each leaf, in the order of the tree.
      unused: names of the source that went nowhere.
    """

    origin: str
    leaves: tuple[LoadedLeaf, ...]
    unused: tuple[str, ...]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Leaves that were taken whole."""
        return self._with("loaded")

    @property
    def sliced(self) -> tuple[str, ...]:
        """Leaves that hold a part of a larger array, whether a corner or selected."""
        return self._with("sliced", "selected")

    @property
    def padded(self) -> tuple[str, ...]:
        """Leaves whose array was smaller, with fresh values in the rest."""
        return self._with("padded")

    @property
    def reinitialized(self) -> tuple[str, ...]:
        """Leaves that keep their fresh values because the shapes differ."""
        return self._with("reinitialized")

    @property
    def missing(self) -> tuple[str, ...]:
        """Leaves that keep their fresh values because the source lacks them."""
        return self._with("missing")

    @property
    def excluded(self) -> tuple[str, ...]:
        """Leaves that keep their fresh values because the mapping says so."""
        return self._with("excluded")

    @property
    def casts(self) -> dict[str, tuple[np.dtype, np.dtype]]:
        """The dtypes, in the source and here, of leaves that changed theirs."""
        return {
            leaf.name: (leaf.source_dtype, leaf.dtype)
            for leaf in self.leaves
            if leaf.source_dtype is not None
            and leaf.source_dtype != leaf.dtype
            and "reinitialized" not in leaf.outcomes
        }

    def _with(self, *outcomes: Outcome) -> tuple[str, ...]:
        wanted = set(outcomes)
        return tuple(leaf.name for leaf in self.leaves if wanted & set(leaf.outcomes))

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("parameter", "shape", "outcome", "from", "shape there", "cast")
        ]
        rows += [_row(leaf, leaf.name in self.casts) for leaf in self.leaves]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            )
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        unused = [f"  {printable(name)}" for name in self.unused]
        heading = [f"Not used of the source ({len(unused)}):"] if unused else []
        return "\n".join(
            line.rstrip() for line in [self._summary(), "", *lines, *heading, *unused]
        )

    def _summary(self) -> str:
        taken = len(self.leaves) - sum(
            map(len, (self.reinitialized, self.missing, self.excluded))
        )
        counts = {
            "sliced": len(self.sliced),
            "padded": len(self.padded),
            "cast": len(self.casts),
            "reinitialized": len(self.reinitialized),
            "missing in the source": len(self.missing),
            "excluded": len(self.excluded),
            "unused of the source": len(self.unused),
        }
        details = [f"{number} {what}" for what, number in counts.items() if number]
        total = f"Loaded {taken} of {len(self.leaves)} arrays from {self.origin}"
        return f"{total}: {', '.join(details)}." if details else f"{total}."


def printable(name: str) -> str:
    """A name from a file, with control characters written out."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _row(leaf: LoadedLeaf, is_cast: bool) -> tuple[str, ...]:
    there = "" if leaf.source_shape is None else _shape(leaf.source_shape)
    cast = f"{leaf.source_dtype} -> {leaf.dtype}" if is_cast else ""
    return (
        printable(leaf.name),
        _shape(leaf.shape),
        ", ".join(leaf.outcomes),
        printable(leaf.source or ""),
        there,
        cast,
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
