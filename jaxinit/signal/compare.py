"""``compare``: one model under several schemes, side by side."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from jaxinit._configuration import measuring
from jaxinit._progress import Bar
from jaxinit.report.files import write
from jaxinit.report.html import frame, page
from jaxinit.report.report import Report
from jaxinit.report.text import visible
from jaxinit.signal.checks import check_schemes, check_switch, model_arguments
from jaxinit.signal.measure import Options, measure, prepare
from jaxinit.signal.seeds import Strategy


@dataclass(frozen=True)
class Comparison:
    """Reports of one model under several schemes. ``print`` it.

    Attributes:
      reports: by the scheme's name, its report.
    """

    reports: dict[str, Report]

    def __getitem__(self, name: str) -> Report:
        return self.reports[name]

    @property
    def interrupted(self) -> str | None:
        """What cut the last report short, if a signal did."""
        *_, last = self.reports.values()
        return last.interrupted

    def to_records(self) -> list[dict[str, Any]]:
        """One record for each scheme, with the columns of the printed table."""
        return [_record(name, report) for name, report in self.reports.items()]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """All reports as one JSON object, by the scheme's name.

        Args:
          path: a file to write it to as well.

        Returns:
          The JSON text; each value is what ``Report.from_json`` reads.
        """
        documents = {n: json.loads(r.to_json()) for n, r in self.reports.items()}
        return _written(json.dumps(documents, allow_nan=False), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser: the schemes side by side, and each report.

        Args:
          path: a file to write it to as well.

        Returns:
          The HTML document.
        """
        return _written(page(self.reports), path)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return frame(page(self.reports))

    def __str__(self) -> str:
        first = next(iter(self.reports.values()))
        head = (
            "scheme",
            "verdict",
            "seeds",
            "E[x²] first",
            "last",
            "lowest",
            "highest",
            "grad rms first/last",
            "first problem at",
        )
        rows = [tuple(visible(_cell(v)) for v in r.values()) for r in self.to_records()]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(w) if i in (0, 1, 8) else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, *rows]
        ]
        title = f"{first.settings['model']} under {len(self.reports)} schemes"
        legend = (
            "E[x²] is a row's second moment, median over seeds; lowest and highest, of "
            "all rows; grad rms, of the gradient at the first row over the last one's."
        )
        return "\n".join([title, *lines, legend])


@measuring
def compare(
    model: Any,
    *args: Any,
    schemes: Mapping[str, Any],
    seeds: int | Sequence[int] | None = None,
    key: int | jax.Array = 0,
    loss: Callable[[Any], jax.Array] | None = None,
    strategy: Strategy = "auto",
    chunk: int | None = None,
    memory_budget: int | None = None,
    time_budget: float | None = None,
    devices: int | Sequence[jax.Device] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    roll: bool | Literal["auto"] = "auto",
    progress: bool | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Comparison:
    """Analyzes one model under several schemes.

    The analysis is traced and compiled once and serves all schemes. Each sees the same
    keys and the same inputs.

    Args:
      model: as in ``analyze``.
      *args: the model's inputs.
      schemes: by a name of your choice, a scheme as in ``initialize``; ``None`` for
        the model's own init.
      seeds: as in ``analyze``, as all further ones.
      key: the root key.
      loss: where gradients start.
      strategy: how seeds are run.
      chunk: seeds at once.
      memory_budget: bytes.
      time_budget: seconds, for each scheme.
      devices: over which seeds are spread.
      checkpoint: a folder that keeps finished seeds, of each scheme apart.
      roll: whether repeated blocks are run as a loop.
      progress: whether to show progress.
      rngs: names of random streams.
      model_kwargs: keyword arguments of the model whose names are taken here.
      **kwargs: further keyword arguments of the model.

    Returns:
      The comparison. Ctrl-C ends it with the schemes that are done, at least one; the
      last of them may have fewer seeds.

    Raises:
      TypeError: as ``analyze``, or if ``schemes`` is no mapping.
      ValueError: as ``analyze``, or if ``schemes`` is empty; if a scheme does not
        apply, with a note that names it.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((32, 20), "float32")
      >>> schemes = {"flax": None, "he": jaxinit.he_normal()}
      >>> jaxinit.compare(model, x, schemes=schemes, seeds=4)["he"].verdict
      'ok'
    """
    check_schemes(schemes)
    check_switch("progress", progress, none=True)
    given = model_arguments(kwargs, model_kwargs)
    options = Options(
        seeds,
        key,
        loss,
        strategy,
        chunk,
        memory_budget,
        time_budget,
        rngs,
        devices,
        checkpoint,
        roll,
    )
    reports = {}
    with Bar(progress) as bar:
        bar.phase("tracing")
        prepared = prepare(model, args, given, options)
        for name, scheme in schemes.items():
            bar.phase(name)
            try:
                reports[name] = measure(prepared, scheme, bar)
            except (TypeError, ValueError) as error:
                error.add_note(f"jaxinit was measuring the scheme {name!r}.")
                raise
            except KeyboardInterrupt:
                if not reports:
                    raise
                break
            if reports[name].interrupted:
                break
    return Comparison(reports)


def _written(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        write(path, text.encode())
    return text


def _record(name: str, report: Report) -> dict[str, Any]:
    moments = np.median(report.forward["second_moment"], axis=0)
    ratio = np.nan
    if "grad_rms" in report.backward:
        gradients = np.median(report.backward["grad_rms"], axis=0)
        known = gradients[np.isfinite(gradients)]
        if known.size and known[-1] > 0:
            ratio = float(known[0] / known[-1])
    problems = [f for f in report.findings if f.is_problem and f.row is not None]
    return {
        "scheme": name,
        "verdict": report.verdict,
        "seeds": len(report.seeds),
        "first": float(moments[0]),
        "last": float(moments[-1]),
        "lowest": float(moments.min()),
        "highest": float(moments.max()),
        "grad_ratio": ratio,
        "first_problem": problems[0].row if problems else None,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
