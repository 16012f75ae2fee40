"""Where results go: files first, then the table; a failure of one spares the others."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxinit.cli.load import Failure
from jaxinit.report.files import write, write_elsewhere
from jaxinit.report.text import visible

STDOUT = "-"


class Output(NamedTuple):
    """One file to write.

    Attributes:
      path: where to, ``-`` for standard output.
      make: makes the contents.
    """

    path: str
    make: Callable[[], bytes]


def say(text: str) -> None:
    """A line of progress or trouble; what users wrote in it cannot speak for us."""
    if sys.stderr is None:
        return
    lines = visible(text, keep="\n").split("\n")
    with contextlib.suppress(OSError):  # nobody is left to be told
        encoding = sys.stderr.encoding or "utf-8"
        line = "\n  ".join(lines).encode(encoding, "backslashreplace").decode(encoding)
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def clean_stdout(outputs: list[Output]) -> Iterator[None]:
    """What the user's code prints goes to stderr where a file goes to stdout."""
    if any(output.path == STDOUT for output in outputs):
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def deliver(outputs: list[Output], table: Callable[[], None]) -> None:
    """Writes all files, then prints the table.

    Args:
      outputs: the files.
      table: prints; not called where a file goes to standard output.

    Raises:
      Failure: if a file could not be written where it was asked for; the others and
        the table are out by then.
      KeyboardInterrupt: likewise, if that was what stopped it.
    """
    trouble: Failure | KeyboardInterrupt | None = None
    for output in outputs:
        try:
            _write(output)
        except (Failure, KeyboardInterrupt) as error:
            trouble = trouble or error
    if not any(output.path == STDOUT for output in outputs):
        to_stdout(table)
    if trouble is not None:
        raise trouble


def to_stdout(show: Callable[[], None]) -> None:
    """Prints; a reader who has seen enough and closes the pipe is no failure.

    Raises:
      Failure: if standard output takes nothing for another reason.
    """
    if sys.stdout is None:
        raise Failure("cannot print: standard output is closed")
    try:
        show()
        sys.stdout.flush()
    except OSError as error:
        # Python would complain again at exit, when it flushes what is left, unless
        # that goes nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failure(f"cannot print: {error.strerror}") from error


def _write(output: Output) -> None:
    try:
        data = output.make()
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"before {output.path} was written") from error
    if output.path == STDOUT:
        to_stdout(lambda: _print_bytes(data))
        return
    try:
        try:
            write(output.path, data)
        except KeyboardInterrupt as error:
            write(output.path, data)  # it is finished, so it is kept
            say(f"wrote {output.path}")
            raise KeyboardInterrupt(f"while writing {output.path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Failure(_kept(output.path, data, str(reason))) from error
    say(f"wrote {output.path}")


def _kept(path: str, data: bytes, reason: str) -> str:
    try:
        other = write_elsewhere(path, data)
    except OSError as error:
        return f"cannot write {path}: {reason}; nor elsewhere: {error.strerror}"
    return f"cannot write {path}: {reason}. It was kept in {other}"


def _print_bytes(data: bytes) -> None:
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode())
    else:
        buffer.write(data + b"\n" * (not data.endswith(b"\n")))
        buffer.flush()
