"""The records of finished seeds: one row of numbers each, however many there are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinit.signal.checkpoint import Checkpoint
from jaxinit.signal.compiled import Packed
from jaxinit.signal.processes import exchanged, is_mine


class Records:
    """What finished seeds leave, in the plan's order.

    Args:
      seeds: the plan's.
      kept: what is kept there already is read, what comes in is appended.

    Attributes:
      done: how many seeds are there.
      missing: places in the plan of those that are still to be run.
      notes: for the report.
    """

    def __init__(self, seeds: Sequence[int], kept: Checkpoint | None) -> None:
        self._seeds = np.asarray(seeds)
        self._kept = kept
        self._ran = np.zeros(len(seeds), bool)
        self._loss: np.ndarray | None = None
        self._values: np.ndarray | None = None
        self.done = 0
        self.notes: tuple[str, ...] = ()
        earlier = {} if kept is None else kept.read()
        for place, seed in enumerate(seeds):
            if seed in earlier:
                values, loss = earlier[seed]
                self._enter([place], Packed(values[None], np.asarray([loss])))
        if self.done:
            self.notes = (f"{self.done} seeds were read from `checkpoint`",)
        self.missing = [int(i) for i in np.flatnonzero(~self._ran)]

    def add(self, places: Sequence[int], packed: Packed) -> None:
        """Enters finished seeds by their places in the plan, and keeps them."""
        if self._kept is not None:
            self._kept.append([int(self._seeds[i]) for i in places], *packed)
        self._enter(places, packed)

    def exchange(self, fields: int, dtype: Any) -> None:
        """Enters what other processes have run of the plan, and tells them ours.

        Args:
          fields: numbers of a record.
          dtype: of a record.
        """
        if self._values is None or self._loss is None:
            self._enter([], Packed(np.empty((0, fields), dtype), np.empty(0, dtype)))
        assert self._values is not None
        assert self._loss is not None
        places = [int(i) for i in np.flatnonzero(self._ran) if is_mine(int(i))]
        mine = Packed(self._values[places], self._loss[places].astype(np.float64))
        everybody, arrays = exchanged(places, mine, len(self._seeds))
        self._enter(everybody, Packed(*arrays))

    def finished(self) -> tuple[np.ndarray, Packed]:
        assert self._values is not None
        assert self._loss is not None
        return self._seeds[self._ran], Packed(
            self._values[self._ran], self._loss[self._ran]
        )

    def _enter(self, places: Sequence[int], packed: Packed) -> None:
        if self._values is None or self._loss is None:
            count = len(self._seeds)
            self._values = np.empty(
                (count, *packed.values.shape[1:]), packed.values.dtype
            )
            self._loss = np.empty(count, packed.loss.dtype)
        self._values[places], self._loss[places] = packed.values, packed.loss
        self._ran[places] = True
        self.done = int(self._ran.sum())
