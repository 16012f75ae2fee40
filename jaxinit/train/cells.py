"""Finished runs, kept on disk as they finish; a file each, never changed."""

import hashlib
import io
import os
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._configuration import keys_count_apart
from jaxinit.report.files import check, write
from jaxinit.signal.checkpoint import unusable


class Cell(NamedTuple):
    """A finished run.

    Attributes:
      losses: before each step, ``(steps,)``; NaN from where it ended.
      accuracies: likewise.
      reason: why it ended early, or empty.
      solution: its parameters at the end, if they were kept.
    """

    losses: np.ndarray
    accuracies: np.ndarray
    reason: str = ""
    solution: tuple[np.ndarray, ...] | None = None


Cells = dict[tuple[int, int, int], Cell]
"""Runs by the places of their scheme, rate and seed."""


class Store:
    """A folder of finished runs, by the names that ``name`` gives.

    Files are written beside their place and moved there, so that none is ever half a
    run; several processes may share a folder.

    Args:
      folder: where; ``None`` to keep nothing.
      fingerprint: of what all runs have in common.

    Raises:
      ValueError: if the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, fingerprint: str) -> None:
        self._folder = None if folder is None else pathlib.Path(folder)
        self._fingerprint = fingerprint
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unusable(self._folder, "written to", error) from error

    @property
    def keeps(self) -> bool:
        """Whether there is a folder."""
        return self._folder is not None

    def path(self, weights: str, rate: float, seed: int) -> pathlib.Path | None:
        """Where a run is kept: by its weights' hash, its rate and its seed."""
        if self._folder is None:
            return None
        text = f"{self._fingerprint} {weights} {rate!r} {seed}"
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"

    def read(self, weights: str, rate: float, seed: int) -> Cell | None:
        """A run that is kept; ``None`` if there is none that can be read."""
        path = self.path(weights, rate, seed)
        if path is None or not path.exists():
            return None
        try:
            with path.open("rb") as raw, np.load(raw) as file:
                count = int(file["leaves"])
                solution = tuple(file[f"leaf{i}"] for i in range(count))
                return Cell(
                    file["losses"],
                    file["accuracies"],
                    str(file["reason"]),
                    solution if count else None,
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # damaged: the run is done again

    def check(self, weights: str, rate: float, seed: int) -> None:
        """Tries whether a run can be kept, before it is run.

        Raises:
          ValueError: if it cannot.
        """
        path = self.path(weights, rate, seed)
        try:
            if path is not None:
                check(path)
        except OSError as error:
            raise unusable(self._folder, "written to", error) from error

    def write(self, weights: str, rate: float, seed: int, cell: Cell) -> None:
        """Keeps a finished run.

        Raises:
          ValueError: if it cannot be written.
        """
        path = self.path(weights, rate, seed)
        if path is None:
            return
        solution = cell.solution or ()
        stream = io.BytesIO()
        arrays: dict[str, Any] = {f"leaf{i}": leaf for i, leaf in enumerate(solution)}
        np.savez(
            stream,
            losses=cell.losses,
            accuracies=cell.accuracies,
            reason=np.asarray(cell.reason),
            leaves=np.asarray(len(solution)),
            **arrays,
        )
        try:
            write(path, stream.getvalue())
        except OSError as error:
            raise unusable(self._folder, "written to", error) from error


_ADDRESS = re.compile(r"0x[0-9a-f]+")


def fingerprint(program: Any, arrays: Any, *facts: Any) -> str:
    """A hash of a traced program, of arrays, and of whatever else counts.

    The program is that of a step of training, so that a change of the model, the loss
    or the optimizer is seen.
    """
    # Not in a program's text: how its keys count.
    text = _ADDRESS.sub("", f"{program} {facts!r} {keys_count_apart()}")
    found = hashlib.sha256(text.encode())
    for leaf in jax.tree.leaves(arrays):
        found.update(np.ascontiguousarray(np.asarray(leaf)).tobytes())
    return found.hexdigest()


def hash_of(leaves: Sequence[Any]) -> str:
    """A hash of drawn weights, so that a scheme under an old name is a new one."""
    found = hashlib.sha256()
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            found.update(np.ascontiguousarray(np.asarray(leaf)).tobytes())
    return found.hexdigest()[:16]
