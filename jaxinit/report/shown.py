"""What every result can do: print, draw, make a page, hand out records."""

import abc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType

from jaxinit.report.chart_figure import figure_of
from jaxinit.report.chart_svg import svg_of
from jaxinit.report.charts import Charts
from jaxinit.report.files import write
from jaxinit.report.html import document, frame
from jaxinit.report.plot import checked_suffix, image
from jaxinit.report.sheet import Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Shown(abc.ABC):
    """A result that says what is to be printed and drawn."""

    @abc.abstractmethod
    def sheet(self) -> Sheet:
        """The table and the sentences below it."""

    @abc.abstractmethod
    def charts(self) -> Charts:
        """What ``plot`` and ``to_html`` draw."""

    @abc.abstractmethod
    def to_records(self) -> list[dict[str, Any]]:
        """The numbers, as records."""

    def to_pandas(self) -> "pd.DataFrame":
        """The records of ``to_records`` as a data frame.

        Raises:
          ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "`to_pandas` needs pandas: pip install 'jaxinit[data]'. "
                "`to_records` gives the same without it."
            ) from error
        return pd.DataFrame(self.to_records())

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
        """The figure: medians over seeds as lines, with bands.

        Args:
          path: a file to write the figure to; its ending says of which kind.

        Returns:
          The figure.

        Raises:
          ImportError: if matplotlib is not installed.
          ValueError: if the ending is none of .png, .svg and .pdf.
        """
        if path is not None:
            checked_suffix(path)
        figure = figure_of(self.charts())
        if path is not None:
            write(path, image(figure, path))
        return figure

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, with everything in it.

        Args:
          path: a file to write it to as well.

        Returns:
          The HTML document.
        """
        sheet = self.sheet()
        parts = [*sheet.html(), *svg_of(self.charts()), *self.html_below()]
        text = document(sheet.title, parts)
        if path is not None:
            write(path, text.encode())
        return text

    def html_below(self) -> Iterator[str]:
        """Further parts of the page."""
        yield from ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return frame(self.to_html())

    def __str__(self) -> str:
        return self.sheet().text()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        del console, options
        yield self.sheet()
