"""The result of an analysis, with everything that a person does with it."""

import dataclasses
from collections.abc import Collection
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

import jax
import numpy as np
from rich.console import RenderableType

from jaxinit.report import json as serialize
from jaxinit.report.files import write
from jaxinit.report.findings import KINDS, Finding, Kind, UnhealthyError
from jaxinit.report.measured import Measured
from jaxinit.report.plot import save_plot
from jaxinit.report.table import plain_text, printed, renderable

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]


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
        text = serialize.dump(self)
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
        report = serialize.load(cls, text_or_path)
        try:
            report.key(int(report.seeds[0]))
        except Exception as error:  # jax raises this and that
            raise ValueError(
                f"`key_data` must hold a key of {report.key_impl!r:.80}, the kind that "
                f"`key_impl` names; got {report.key_data.tolist()!r:.80}."
            ) from error
        return report

    def to_records(
        self, of: Literal["rows", "params"] = "rows"
    ) -> list[dict[str, Any]]:
        """Flat records, one for each seed and row.

        Args:
          of: ``"rows"`` for activations and gradients, ``"params"`` for weights.

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
        else:
            raise ValueError(f"`of` must be 'rows' or 'params', got {of!r}.")
        return [
            {"seed": int(seed)}
            | place
            | {name: float(values[i, j]) for name, values in metrics.items()}
            for i, seed in enumerate(self.seeds)
            for j, place in enumerate(places)
        ]

    def to_pandas(self, of: Literal["rows", "params"] = "rows") -> "pd.DataFrame":
        """The records of :meth:`to_records` as a data frame.

        Args:
          of: ``"rows"`` for activations and gradients, ``"params"`` for weights.

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

    def plot(self, path: str | PathLike[str]) -> None:
        """Draws activations and gradients against depth, see ``render.plot``.

        Args:
          path: the file to write: ``.png``, ``.svg`` or ``.pdf``.

        Raises:
          ImportError: if matplotlib is not installed.
          ValueError: if the file's suffix is none of these.
        """
        save_plot(self, path)

    def assert_healthy(self, allow: tuple[Kind, ...] | list[Kind] = ()) -> None:
        """Raises unless the verdict is ``ok``, for tests of a model.

        Args:
          allow: kinds of findings to pass over.

        Raises:
          UnhealthyError: an AssertionError with the findings that were not allowed.
          TypeError: if ``allow`` is no collection.
          ValueError: if it names a kind that does not exist.
        """
        if isinstance(allow, str) or not isinstance(allow, Collection):
            raise TypeError(
                f"`allow` must hold kinds of findings, as in ['vanishing'], got "
                f"{allow!r:.80}."
            )
        foreign = [kind for kind in allow if kind not in KINDS]
        if foreign:
            raise ValueError(
                f"`allow` holds {foreign[0]!r}, which is no kind of finding. "
                f"Allowed are {', '.join(KINDS)}."
            )
        problems = [f for f in self.findings if f.is_problem and f.kind not in allow]
        if not self.findings and "unknown" not in allow:
            problems = [_NOT_JUDGED]
        if problems:
            raise UnhealthyError(problems)

    def table(self, *, all: bool = False, width: int = 100, ascii: bool = False) -> str:
        """The report as plain text, see ``render.table``.

        Args:
          all: whether to show every row, however many there are.
          width: number of columns to fill at most, 80 or more.
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
