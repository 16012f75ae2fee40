"""Files written where they were asked for, and nothing else touched."""

import errno
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

_Path = str | PathLike[str]

# A file that exists is overwritten as it is where it cannot be replaced: in a folder
# that takes no new file, or mounted by itself.
_NOT_REPLACEABLE = {
    *(errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EINVAL),
}

_MAX_LINKS = 40
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d+)")
_TRIAL = bytes(4096)

# Windows knows no users by number; its files say 0.
_user = getattr(os, "geteuid", lambda: 0)


def write(path: _Path, data: bytes) -> None:
    """Writes ``data``; a regular file appears whole or stays as it was.

    Links are followed; a file with several names keeps them, and its mode. What is no
    regular file (a pipe, a device, ``/dev/stdout``) is written to directly.

    Args:
      path: the file to write; its folder must exist.
      data: the whole contents.

    Raises:
      OSError: if it cannot be written there.
    """
    data = bytes(memoryview(data))
    check_path(path)
    descriptor = _own_descriptor(path)
    if descriptor is not None:
        _into_descriptor(descriptor, data)
        return
    found = _state(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with open(path, "wb", buffering=0) as file:
            _all(file.fileno(), data)
        return
    target = os.path.realpath(path)
    if found is None:
        _replace(target, data, None)
        return
    _check_writable(target)
    if found.st_nlink > 1 or found.st_uid != _user():
        _overwrite(target, data)
        return
    try:
        _replace(target, data, stat.S_IMODE(found.st_mode))
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE:
            raise
        _overwrite(target, data)


def check(path: _Path) -> None:
    """Tries whether ``path`` can be written, and leaves everything as it was.

    Raises:
      OSError: if it cannot.
    """
    check_path(path)
    descriptor = _own_descriptor(path)
    if descriptor is not None:
        os.fstat(descriptor)
        return
    found = _state(path)
    if found is not None:
        if not stat.S_ISREG(found.st_mode):
            # Opening a pipe would wait for its reader.
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return
        _check_writable(os.path.realpath(path))
        return
    target = os.path.realpath(path)
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        _all(handle, _TRIAL)
    finally:
        os.close(handle)
        os.unlink(target)


def check_path(path: Any) -> None:
    """Raises unless ``path`` names a file.

    Raises:
      TypeError: if it is no path.
      ValueError: if it is empty or holds a NUL.
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(
            f"`path` must be the path of a file to write, got {path!r:.80}. Write "
            "'report.json', or a pathlib.Path."
        )
    if not os.fspath(path) or "\0" in str(path):
        raise ValueError(
            f"`path` must be the path of a file to write, got {path!r:.80}."
        )


def write_elsewhere(path: _Path, data: bytes) -> str:
    """Keeps ``data`` in a new file of the temporary folder, and says which.

    Args:
      path: where it should have been; its suffix is kept.
      data: the whole contents.

    Returns:
      The path of the new file.

    Raises:
      OSError: if nothing can be written there either.
    """
    suffix = os.path.splitext(os.fspath(path))[1][:16]
    handle, name = tempfile.mkstemp(prefix="jaxinit-", suffix=suffix)
    try:
        _all(handle, data)
    except BaseException:
        os.unlink(name)
        raise
    finally:
        os.close(handle)
    return name


def _state(path: _Path) -> os.stat_result | None:
    """What is at the end of the links, if anything is; folders are refused."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        parent = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(parent):
            raise FileNotFoundError(
                errno.ENOENT, f"the folder {parent} does not exist. Create it", path
            ) from None
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder. Name a file in it", path)
    return found


def _own_descriptor(path: _Path) -> int | None:
    """The open file of this process that ``/dev/stdout`` or ``/dev/fd/3`` mean."""
    text = os.path.abspath(os.fspath(path))
    for _ in range(_MAX_LINKS):
        match = _DESCRIPTOR.fullmatch(text)
        own = {"self", "thread-self", str(os.getpid())}
        if match and (text.startswith("/dev/") or text.split("/")[2] in own):
            return int(match[1])
        if not os.path.islink(text):
            return None
        text = os.path.normpath(os.path.join(os.path.dirname(text), os.readlink(text)))
    return None


def _into_descriptor(descriptor: int, data: bytes) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what was printed before comes before
    _all(descriptor, data)


def _check_writable(target: str) -> None:
    os.close(os.open(target, os.O_WRONLY))


def _replace(target: str, data: bytes, mode: int | None) -> None:
    """A new file takes the name at once; the process's umask gives its mode."""
    temporary = os.path.join(
        os.path.dirname(target), f".jaxinit-{secrets.token_hex(6)}"
    )
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with _closing(handle):
            if mode is not None:
                os.chmod(temporary, mode)
            _all(handle, data)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _overwrite(target: str, data: bytes) -> None:
    """Writes over what is there, and puts that back if the place does not suffice."""
    with open(target, "r+b", buffering=0) as file:
        before = file.read()
        try:
            _rewrite(file.fileno(), data)
        except BaseException:
            _rewrite(file.fileno(), before)
            raise


def _rewrite(handle: int, data: bytes) -> None:
    os.lseek(handle, 0, os.SEEK_SET)
    _all(handle, data)
    os.ftruncate(handle, len(data))


def _all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


@contextmanager
def _closing(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)
