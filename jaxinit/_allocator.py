"""Memory that one seed frees and the next one takes, kept by the process in between.

glibc hands blocks of more than 32 MiB back to the system as they are freed. Every seed
gets new ones then, which the system clears page by page as they are first written: a
fifth of a convnet's time, and a third of a plain gradient's
(``benchmarks/results/rolled.txt``). Blocks of more than 64 MiB are beyond what glibc
keeps for a thread, and go on being handed back.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import Any

import jax

# Blocks of more bytes are handed back by glibc as they are freed.
_GIVEN_BACK = 2**25
# glibc's names of what `mallopt` sets, and the values that it arrives at by itself
# where blocks of up to 32 MiB come and go (mallopt(3)).
_TRIM, _MMAP = -1, -3
_OWN = {_TRIM: 2 * _GIVEN_BACK, _MMAP: _GIVEN_BACK}
_KEEPING = {_TRIM: 8 * _GIVEN_BACK, _MMAP: 4 * _GIVEN_BACK}
_SAID_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

_lock = threading.Lock()
_inside = [0]


@contextlib.contextmanager
def keeping_freed_memory(size: int) -> Iterator[None]:
    """Within it freed blocks are taken again; behind it all goes back to the system.

    It does so on a CPU with glibc whose user has set nothing of the kind, and nothing
    elsewhere. It may be entered several times at once.

    Args:
      size: bytes that come and go. glibc keeps blocks of up to 32 MiB by itself.
    """
    libc = _glibc() if size > _GIVEN_BACK else None
    if libc is None:
        yield
        return
    _count(libc, 1)
    try:
        yield
    finally:
        _count(libc, -1)


def _count(libc: Any, step: int) -> None:
    with _lock:
        before = _inside[0]
        _inside[0] += step
        if not before or not _inside[0]:
            for name, value in (_OWN if before else _KEEPING).items():
                libc.mallopt(name, value)
        if not _inside[0]:
            libc.malloc_trim(0)


def _glibc() -> Any:
    """The C library, where it is glibc and left as it comes."""
    if jax.default_backend() != "cpu" or any(map(os.environ.get, _SAID_BY_USER)):
        return None
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of the process itself
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
