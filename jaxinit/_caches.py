"""What is kept from call to call: bounded in number and bytes, and cleared by one call.

A cache's name must hold all that its entry depends on; what jax itself is set to is in
`jaxinit._configuration`.
"""

import functools
import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, cast

Entry = TypeVar("Entry")
Function = TypeVar("Function", bound=Callable[..., object])

_registered: list[Callable[[], None]] = []


class Cache(Generic[Entry]):
    """Entries by name, the least recently used out first. Threads may share it.

    Args:
      entries: how many are kept.
      size: bytes that are kept, by what ``weigh`` says; ``None`` for no limit.
      weigh: the bytes that an entry takes now; it may grow after it was entered.
    """

    def __init__(
        self,
        entries: int,
        size: int | None = None,
        weigh: Callable[[Entry], int] = lambda entry: 0,
    ) -> None:
        self._entries, self._size, self._weigh = entries, size, weigh
        self._found: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = threading.RLock()  # making one entry may make another
        register(self.clear)

    def get(self, name: Hashable, make: Callable[[], Entry]) -> Entry:
        """The entry of this name, made if there is none."""
        with self._lock:
            found = name in self._found
        entry = None if found else make()  # without the lock: it may take long
        with self._lock:
            if entry is not None:
                self._found.setdefault(name, entry)
            elif name not in self._found:  # dropped in between
                self._found[name] = make()
            self._found.move_to_end(name)
            self._shrink()
            return self._found[name]

    def __len__(self) -> int:
        return len(self._found)

    def clear(self) -> None:
        with self._lock:
            self._found.clear()

    def _shrink(self) -> None:
        """Drops the oldest while there are too many, but never the newest."""
        while len(self._found) > self._entries:
            self._found.popitem(last=False)
        if self._size is None:
            return
        total = sum(map(self._weigh, self._found.values()))
        while total > self._size and len(self._found) > 1:
            total -= self._weigh(self._found.popitem(last=False)[1])


def register(clear: Callable[[], None]) -> None:
    """Has ``clear`` called by `clear_caches`, for a cache of another kind."""
    _registered.append(clear)


def clear_caches() -> None:
    """Forgets every program that was traced, read or compiled for earlier calls.

    A later call traces and compiles anew; its numbers are the same. What jax itself
    keeps for functions that are gone is freed with it; ``jax.clear_caches()`` frees
    the rest.

    Examples:
      >>> import jaxinit
      >>> jaxinit.clear_caches()
    """
    for clear in _registered:
        clear()
    gc.collect()


def cached(entries: int) -> Callable[[Function], Function]:
    """`functools.lru_cache` that `clear_caches` clears."""

    def decorate(function: Function) -> Function:
        made = functools.lru_cache(maxsize=entries)(function)
        register(made.cache_clear)
        return cast(Function, made)

    return decorate


class Same:
    """An object that cannot be hashed, by its identity, as part of a name."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


def hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
