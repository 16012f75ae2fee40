"""A table with a title above and sentences below, for a terminal or for a page."""

import html
import io
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from jaxinit.report.text import to_ascii, visible

MIN_WIDTH = 20


class Sheet(NamedTuple):
    """What a result says in words and numbers.

    Attributes:
      title: above the table.
      head: names of the columns.
      rows: cells; those that start with "ok" or "bug" are colored.
      below: sentences; an indented one goes with the one before.
      left: how many columns are text, from the left.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...]
    left: int = 1

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        ascii = options.ascii_only
        del console
        yield Text(to_ascii(self.title, ascii), "bold")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, name in enumerate(self.head):
            justify: Any = "left" if number < self.left else "right"
            table.add_column(Text(to_ascii(name, ascii)), justify=justify)
        for row in self.rows:
            table.add_row(*(Text(to_ascii(c, ascii), _style(c)) for c in row))
        yield table
        for line in self.below:
            body = line.lstrip()
            indent = len(line) - len(body)
            text = Text(to_ascii(body, ascii), "cyan" if body[:1] == "→" else "")
            grid = Table(box=None, show_header=False, pad_edge=False, padding=0)
            grid.add_column(width=indent)
            grid.add_column(overflow="fold")
            grid.add_row("", text)
            yield grid if indent else text

    def text(self, width: int | None = None, ascii: bool | None = None) -> str:
        """Plain text, without colors or trailing blanks.

        Args:
          width: number of columns; by default those of the terminal, or 110 where
            there is none.
          ascii: whether to keep to ASCII; by default if standard output cannot do
            otherwise.

        Returns:
          Lines joined by newlines, without a last one.
        """
        if width is None:
            width = shutil.get_terminal_size((110, 24)).columns
        if ascii is None:
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            ascii = not encoding.lower().replace("-", "").startswith("utf")
        stream = io.TextIOWrapper(io.BytesIO(), "ascii" if ascii else "utf-8")
        console = Console(
            file=stream,
            width=max(width, MIN_WIDTH),
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
            legacy_windows=False,
            highlight=False,
        )
        console.print(self)
        stream.flush()
        stream.seek(0)
        lines = stream.read().rstrip().split("\n")
        return "\n".join(line.rstrip() for line in lines)

    def html(self) -> Iterator[str]:
        """The parts of a page."""
        yield '<div class="scroll"><table><thead><tr>'
        yield from (f'<th scope="col">{_escaped(name)}</th>' for name in self.head)
        yield "</tr></thead><tbody>"
        for row in self.rows:
            cells = "".join(f"<td>{_escaped(cell)}</td>" for cell in row)
            yield f"<tr>{cells}</tr>"
        yield "</tbody></table></div>"
        for line in self.below:
            indent = ' class="indented"' if line[:1] == " " else ""
            yield f"<p{indent}>{_escaped(line.strip())}</p>"


def _style(cell: str) -> str:
    if cell == "ok":
        return "green"
    return "bold red" if cell.endswith("bug") else ""


def _escaped(text: str) -> str:
    return html.escape(visible(text))
