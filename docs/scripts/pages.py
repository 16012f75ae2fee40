"""Runs the code of a page; rewrites what the page says that it prints.

    python docs/scripts/pages.py docs/quickstart.md ...    # renews the printed text

A block of Python is followed, where it prints, by a block of text that shows what. The
tests run every page so. A page that needs eight devices says so in its second line, and
runs with eight that a CPU pretends to have.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
EIGHT_DEVICES = "<!-- eight devices -->"


def run(page: Path) -> Iterator[tuple[str, str]]:
    """What each block of Python prints, beside what the page shows for it."""
    text = page.read_text()
    namespace: dict[str, object] = {"__name__": "page"}
    blocks = list(BLOCK.finditer(text))
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        line = text[: block.start()].count("\n") + 1
        code = compile("\n" * line + block[2], str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        shown = following is not None and following[1] == "text"
        yield printed.getvalue(), following[2] if following and shown else ""


class Wandb(types.ModuleType):
    """Stands for W&B, which wants an account: it takes numbers by name, as W&B does."""

    logged: dict[str, float]

    def init(self, mode: str) -> None:
        self.logged = {}
        self.mode = mode

    def log(self, numbers: dict[str, float]) -> None:
        assert all(type(number) is float for number in numbers.values())
        self.logged |= numbers


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """In an empty folder, on a terminal of a hundred columns."""
    here, columns = os.getcwd(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    before = sys.modules.get("wandb")
    sys.modules["wandb"] = Wandb("wandb")
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            yield
    finally:
        os.chdir(here)
        del sys.modules["wandb"]
        if before is not None:
            sys.modules["wandb"] = before
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


def renewed(page: Path) -> str:
    """The page with the text that its code prints now."""
    outputs = iter([printed for printed, _ in run(page)])
    pieces, last, text = [], 0, page.read_text()
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            output = next(outputs)
            end = re.compile(r"\n```text\n.*?^```\n", re.MULTILINE | re.DOTALL)
            after = end.match(text, block.end())
            pieces.append(text[last : block.end()])
            last = after.end() if after else block.end()
            if output:
                pieces.append(f"\n```text\n{output}```\n")
    return "".join(pieces) + text[last:]


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "")
    for name in sys.argv[1:]:
        path = Path(name).resolve()
        if EIGHT_DEVICES in path.read_text():
            os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
        warnings.simplefilter("error", RuntimeWarning)
        with elsewhere():
            text = renewed(path)
        path.write_text(text)
