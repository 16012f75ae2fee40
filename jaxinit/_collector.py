"""Python's collector of cycles, less often at work while programs are made.

A program is many small objects that all stay. Each time so many are new, Python looks
among those that are there for cycles that nobody holds: a quarter of the time that
tracing and reading a GPT of 96 blocks takes.
"""

import contextlib
import gc
import threading
from collections.abc import Iterator

# New objects before the collector goes to work; Python's own are 700 or 2000.
_MANY = 50_000

_lock = threading.Lock()
_inside = 0
_before: tuple[int, int, int] | None = None


@contextlib.contextmanager
def collecting_rarely() -> Iterator[None]:
    """Within it cycles are collected later; behind it as the user has set it.

    It may be entered several times at once, and also decorates functions.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(step: int) -> None:
    global _inside, _before
    with _lock:
        first, last = not _inside, _inside + step == 0
        _inside += step
        own = gc.get_threshold()
        if first and 0 < own[0] < _MANY:  # 0 stands for never
            _before = own
            gc.set_threshold(_MANY, *own[1:])
        elif last and _before is not None:
            if own[0] == _MANY:  # else the user has set it meanwhile
                gc.set_threshold(*_before)
            _before = None
