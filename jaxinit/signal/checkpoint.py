"""Finished seeds, kept on disk as they finish: a crash costs only what was in flight.

A folder holds files to which records are appended, one file for each run, so that runs
on several machines may share a folder and folders may be merged by copying. A file
begins with a line that says what was analyzed; a record that was cut off in the middle
of writing is known by its checksum and left out.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxinit._configuration import keys_count_apart
from jaxinit.program import versions
from jaxinit.program.primitives import is_key
from jaxinit.signal.given import Given
from jaxinit.signal.statistics import Analysis, plain_gradient

_FORMAT = 2
_HEAD = struct.Struct("<QdII")  # seed, loss, bytes of the record, bytes of a number
_CHECK = struct.Struct("<I")  # behind the record
_SUFFIX = ".seeds"


class Checkpoint:
    """The seeds of one analysis in a folder, which is made if there is none.

    Args:
      folder: where.
      fingerprint: of the analysis, see `fingerprint`; other files are left alone.

    Raises:
      ValueError: if ``folder`` cannot be made or is no folder.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str) -> None:
        self._folder = Path(folder)
        self._fingerprint = fingerprint
        self._file: io.FileIO | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(self._folder, "written to", error) from error

    def read(self) -> dict[int, tuple[np.ndarray, float]]:
        """By seed, its record `(fields,)` and its loss, from all earlier runs.

        Raises:
          ValueError: if a file cannot be read.
        """
        found: dict[int, tuple[np.ndarray, float]] = {}
        for path in sorted(self._folder.glob(f"{self._fingerprint[:16]}-*{_SUFFIX}")):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise unusable(self._folder, "read", error) from error
            head, _, data = data.partition(b"\n")
            if self._is_ours(head):
                found.update(_records(data))
        return found

    def open(self) -> None:
        """Begins the file of this run; said before a run, no seed is run in vain.

        Raises:
          ValueError: if the folder cannot be written to.
        """
        if self._file is not None:
            return
        name = f"{self._fingerprint[:16]}-{secrets.token_hex(4)}{_SUFFIX}"
        head = {"format": _FORMAT, "fingerprint": self._fingerprint}
        try:
            self._file = open(self._folder / name, "xb", buffering=0)
            self._write(json.dumps(head).encode() + b"\n")
        except OSError as error:
            raise unusable(self._folder, "written to", error) from error

    def append(
        self, seeds: Sequence[int], values: np.ndarray, loss: np.ndarray
    ) -> None:
        """Keeps finished seeds: their records `(seeds, fields)` and losses.

        Raises:
          ValueError: if they cannot be written; those before them are kept.
        """
        self.open()
        for seed, record, number in zip(seeds, values, loss, strict=True):
            payload = record.astype(record.dtype.newbyteorder("<")).tobytes()
            head = _HEAD.pack(seed, float(number), len(payload), record.itemsize)
            check = _CHECK.pack(zlib.crc32(head + payload))
            try:
                self._write(head + payload + check)
            except OSError as error:
                raise unusable(self._folder, "written to", error) from error

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is written outlives us anyway
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _write(self, data: bytes) -> None:
        """Writes all of it: from here on it outlives this process."""
        assert self._file is not None
        while data:
            data = data[self._file.write(data) :]

    def _is_ours(self, head: bytes) -> bool:
        try:
            said = json.loads(head)
        except ValueError:  # cut off
            return False
        return bool(said == {"format": _FORMAT, "fingerprint": self._fingerprint})


def unusable(folder: Path | None, what: str, error: OSError) -> ValueError:
    """The error for a folder that cannot be written to, or read."""
    return ValueError(
        f"`checkpoint` must be a folder that can be {what}, got {str(folder)!r}: "
        f"{error}."
    )


def _records(data: bytes) -> dict[int, tuple[np.ndarray, float]]:
    """The whole records at the beginning of ``data``."""
    found = {}
    position = 0
    while position + _HEAD.size <= len(data):
        seed, loss, length, width = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        end = start + length
        check = _CHECK.pack(zlib.crc32(data[position:end]))
        if data[end : end + _CHECK.size] != check:
            break
        found[seed] = (np.frombuffer(data[start:end], f"<f{width}"), loss)
        position = end + _CHECK.size
    return found


def fingerprint(
    analysis: Analysis,
    draw: Any,
    root: jax.Array,
    inputs: Sequence[jax.Array],
    scheme: Any,
) -> str:
    """What tells analyses apart, the same in every process: programs, data and key.

    Args:
      analysis: what is measured.
      draw: how weights are drawn.
      root: the root key.
      inputs: the model's inputs.
      scheme: what the user gave as such; it counts by its ``repr`` where its drawing
        cannot be traced.
    """
    traced = analysis.traced
    digest = hashlib.sha256()
    _add_program(digest, traced.apply)
    digest.update(repr([traced.params, analysis.batch]).encode())
    if isinstance(draw, Given):
        for array in itertools.chain(*draw.sets):
            _add_array(digest, array)
    elif scheme is None:
        if traced.init is not None:
            _add_program(digest, traced.init)
    else:
        try:
            _add_program(digest, versions.trace(draw, root, *inputs)[0])
        except (TypeError, ValueError, NotImplementedError):
            digest.update(_without_addresses(repr(scheme)).encode())
    if analysis.loss is not None:
        avals = [v.aval for v in traced.apply.jaxpr.outvars]
        shapes: list[Any] = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        loss = analysis.loss
        program, _ = versions.trace(lambda *out: loss(traced.output(out)), *shapes)
        _add_program(digest, program)
    for array in (jax.random.key_data(root), *inputs):
        _add_array(digest, array)
    digest.update(str(jax.random.key_impl(root)).encode())
    # Not in the text of a program: how its keys count, and what its own rules do.
    digest.update(str(keys_count_apart()).encode())
    digest.update(_rules(analysis))
    return digest.hexdigest()


def _rules(analysis: Analysis) -> bytes:
    """A hash of the derivative, where the model has rules of its own for it."""
    if not analysis.backward or "custom_" not in str(analysis.traced.apply.jaxpr):
        return b""
    digest = hashlib.sha256()
    gradient, params, rest = plain_gradient(analysis)
    _add_program(digest, versions.trace(gradient, params, rest)[0])
    return digest.digest()


def _add_program(digest: Any, program: versions.Program) -> None:
    digest.update(_without_addresses(str(program.jaxpr)).encode())
    for const in program.consts:
        _add_array(digest, const)


def _add_array(digest: Any, value: Any) -> None:
    if is_key(value):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())


def _without_addresses(text: str) -> str:
    """Without what differs from process to process."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)
