"""How the cost of a call grows with what it is given: counted, not timed."""

import sys
from collections.abc import Callable
from typing import Any


def lines_of(run: Callable[[], Any]) -> int:
    """How many lines of Python a call runs."""
    lines = 0

    def on(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return on

    before = sys.gettrace()
    sys.settrace(on)
    try:
        run()
    finally:
        sys.settrace(before)
    return lines


def is_linear(
    call: Callable[[int], Callable[[], Any]], counts: tuple[int, int, int]
) -> bool:
    """Whether the cost of ``call(count)()`` grows as the counts, each twice the last.

    Twice as many more cost twice as much more; were it a square, four times.
    """
    first, second, third = (lines_of(call(count)) for count in counts)
    return third - second < 2.2 * (second - first)
