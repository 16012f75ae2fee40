"""The result of an analysis, with everything that a person does with it."""

import dataclasses
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

import jax
import numpy as np
from rich.console import RenderableType

from jaxinit.report.files import write
from jaxinit.report.findings import KINDS, Finding, Kind, UnhealthyError
from jaxinit.report.measured import Measured
from jaxinit.report.table import plain_text, printed, renderable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from jaxinit.report.difference import Difference


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report(Measured):
    """What an analysis found, for each seed, and what it means. ``print`` it.

    The arrays are described in :class:`jaxinit.report.measured.Measured`.
    """

    def key(self, seed: int) -> jax.Array:
        """The key from which ``seed`` drew its weights.

        Args:
          seed: one of ``seeds``.

        Returns:
          A typed jax key, ``fold_in(root, seed)``.

        Raises:
          TypeError: if ``seed`` is no integer.
          ValueError: if it was not run.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise TypeError(f"`seed` must be an integer, got {seed!r:.80}.")
        if seed not in self.seeds:
            raise ValueError(
                f"`seed` must be one that was run, got {seed}. `report.seeds` lists "
                f"them: {len(self.seeds)} from {self.seeds.min()} to "
                f"{self.seeds.max()}."
            )
        data = jax.numpy.asarray(self.key_data)
        root = jax.random.wrap_key_data(data, impl=self.key_impl)
        return jax.random.fold_in(root, seed)

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """The report as strict JSON, from which ``from_json`` restores it exactly.

        Args:
          path: a file to write it to as well; it appears whole or not at all.

        Returns:
          The JSON text.
        """
        from jaxinit.report.json import dump

        text = dump(self)
        if path is not None:
            write(path, text.encode())
        return text

    @classmethod
    def from_json(cls, text_or_path: str | bytes | PathLike[str]) -> Self:
        """Restores a report.

        Args:
          text_or_path: what ``to_json`` returned, or the file that it wrote.

        Returns:
          The report, equal number for number.

        Raises:
          TypeError: if it is neither text nor a path.
          FileNotFoundError: if there is no such file.
          ValueError: if it is not a report, or one that contradicts its schema or
            itself, naming the place.
        """
        from jaxinit.report.json import load

        report = load(cls, text_or_path)
        try:
            report.key(int(report.seeds[0]))
        except Exception as error:  # jax raises this and that
            raise ValueError(
                f"`key_data` must hold a key of {report.key_impl!r:.80}, the kind that "
                f"`key_impl` names; got {report.key_data.tolist()!r:.80}."
            ) from error
        return report

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """The report as one page for a browser; nothing is fetched to show it.

        Args:
          path: a file to write it to as well.

        Returns:
          The HTML document.

        Raises:
          TypeError: if ``path`` is no path.
          OSError: if it cannot be written.
        """
        from jaxinit.report.html import page

        text = page({"": self})
        if path is not None:
            write(path, text.encode())
        return text

    def _repr_html_(self) -> str:
        """What a notebook shows: the page, in a frame that can reach nothing else."""
        from jaxinit.report.html import frame, page

        return frame(page({"": self}))

    def to_records(
        self, of: Literal["rows", "params", "model"] = "rows"
    ) -> list[dict[str, Any]]:
        """Flat records, one for each seed and row.

        Args:
          of: ``"rows"`` for activations and gradients, ``"params"`` for weights,
            ``"model"`` for what is of the model as a whole.

        Returns:
          Dicts with the keys ``seed``, those of :class:`Row` (or ``param``) and one
          for each metric.

        Raises:
          ValueError: if ``of`` is neither.
        """
        if of == "rows":
            places: list[dict[str, Any]] = [row._asdict() for row in self.rows]
            metrics = {**self.forward, **self.backward}
        elif of == "params":
            places = [{"param": name} for name in self.params]
            metrics = self.weights
        elif of == "model":
            places = [{}]
            metrics = {name: values[:, None] for name, values in self.model.items()}
        else:
            raise ValueError(f"`of` must be 'rows', 'params' or 'model', got {of!r}.")
        return [
            {"seed": int(seed)}
            | place
            | {name: float(values[i, j]) for name, values in metrics.items()}
            for i, seed in enumerate(self.seeds)
            for j, place in enumerate(places)
        ]

    def to_pandas(
        self, of: Literal["rows", "params", "model"] = "rows"
    ) -> "pd.DataFrame":
        """The records of :meth:`to_records` as a data frame.

        Args:
          of: ``"rows"`` for activations and gradients, ``"params"`` for weights,
            ``"model"`` for what is of the model as a whole.

        Returns:
          A data frame with one line for each seed and row.

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
        return pd.DataFrame(self.to_records(of))

    def to_xarray(self) -> "xr.Dataset":
        """The metrics as arrays with named axes.

        Returns:
          A data set with a variable for each metric, over the dimensions ``seed`` and
          ``row``, or ``seed`` and ``param`` for those of parameters:
          ``dataset["rms"].sel(row="Dense_0").median("seed")``.

        Raises:
          ImportError: if xarray is not installed.
        """
        from jaxinit.report.labelled import dataset

        return dataset(self)

    def plot(
        self,
        path: str | PathLike[str] | None = None,
        *,
        ax: "Axes | Sequence[Axes] | None" = None,
        figure: "Figure | SubFigure | None" = None,
    ) -> "Figure | SubFigure":
        """Draws activations and gradients against depth.

        Args:
          path: a file to write: ``.png``, ``.svg`` or ``.pdf``; by default none.
          ax: where to draw: axes for the signal, or two, for the gradient as well.
          figure: where to make the axes, a figure or a part of one; by default a new
            figure, which matplotlib's own list of figures does not hold.

        Returns:
          The figure.

        Raises:
          ImportError: if matplotlib is not installed.
          TypeError: if an argument is of another type.
          ValueError: if the file's suffix is none of these, or both ``ax`` and
            ``figure`` are given.
        """
        from jaxinit.report.plot import checked_suffix, draw, image

        if path is not None:
            checked_suffix(path)
        drawn = draw(self, axes=ax, figure=figure)
        if path is not None:
            write(path, image(drawn, path))
        return drawn

    def assert_healthy(
        self, allow: Collection[Kind] = (), *, ignore: Collection[str] = ()
    ) -> None:
        """Raises unless the verdict is ``ok``, for tests of a model.

        Args:
          allow: kinds of findings to pass over.
          ignore: rows whose findings to pass over, by name or by pattern: ``"head"``,
            ``"decoder/*"``.

        Raises:
          UnhealthyError: an AssertionError with the findings that were not allowed.
          TypeError: if ``allow`` or ``ignore`` is no collection of strings.
          ValueError: if ``allow`` names a kind that does not exist.
        """
        for name, given, example in (
            ("allow", allow, "kinds of findings, as in ['vanishing']"),
            ("ignore", ignore, "names of rows, as in ['decoder/*']"),
        ):
            if isinstance(given, str) or not isinstance(given, Collection):
                raise TypeError(f"`{name}` must hold {example}, got {given!r:.80}.")
        foreign = [kind for kind in allow if kind not in KINDS]
        if foreign:
            raise ValueError(
                f"`allow` holds {foreign[0]!r}, which is no kind of finding. "
                f"Allowed are {', '.join(KINDS)}."
            )
        problems = [
            finding
            for finding in self.findings
            if finding.is_problem
            and finding.kind not in allow
            and not any(fnmatchcase(finding.row or "", str(p)) for p in ignore)
        ]
        if not self.findings and "unknown" not in allow:
            problems = [_NOT_JUDGED]
        if problems:
            raise UnhealthyError(problems)

    def diff(self, other: Measured) -> "Difference":
        """What changed from this report to another, and by more than seeds explain.

        Args:
          other: the later report.

        Returns:
          The difference. ``print`` it.

        Raises:
          TypeError: if ``other`` is no report.
        """
        if not isinstance(other, Measured):
            raise TypeError(f"`other` must be a report, got {type(other).__name__}.")
        from jaxinit.report.difference import difference

        return difference(self, other)

    def scalars(self, prefix: str = "init") -> dict[str, float]:
        """The report as a flat dict of numbers, for loggers of experiments.

        Args:
          prefix: what all names begin with.

        Returns:
          ``{"init/healthy": 1.0, "init/second_moment/Dense_0": 0.98, ...}``: medians
          over seeds of each row's and parameter's metrics, where they are defined.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"`prefix` must be a string, got {prefix!r:.80}.")
        found = {
            "healthy": float(self.verdict == "ok"),
            "seeds": float(len(self.seeds)),
        }
        if self.loss is not None:
            found["loss"] = float(np.median(self.loss))
        for name, values in self.model.items():
            if not np.isnan(values).all():
                found[name] = float(np.nanmedian(values))
        summary = self.summary()
        for metrics, names in (
            (self.forward | self.backward, self.layers),
            (self.weights, self.params),
        ):
            for metric in metrics:
                for name, value in zip(names, summary[metric].median, strict=True):
                    if not np.isnan(value):
                        found[f"{metric}/{name}"] = float(value)
        return {f"{prefix}/{name}" if prefix else name: v for name, v in found.items()}

    def to_markdown(self, max_rows: int = 40) -> str:
        """The report as Markdown of bounded size, for issues and pull requests.

        Args:
          max_rows: how many lines the table has at most; of more rows, equal modules
            share lines.

        Returns:
          Markdown text.

        Raises:
          ValueError: if ``max_rows`` is below 0.
        """
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 0:
            raise ValueError(
                f"`max_rows` must be an integer of 0 or more, got {max_rows!r}."
            )
        from jaxinit.report.markdown import markdown

        return markdown(self, max_rows)

    def table(self, *, all: bool = False, width: int = 100, ascii: bool = False) -> str:
        """The report as plain text.

        Args:
          all: whether each row has a line, however many there are; otherwise equal
            modules of a deep model share lines, which say so.
          width: number of columns to fill at most, 20 or more.
          ascii: whether to keep to ASCII.

        Returns:
          Lines of text: the rows, the verdict, the findings, the notes.
        """
        return plain_text(self, all=all, width=width, ascii=ascii)

    def __str__(self) -> str:
        return printed(self)

    def __rich__(self) -> RenderableType:
        return renderable(self)

    def __repr__(self) -> str:
        return (
            f"<Report: {len(self.rows)} rows, {len(self.seeds)} seeds, "
            f"verdict {self.verdict!r}>"
        )


_NOT_JUDGED = Finding(
    kind="unknown",
    metric="",
    row=None,
    seed_share=0.0,
    value=float("nan"),
    stderr=float("nan"),
    message="The report has no findings, so nothing was judged.",
    remedy="report = jaxinit.analyze(model, x)  # judges what it measures",
)
