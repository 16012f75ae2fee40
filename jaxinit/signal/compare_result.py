"""The result of ``compare``: the reports, their ranking, tables, figures and pages."""

import html
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from jaxinit._intervals import Interval
from jaxinit.report.charts import Chart, Charts, over_seeds
from jaxinit.report.files import write
from jaxinit.report.html import sections
from jaxinit.report.json import NoSuchReport
from jaxinit.report.numbers import compact
from jaxinit.report.report import Report
from jaxinit.report.sheet import Sheet
from jaxinit.report.shown import Shown
from jaxinit.report.text import visible
from jaxinit.signal.compare_ranking import Rank, best, ranking

_BAND = 0.9


@dataclass(frozen=True)
class Comparison(Shown):
    """Reports of one model under several schemes. ``print`` it, ``plot()`` it.

    Attributes:
      reports: by the scheme's name, its report.
    """

    reports: dict[str, Report]

    def __getitem__(self, name: str) -> Report:
        try:
            return self.reports[name]
        except KeyError:
            raise KeyError(
                f"a comparison of {', '.join(self.reports)} has no {name!r}"
            ) from None

    @property
    def interrupted(self) -> str | None:
        """What cut the last report short, if a signal did."""
        *_, last = self.reports.values()
        return last.interrupted

    def ranking(self, confidence: float = 0.95) -> tuple[Rank, ...]:
        """The schemes from the best to the worst at initialization, with uncertainty.

        Healthy schemes come before those of which the verdict names a problem; within
        both, by how little signal and gradient drift through the layers. It says
        nothing of training: ``race`` does.

        Args:
          confidence: of all intervals.

        Returns:
          One rank for each scheme; those that cannot be told from the best share its
          place.
        """
        return ranking(self.reports, confidence)

    @property
    def best(self) -> str | None:
        """The scheme that is healthy and beats all others beyond doubt, or ``None``."""
        return best(self.ranking())

    def to_records(self) -> list[dict[str, Any]]:
        """One record for each scheme, with the columns of the printed table."""
        ranks = {rank.scheme: rank for rank in self.ranking()}
        return [_record(ranks[n], report) for n, report in self.reports.items()]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """All reports as one JSON object, by the scheme's name.

        Args:
          path: a file to write it to as well.

        Returns:
          The JSON text; each value is what ``Report.from_json`` reads.
        """
        documents = {n: json.loads(r.to_json()) for n, r in self.reports.items()}
        text = json.dumps(documents, allow_nan=False)
        if path is not None:
            write(path, text.encode())
        return text

    @classmethod
    def from_json(cls, text_or_path: str | os.PathLike[str]) -> Self:
        """What ``to_json`` returned or wrote.

        Args:
          text_or_path: the text, or a file that holds it.

        Returns:
          An equal comparison.

        Raises:
          ValueError: if it is no such text, naming the scheme that is at fault.
        """
        text = os.fspath(text_or_path)
        if not text.lstrip("\ufeff \n\t").startswith("{"):
            if not os.path.exists(text):
                raise NoSuchReport(
                    f"not a comparison: {text!r:.80} is neither JSON text nor the path "
                    "of a file that exists."
                )
            with open(text, encoding="utf-8-sig") as file:
                text = file.read()
        try:
            documents = json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a comparison: the text is no JSON ({error}).") from (
                error
            )
        if not documents or not all(isinstance(d, dict) for d in documents.values()):
            raise ValueError(
                "not a comparison: it must map names of schemes to reports. Pass what "
                "`Comparison.to_json` returned or wrote; `Report.from_json` reads one "
                "report."
            )
        reports = {}
        for name, value in documents.items():
            try:
                reports[name] = Report.from_json(json.dumps(value))
            except ValueError as error:
                error.add_note(f"It is the report of the scheme {name!r:.80}.")
                raise
        return cls(reports)

    def sheet(self) -> Sheet:
        """The printed table: ranked, with verdicts and remedies below."""
        first = next(iter(self.reports.values()))
        records = {record["scheme"]: record for record in self.to_records()}
        ranks = self.ranking()
        rows = tuple(_row(rank, records[rank.scheme]) for rank in ranks)
        return Sheet(
            f"{first.settings.get('model', 'model')} under {len(rows)} schemes",
            _HEAD,
            rows,
            (*_LEGEND, *self._said(ranks)),
            left=2,
        )

    def charts(self) -> Charts:
        """The signal and the gradient against depth, a color for each scheme."""
        found = []
        for group, metric, title in (
            ("forward", "second_moment", "Second moment of the signal"),
            ("backward", "grad_rms", "Gradient rms"),
        ):
            curves = [
                over_seeds(
                    name,
                    np.arange(len(report.rows)),
                    getattr(report, group)[metric],
                    number,
                    _BAND,
                    positive=True,
                )
                for number, (name, report) in enumerate(self.reports.items())
                if metric in getattr(report, group)
            ]
            names = max((r.layers for r in self.reports.values()), key=len)
            label = f"median and {_BAND:.0%} of seeds"
            chart = Chart(title, tuple(curves), y_label=label, y_log=10, names=names)
            found.append([chart._replace(marks=len(names) <= 40)])
        return found if found[1][0].curves else found[:1]

    def html_below(self) -> Iterator[str]:
        """Each report in full."""
        yield "<ul>"
        for number, name in enumerate(self.reports):
            text = html.escape(visible(name))
            yield f'<li><a href="#report-{number}">{text}</a></li>'
        yield "</ul>"
        yield from sections(self.reports)

    def _said(self, ranks: tuple[Rank, ...]) -> Iterator[str]:
        first = [rank.scheme for rank in ranks if rank.place == 1]
        winner = best(ranks)
        if winner is not None and len(ranks) > 1:
            yield f"Best at initialization: {winner}, at 95% confidence over seeds."
        elif ranks[0].verdict != "ok":
            yield "None of them is healthy at initialization."
        elif len(first) > 1:
            yield f"No winner: {', '.join(first)} cannot be told apart at 95%."
        for rank in ranks:
            for finding in self.reports[rank.scheme].findings:
                if not finding.is_problem:
                    continue
                place = f" at {finding.row}" if finding.row is not None else ""
                share = f"{finding.seed_share:.0%} of seeds"
                yield f"{rank.scheme}: {finding.kind}{place}, {share}"
                if finding.remedy is not None:
                    yield f"    → {finding.remedy}"


_HEAD = (
    *("scheme", "verdict", "place", "drift", "behind the best", "seeds"),
    *("E[x²] first", "last", "grad rms first/last"),
)
_LEGEND = (
    "drift: decades between the largest and the smallest rms of the signal over the "
    "layers, plus those of the gradient norm; behind the best: the difference from "
    "the first of its kind (healthy or not), paired over seeds. ± is the 95% "
    "interval. E[x²] is a row's second moment, median over seeds.",
)


def _record(rank: Rank, report: Report) -> dict[str, Any]:
    moments = np.median(report.forward["second_moment"], axis=0)
    if not moments.size:
        moments = np.full(1, math.nan)
    ratio = math.nan
    if "grad_rms" in report.backward:
        gradients = np.median(report.backward["grad_rms"], axis=0)
        known = gradients[np.isfinite(gradients)]
        if known.size and known[-1] > 0:
            ratio = float(known[0] / known[-1])
    problems = [f for f in report.findings if f.is_problem]
    rows = [f.row for f in problems if f.row is not None]
    return {
        "scheme": rank.scheme,
        "verdict": report.verdict,
        "place": rank.place,
        "drift": rank.drift.value,
        "drift_low": rank.drift.low,
        "drift_high": rank.drift.high,
        "behind": rank.behind.value,
        "behind_low": rank.behind.low,
        "behind_high": rank.behind.high,
        "seeds": len(report.seeds),
        "first": float(moments[0]),
        "last": float(moments[-1]),
        "lowest": float(moments.min()),
        "highest": float(moments.max()),
        "grad_ratio": ratio,
        "first_problem": rows[0] if rows else None,
        "remedy": problems[0].remedy if problems else None,
    }


def _row(rank: Rank, record: dict[str, Any]) -> tuple[str, ...]:
    return (
        rank.scheme,
        rank.verdict,
        f"{rank.place}=" if rank.tied else f"{rank.place}",
        _interval(rank.drift),
        "" if rank.behind.value == 0 else _interval(rank.behind),
        str(record["seeds"]),
        *(compact(record[name]) for name in ("first", "last")),
        "" if math.isnan(record["grad_ratio"]) else compact(record["grad_ratio"]),
    )


def _interval(interval: Interval) -> str:
    if math.isnan(interval.value) or math.isnan(interval.low):
        return "" if math.isnan(interval.value) else compact(interval.value)
    return f"{interval.value:.2f} ± {interval.high - interval.value:.2g}"
