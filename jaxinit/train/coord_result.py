"""The result of a coordinate check: sizes against width, slopes, what is a bug."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit.report.charts import Chart, Charts, over_seeds
from jaxinit.report.sheet import Sheet
from jaxinit.train.coord_sizes import CoordSizes
from jaxinit.train.coord_verdict import Finding, Trend, diagnose, trends


@dataclass(frozen=True, eq=False)
class CoordCheck(CoordSizes):
    """Sizes of activations at several widths or depths, judged. ``print`` it.

    Its attributes are those of ``CoordSizes``.
    """

    def trends(self) -> tuple[Trend, ...]:
        """For each layer, the slopes before training and after the last step."""
        return trends(self)

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the likeliest causes by name."""
        return diagnose(self)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(t.is_bug for t in self.trends()) and not self.findings()

    def _verdict(self) -> str:
        if not self.ok:
            return "bug"
        unclear = [t.layer for t in self.trends() if t.word == "unclear"]
        if not unclear:
            return "ok, nothing depends on it"
        named = ", ".join(unclear[:3]) + (", ..." if unclear[3:] else "")
        more = f"larger {self.axis}s, more seeds or steps tell of"
        return f"ok, no bug shows; {more} {named}"

    def to_records(self) -> list[dict[str, Any]]:
        """One record for each size, seed, step and layer."""
        records = []
        for i, j, step, row in np.ndindex(*self.activations.shape[:4]):
            values = (
                *self.activations[i, j, step, row],
                *self.updates[i, j, step, row],
            )
            names = ("l1", "rms", "update_l1", "update_rms")
            records.append(
                {
                    self.axis: int(self.sizes[i]),
                    "seed": int(self.seeds[j]),
                    "step": step,
                    "layer": self.layers[row],
                    **{n: float(v) for n, v in zip(names, values, strict=True)},
                }
            )
        return records

    def sheet(self) -> Sheet:
        """A line for each layer, and the verdict."""
        steps = self.activations.shape[2] - 1
        head = ("layer", "at step 0", f"after {steps}", "change", "")
        rows = tuple(
            (
                t.layer,
                *(_slope(s) for s in (t.initial, t.final, t.update)),
                f"{t.word}, bug" if t.is_bug else t.word,
            )
            for t in self.trends()
        )
        sizes = ", ".join(str(size) for size in self.sizes)
        title = f"{self.model}: slope of log2 rms on log2 {self.axis} ({sizes})"
        unjudged = self.settings.get("unjudged")
        more = (f"Parameters are not judged: {unjudged}",) if unjudged else ()
        below = (
            f"Mean slope over {len(self.seeds)} seeds (each by least squares over the "
            f"{self.axis}s) ± Student's {self.confidence:.0%} interval; flat within "
            f"{self.tolerance:g}.",
            *more,
            "Verdict: " + self._verdict(),
            *(f"  {f.kind}: {f.message}" for f in self.findings()),
        )
        return Sheet(title, head, rows, below)

    def charts(self) -> Charts:
        """Sizes against the width, a chart a step; changes below the activations."""
        found = []
        for values, what in ((self.activations, "rms"), (self.updates, "change")):
            row = []
            for step in range(values.shape[2]):
                curves = [
                    over_seeds(
                        name, self.sizes, values[:, :, step, i, 1].T, i, positive=True
                    )
                    for i, name in enumerate(self.layers)
                ]
                row.append(
                    Chart(
                        f"{what} after {step} steps",
                        tuple(curves),
                        self.axis,
                        x_log=2,
                        y_log=2,
                        marks=True,
                    )
                )
            found.append(row)
        return found


def _slope(slope: Any) -> str:
    if not np.isfinite(slope.value):
        return "-"
    if not np.isfinite(slope.low):
        return f"{slope.value:+.2f}"
    return f"{slope.value:+.2f} ± {slope.high - slope.value:.2f}"
