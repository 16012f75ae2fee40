"""Which array of a source goes to which leaf."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from jaxinit import _patterns
from jaxinit._warnings import warn
from jaxinit.transfer._leaves import some

NameMapping: TypeAlias = Mapping[str, str | None] | Callable[[str], str | None]
"""From names of leaves to names in the source; see :func:`load_partial`."""


def source_names(
    mapping: NameMapping | None, targets: Sequence[str], sources: Sequence[str]
) -> dict[str, str | None]:
    """The name in the source of each leaf; ``None`` for leaves to leave alone.

    Args:
      mapping: as :func:`load_partial` takes it.
      targets: the names of the leaves.
      sources: the names in the source.

    Returns:
      A name for each leaf, which the source need not hold.

    Raises:
      TypeError: if the mapping or what it gives is of another type.
      ValueError: if an entry applies to no leaf, or to none that the source has.
    """
    if mapping is None:
        return {name: name for name in targets}
    if isinstance(mapping, Mapping):
        return _by_entries(mapping, targets, sources)
    if not callable(mapping):
        raise TypeError(
            "`mapping` must be a dict of names or a function of a name, got "
            f"{type(mapping).__name__}."
        )
    names: dict[str, str | None] = {}
    for target in targets:
        given = mapping(target)
        if given is not None and not isinstance(given, str):
            raise TypeError(
                f"`mapping` must return a name or None, got {given!r} for {target!r}."
            )
        names[target] = given
    return names


def _by_entries(
    mapping: Mapping[str, str | None], targets: Sequence[str], sources: Sequence[str]
) -> dict[str, str | None]:
    names: dict[str, str | None] = {}
    held = set(sources)
    for pattern, to in mapping.items():
        rename = _renaming(pattern, to)
        taken = {
            target: name
            for target in targets
            if target not in names and (name := rename(target)) is not _OTHER
        }
        if not taken:
            close = difflib.get_close_matches(pattern, targets, 3)
            raise ValueError(
                f"`mapping` has the entry {pattern!r}, which applies to no leaf, or to "
                "none that an earlier entry has not taken. "
                + (f"Close to it: {some(close)}." if close else "")
                + ("" if close else f"The leaves are {some(targets)}.")
            )
        asked = [name for name in taken.values() if isinstance(name, str)]
        if asked and not held.intersection(asked):
            close = difflib.get_close_matches(asked[0], sources, 3)
            raise ValueError(
                f"`mapping` sends {pattern!r} to {some(asked, 3)}, which the source "
                "does not have. It has "
                + (f"{some(close)}, which is close." if close else f"{some(sources)}.")
            )
        lacking = [name for name in asked if name not in held]
        if lacking and _patterns.is_pattern(pattern):
            warn(
                f"`mapping` sends {pattern!r} to {len(asked)} arrays, of which the "
                f"source lacks {len(lacking)}: {some(lacking, 3)}. Their leaves stay "
                "as they are. Mend the entry, or exclude them: "
                f"{{{_first(taken, lacking)!r}: None}} before it.",
            )
        names.update(taken)  # type: ignore[arg-type]
    return {target: names.get(target, target) for target in targets}


def _first(taken: Mapping[str, object], lacking: Sequence[str]) -> str:
    """The leaf that the first missing name was meant for."""
    return next(leaf for leaf, name in taken.items() if name == lacking[0])


_OTHER = object()
"""The answer of an entry of the mapping that does not apply to a leaf."""


def _renaming(pattern: str, to: str | None) -> Callable[[str], object]:
    """One entry of a mapping as a function of a leaf's name."""
    if not isinstance(pattern, str) or not (to is None or isinstance(to, str)):
        raise TypeError(
            f"`mapping` must map names to names or None, got {pattern!r}: {to!r}."
        )
    if _patterns.is_pattern(pattern):
        return _glob_renaming(pattern, to)

    def rename(target: str) -> object:
        if target == pattern:
            return to
        if target.startswith(f"{pattern}/"):
            return None if to is None else to + target[len(pattern) :]
        return _OTHER

    return rename


def _glob_renaming(pattern: str, to: str | None) -> Callable[[str], object]:
    here = _patterns.wildcards(pattern)
    if to is not None and (there := _patterns.wildcards(to)) != here:
        raise ValueError(
            f"`mapping` maps {pattern!r} to {to!r}, with the wildcards "
            f"{' '.join(here)} and {' '.join(there) or 'none'}: each stands for the "
            "same text on both sides. `*` is within one part of a path, `**` any "
            "number of parts."
        )
    regex = _patterns.compiled(pattern)

    def rename(target: str) -> object:
        match = regex.fullmatch(target)
        if match is None:
            return _OTHER
        return None if to is None else _patterns.filled(to, match.groups())

    return rename
