"""Progress of long work, on the standard error stream."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from jaxinit.report.text import visible


class Reporter(Protocol):
    """Is told what is being done."""

    def phase(self, text: str) -> None: ...

    def count(self, done: int, total: int, what: str) -> None: ...


class Bar:
    """A progress bar on a terminal; lines where there is none; or nothing at all.

    Args:
      shown: ``None`` for a bar if the standard error stream is a terminal and
        nothing otherwise; ``True`` for a bar or, elsewhere, one line a phase;
        ``False`` for nothing.
    """

    def __init__(self, shown: bool | None) -> None:
        console = Console(file=sys.stderr)
        self._lines = bool(shown) and not console.is_terminal
        self._bar = None
        if console.is_terminal and shown is not False:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("tracing", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def phase(self, text: str) -> None:
        text = visible(text)
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif self._lines:
            print(text, file=sys.stderr, flush=True)

    def count(self, done: int, total: int, what: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=what, completed=done, total=total)
        elif self._lines and (done == 1 or done * 4 // total > (done - 1) * 4 // total):
            print(f"{done} of {total} {what}", file=sys.stderr, flush=True)
