"""What an analysis measured: the rows, the arrays, and what follows from them."""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxinit.report.findings import KINDS, Finding, Kind
from jaxinit.report.plain import plain
from jaxinit.report.remedy import Remedy
from jaxinit.report.summary import Summary, has_log, summarize


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
      role: what its parameters do, as ``jaxinit.ROLES`` has it: ``"readout"``,
        ``"attention_output+branch_end"``; empty for joins and taps.
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
    role: str = ""

    @property
    def channels(self) -> int:
        """How many units the output has, wherever their axes are."""
        return math.prod(self.shape) * self.steps // max(self.samples, 1)


class Branch(NamedTuple):
    """A sum in which a branch is added to a stream.

    Attributes:
      join: name of the row of the sum.
      skip: the rows nearest upstream of the stream.
      ends: the rows nearest upstream of what is added to it.
    """

    join: str
    skip: tuple[str, ...]
    ends: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Measured:
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
      evidence: what the verdict rests on besides: what a few gradient steps did to
        each parameter, slopes of squashing functions, the inputs; empty if nobody
        was to judge.
      model: metric name -> `(seeds,)`, of the model as a whole; what was asked for.
      histograms: row name -> `(seeds, 129)`, shares of its values by sign and
        exponent: negative ones from 2^23 to 2^-40, zeros, positive ones; if asked for.
      predicted: ``"second_moment"``, ``"cos"`` and ``"chi"`` as theory expects them,
        `(rows,)`, and with ``"_z"`` behind the name how many standard errors the mean
        over seeds lies above; NaN where no law is known; empty unless asked for.
      remedies: what would mend the model, the best first; empty if it is healthy or
        nobody was to look for them.
    """

    rows: tuple[Row, ...]
    forward: dict[str, np.ndarray]
    backward: dict[str, np.ndarray]
    params: tuple[str, ...]
    weights: dict[str, np.ndarray]
    profiles: dict[str, dict[str, np.ndarray]]
    seeds: np.ndarray = dataclasses.field(metadata={"dtype": "int64"})
    key_data: np.ndarray = dataclasses.field(metadata={"dtype": "uint32"})
    key_impl: str
    mode: Literal["probe", "loss"]
    loss: np.ndarray | None
    unreached: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    histograms: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()
    predicted: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", plain(self.settings))
        object.__setattr__(self, "evidence", plain(self.evidence, "evidence"))
        check(self)

    @functools.cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the rows, in the order data meets them."""
        return tuple(row.name for row in self.rows)

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each row whether it is a layer, a join or a tap."""
        return tuple(row.kind for row in self.rows)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The sums in which branches join a stream, in the order data meets them."""
        return tuple(
            Branch(row.name, row.skip, row.branch)
            for row in self.rows
            if row.kind == "join"
        )

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
    def interrupted(self) -> str | None:
        """What cut the run short, if it was a signal and not the end of its seeds."""
        cuts = (note for note in self.notes if note.startswith("interrupted"))
        return next(cuts, None)

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


def check(report: Measured) -> None:
    """Raises a ValueError that names the place, if parts contradict each other."""
    _check_seeds(report)
    num_seeds = len(report.seeds)
    for group, width in (
        ("forward", len(report.rows)),
        ("backward", len(report.rows)),
        ("weights", len(report.params)),
    ):
        for metric, values in getattr(report, group).items():
            if values.shape != (num_seeds, width):
                raise ValueError(
                    f"`{group}[{metric!r}]` must have shape {(num_seeds, width)}, "
                    f"got {values.shape}. Axis 0 counts seeds, axis 1 "
                    f"{'parameters' if group == 'weights' else 'rows'}."
                )
    for metric, values in report.predicted.items():
        if values.shape != (len(report.rows),):
            raise ValueError(
                f"`predicted[{metric!r:.80}]` must have shape {(len(report.rows),)}, "
                f"got {values.shape}."
            )
    for name, metrics in report.profiles.items():
        if name not in report.layers:
            raise ValueError(f"`profiles` has {name!r:.80}, which names no row.")
        for metric, values in metrics.items():
            if values.ndim != 2 or len(values) != num_seeds:
                raise ValueError(
                    f"`profiles[{name!r:.80}][{metric!r}]` must have shape "
                    f"({num_seeds}, steps), got {values.shape}."
                )
    for metric, values in report.model.items():
        if values.shape != (num_seeds,):
            raise ValueError(
                f"`model[{metric!r:.80}]` must have shape ({num_seeds},), got "
                f"{values.shape}."
            )
    for name, values in report.histograms.items():
        if name not in report.layers:
            raise ValueError(f"`histograms` has {name!r:.80}, which names no row.")
        if values.ndim != 2 or len(values) != num_seeds:
            raise ValueError(
                f"`histograms[{name!r:.80}]` must have shape ({num_seeds}, bins), got "
                f"{values.shape}."
            )
    for i, row in enumerate(report.rows):
        if any(size < 0 for size in row.shape):
            raise ValueError(f"`rows[{i}].shape` must not be below 0, got {row.shape}.")
    for i, finding in enumerate(report.findings):
        if not 0 <= finding.seed_share <= 1:
            raise ValueError(
                f"`findings[{i}].seed_share` must lie between 0 and 1, got "
                f"{finding.seed_share}."
            )


def _check_seeds(report: Measured) -> None:
    seeds, loss = report.seeds, report.loss
    if seeds.ndim != 1 or not len(seeds):
        raise ValueError(f"`seeds` must have shape (seeds,), got {seeds.shape}.")
    if seeds.min() < 0 or seeds.max() >= 2**32 or len(np.unique(seeds)) < len(seeds):
        raise ValueError(
            "`seeds` must hold different integers from 0 to 2**32 - 1, got "
            f"{seeds.tolist()!r:.80}."
        )
    if (loss is None) != (report.mode == "probe"):
        raise ValueError(
            f"`loss` must be there in mode 'loss' and None in mode 'probe'; the mode "
            f"is {report.mode!r}."
        )
    if loss is not None and loss.shape != seeds.shape:
        raise ValueError(f"`loss` must have shape {seeds.shape}, got {loss.shape}.")
