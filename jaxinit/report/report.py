"""The result of an analysis: every statistic of every layer, seed by seed."""

import dataclasses
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from jaxinit.report import json as serialize
from jaxinit.report.findings import KINDS, Finding, Kind, UnhealthyError
from jaxinit.report.summary import Summary, has_log, summarize

if TYPE_CHECKING:
    import jax
    import pandas as pd  # type: ignore[import-untyped]
    from rich.console import RenderableType


class Row(NamedTuple):
    """One place in the model at which the signal was measured.

    Attributes:
      name: the parameters' folder, ``"Block_0/Dense_0"``; ``"blocks/attn[3]"`` is
        layer 3 of a scan, ``"Embed_0#2"`` the second use of the same parameters,
        and the name of a join ends in ``"+"``.
      kind: ``"layer"`` (parameters meet data), ``"join"`` (two data values are
        added) or ``"tap"`` (a value that the user named).
      operation: the primitive of the equation: ``"dot_general"``, ``"add"``, ...
      shape: shape of the output, batch included.
      dtype: dtype of the output.
      params: names of the parameters that act here.
      activation: name of the elementwise function applied to the output, if any.
      fan_in: number of inputs of one unit, from the weight's equation.
      fan_out: number of units that one input reaches.
      steps: 1, or the number of time steps of a recurrent layer.
      samples: number of values per channel that ``dead`` was judged on.
      skip: for a join, the rows nearest upstream of its skip.
      branch: for a join, the rows nearest upstream of its branch.
    """

    name: str
    kind: str
    operation: str
    shape: tuple[int, ...]
    dtype: str
    params: tuple[str, ...]
    activation: str | None
    fan_in: int | None
    fan_out: int | None
    steps: int
    samples: int
    skip: tuple[str, ...]
    branch: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What an analysis found, for each seed, and what it means.

    All moments are population moments (divided by the count) and all arrays are
    float64 on the host. A metric that is not defined for a row is NaN there.

    Attributes:
      rows: where the signal was measured, in the order data meets them.
      forward: metric name -> `(seeds, rows)`, statistics of the activations.
      backward: metric name -> `(seeds, rows)`, statistics of the gradients with
        respect to them; empty if the model cannot be differentiated.
      params: names of the parameters.
      weights: metric name -> `(seeds, params)`.
      profiles: row name -> metric name -> `(seeds, steps)`, for recurrent rows.
      seeds: `(seeds,)`, indices of the seeds that were run.
      key_data: raw data of the root key; seed i has the key ``fold_in(root, i)``.
      key_impl: name of the root key's generator.
      mode: ``"probe"`` (gradients of a Gaussian projection of the output) or
        ``"loss"`` (of the user's loss).
      loss: `(seeds,)` in loss mode, else None.
      unreached: parameters that no equation with data uses.
      notes: what a reader must know: what was fed, what was not looked into, ...
      settings: how the analysis ran, of plain JSON types.
      findings: the verdict's parts, the most severe first.
    """

    rows: tuple[Row, ...]
    forward: dict[str, np.ndarray]
    backward: dict[str, np.ndarray]
    params: tuple[str, ...]
    weights: dict[str, np.ndarray]
    profiles: dict[str, dict[str, np.ndarray]]
    seeds: np.ndarray
    key_data: np.ndarray
    key_impl: str
    mode: str
    loss: np.ndarray | None
    unreached: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        num_seeds = len(self.seeds)
        groups = (
            ("forward", self.forward, len(self.rows)),
            ("backward", self.backward, len(self.rows)),
            ("weights", self.weights, len(self.params)),
        )
        for group, metrics, width in groups:
            for metric, values in metrics.items():
                if values.shape != (num_seeds, width):
                    raise ValueError(
                        f"`{group}[{metric!r}]` must have shape {(num_seeds, width)}, "
                        f"got {values.shape}. Axis 0 counts seeds, axis 1 "
                        f"{'parameters' if group == 'weights' else 'rows'}."
                    )
        object.__setattr__(self, "settings", serialize.plain(self.settings))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the rows, in the order data meets them."""
        return tuple(row.name for row in self.rows)

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each row whether it is a layer, a join or a tap."""
        return tuple(row.kind for row in self.rows)

    @property
    def ran(self) -> np.ndarray:
        """`(seeds, rows)`: whether the row ran; a branch of cond may be skipped."""
        shares = self.forward.get("frac_nonfinite")
        if shares is None:
            return np.ones((len(self.seeds), len(self.rows)), bool)
        ran: np.ndarray = ~np.isnan(shares)
        return ran

    @property
    def verdict(self) -> Kind:
        """The most severe kind among the findings, ``"unknown"`` if nobody judged."""
        return min(
            (finding.kind for finding in self.findings),
            key=KINDS.index,
            default="unknown",
        )

    @property
    def worst_seed(self) -> int:
        """The seed furthest from the others, for ``key(seed)`` to draw again.

        Seeds with non-finite values come first. Among the others the distance is
        the largest deviation, over rows, of the logarithm of the second moment or of
        the gradient's mean square from the median seed's.
        """
        distance = np.zeros(len(self.seeds))
        sizes = [self.forward.get("second_moment"), self.backward.get("grad_rms")]
        for values, power in zip(sizes, (1, 2), strict=True):
            if values is None:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = power * np.log10(values)
                away = np.abs(logs - summarize(logs, log=False).median)
            broken = ~np.isfinite(values) & np.isfinite(values).any(axis=0) & self.ran
            away = np.where(broken, np.inf, np.where(np.isnan(away), 0.0, away))
            distance = np.maximum(distance, away.max(axis=1, initial=0.0))
        return int(self.seeds[int(np.argmax(distance))])

    def key(self, seed: int) -> "jax.Array":
        """The key from which ``seed`` drew its weights.

        Args:
          seed: one of ``seeds``.

        Returns:
          A typed jax key, ``fold_in(root, seed)``.

        Raises:
          ValueError: if ``seed`` was not run.
        """
        import jax

        if seed not in self.seeds:
            raise ValueError(
                f"`seed` must be one that was run, got {seed}. `report.seeds` lists "
                f"them: {len(self.seeds)} from {self.seeds.min()} to "
                f"{self.seeds.max()}."
            )
        data = jax.numpy.asarray(self.key_data)
        root = jax.random.wrap_key_data(data, impl=self.key_impl)
        return jax.random.fold_in(root, seed)

    def summary(self) -> dict[str, Summary]:
        """The distribution over seeds of every metric.

        Returns:
          Metric name -> :class:`Summary`, whose fields have shape `(rows,)`, or
          `(params,)` for the metrics of ``weights``.
        """
        metrics = {**self.forward, **self.backward, **self.weights}
        return {
            name: summarize(values, log=has_log(name))
            for name, values in metrics.items()
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """The report as strict JSON, from which ``from_json`` restores it exactly.

        Args:
          path: a file to write it to as well; it appears whole or not at all.

        Returns:
          The JSON text.
        """
        text = serialize.dump(self)
        if path is not None:
            serialize.write_atomically(path, text.encode())
        return text

    @staticmethod
    def from_json(text_or_path: str | PathLike[str]) -> "Report":
        """Restores a report.

        Args:
          text_or_path: what ``to_json`` returned, or the file that it wrote.

        Returns:
          The report, equal number for number.

        Raises:
          ValueError: if it is not a report, or one of a version not known here.
        """
        return serialize.load(text_or_path)

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
        from jaxinit.report.plot import save_plot

        save_plot(self, path)

    def assert_healthy(self, allow: tuple[Kind, ...] | list[Kind] = ()) -> None:
        """Raises unless the verdict is ``ok``, for tests of a model.

        Args:
          allow: kinds of findings to pass over.

        Raises:
          UnhealthyError: an AssertionError with the findings that were not allowed.
          ValueError: if ``allow`` names a kind that does not exist.
        """
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
        from jaxinit.report.table import plain_text

        return plain_text(self, all=all, width=width, ascii=ascii)

    def __str__(self) -> str:
        from jaxinit.report.table import printed

        return printed(self)

    def __rich__(self) -> "RenderableType":
        from jaxinit.report.table import renderable

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
