"""Does the signal, or its gradient, grow or shrink with depth?

Layers are compared with layers of their kind: those that multiply data by a weight.
Norms, biases, joins and lookups follow other laws and would bend the line. The last
layer counts only where there are few, since a readout often has an initializer of its
own. Gradients are compared by their norm, ``grad_rms * sqrt(size)``: it is the norm
that a well-scaled layer keeps, while the rms changes with every pooling and every
change of width.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.report.summary import log10, moments, summarize
from jaxinit.verdict import remedies
from jaxinit.verdict.evidence import front, has_role, in_gated_cell, scaled_down
from jaxinit.verdict.trend import Trend, fit_trend, line

# A slope is a finding once the line changes the rms tenfold from the first layer to
# the last, in bits of the rms. Less than that the first steps of any optimizer
# repair; LeCun's scale under ReLU gets there in 7 layers, a residual stream that
# doubles per block also in 7 blocks, and the linear growth of normalized streams,
# sqrt(L) in rms, only at L = 100.
TENFOLD = math.log2(10)

# Without a slope (too few layers, or one layer that is off) only sizes that no
# healthy network has: rms of the signal above 1000 or below 1e-6, and gradients whose
# norm differs from that at the last layer by more than 1e6 (growth) or 1e8 (decay:
# the queries and keys of near-uniform attention lie far below the rest).
RMS_ABOVE, RMS_BELOW = 1e3, 1e-6
GRADIENT_ABOVE, GRADIENT_BELOW = 1e6, 1e-8
# Joins of a stream are a curve of their own from as many on.
SHORTEST_STREAM = 4


class Current(NamedTuple):
    """The logarithm of a size along the comparable layers, in the direction of flow.

    Attributes:
      metric: ``"second_moment"`` or ``"grad_rms"``.
      names: the layers, from the input for signals, from the output for gradients.
      logs: `(seeds, layers)`: log2 of the metric; for gradients of the norm. NaN
        where the metric is zero or not defined.
      per_rms: bits of this metric for one bit of rms: 2 for a second moment.
      hidden: the layers that the line is fitted to.
      trend: the line through them, None below three layers.
      depths: `(hidden,)`: how far each of them is along the flow.
      where: whose size it is, if not that of the layers' outputs.
    """

    metric: str
    names: tuple[str, ...]
    logs: np.ndarray
    per_rms: int
    hidden: slice
    trend: Trend | None
    depths: np.ndarray
    where: str = ""


def comparable(report: Measured) -> list[int]:
    """Indices of the layers that multiply data by a weight, or else of all layers."""
    layers = [i for i, row in enumerate(report.rows) if row.kind == "layer"]
    weighted = [i for i in layers if report.rows[i].operation in remedies.CONTRACTIONS]
    return weighted or layers


def find_currents(report: Measured) -> list[Current]:
    """That of the signal and, where the report has gradients, that of the gradient."""
    rows = [i for i in comparable(report) if not _is_asked(report, i)]
    readout = 1 if len(rows) > 3 else 0
    found = _both(report, rows, readout)
    stream = [i for i, row in enumerate(report.rows) if _is_stream(row)]
    if len(stream) >= SHORTEST_STREAM and report.evidence:
        found += [
            current._replace(where=" of the stream")
            for current in _both(report, stream, 0)
            if current.trend is not None
        ]
    return found


def _is_asked(report: Measured, i: int) -> bool:
    """Whether a row makes queries or keys alone: its gradient lies far below others."""
    row = report.rows[i]
    asked = has_role(report, row, "query", "key")
    return asked and not has_role(report, row, "value")


def _both(report: Measured, rows: list[int], readout: int) -> list[Current]:
    found = []
    if "second_moment" in report.forward:
        # A gate halves what it lets through, in every LSTM of a healthy stack.
        signal = [i for i in rows if not in_gated_cell(report, report.rows[i])] or rows
        logs = _log2(report.forward["second_moment"])[:, signal]
        last = readout if len(signal) > 3 else 0
        hidden = slice(0, len(signal) - last)
        found.append(_current(report, "second_moment", signal, logs, hidden))
    if "grad_rms" in report.backward:
        sizes = np.array([max(math.prod(row.shape), 1) for row in report.rows])
        logs = _log2(report.backward["grad_rms"]) + 0.5 * np.log2(sizes)
        backwards = rows[::-1]
        hidden = slice(readout, len(rows))
        found.append(
            _current(report, "grad_rms", backwards, logs[:, backwards], hidden)
        )
    return found


def _is_stream(row: Row) -> bool:
    return row.kind == "join" and row.steps == 1 and bool(row.skip and row.branch)


def judge_current(report: Measured, current: Current) -> list[Finding]:
    """Exploding or vanishing, from the slope or else from the size."""
    return _by_slope(report, current) or _by_size(report, current)


def describe(current: Current) -> str:
    """How much the size changes per layer, as a phrase for a healthy model."""
    what = "gradient norm" if current.metric == "grad_rms" else "second moment"
    if current.trend is None:
        known = np.isfinite(current.logs).any(axis=0).sum()
        layers = "layer" if known == 1 else "layers"
        return f"the {what} keeps within bounds ({known} {layers}: too few for a slope)"
    factor = _factor(current.trend.slope, current.trend.stderr)
    return (
        f"the {what}{current.where} changes by a factor of {factor} per layer "
        f"over {current.trend.depth + 1} layers"
    )


def _current(
    report: Measured, metric: str, rows: list[int], logs: np.ndarray, hidden: slice
) -> Current:
    names = tuple(report.rows[i].name for i in rows)
    per_rms = 2 if metric == "second_moment" else 1
    depths = _depths(report, rows[hidden], metric)
    trend = fit_trend(logs[:, hidden], depths)
    return Current(metric, names, logs, per_rms, hidden, trend, depths)


def _depths(report: Measured, rows: list[int], metric: str) -> np.ndarray:
    """How far each row is along the flow: parallel layers are not depth."""
    found = [front(report, report.rows[i].name).get("depth") for i in rows]
    known = [depth for depth in found if depth is not None]
    if not rows or len(known) < len(rows):
        return np.arange(len(rows), dtype=np.float64)
    depths = np.array(known, dtype=np.float64)
    if metric == "grad_rms":
        depths = -depths
    least: float = depths.min()
    return depths - least


def _by_slope(report: Measured, current: Current) -> list[Finding]:
    trend = current.trend
    limit = TENFOLD * current.per_rms
    if trend is None or not trend.is_significant or abs(trend.change) < limit:
        return []
    sign = math.copysign(1.0, trend.slope)
    growing = sign > 0
    gradient = current.metric == "grad_rms"
    names = current.names[current.hidden]
    median = summarize(current.logs[:, current.hidden], log=False).median
    fitted = trend.start + trend.slope * current.depths
    beyond = sign * (median - trend.start) >= limit
    if not beyond.any():
        beyond = sign * (fitted - trend.start) >= limit
    frontier = names[int(np.argmax(beyond))]
    with np.errstate(invalid="ignore"):
        share = float(np.mean(sign * trend.slopes * trend.depth >= limit))
    verb = "grows" if growing else "falls"
    what = "gradient norm" if gradient else "second moment"
    towards = " towards the input" if gradient else ""
    message = (
        f"The {what} {verb}{towards} by a factor of "
        f"{_factor(abs(trend.slope), trend.stderr)} per layer, "
        f"{_power(abs(trend.change))} in all over {trend.depth + 1} layers; "
        f"it is past {'10' if current.per_rms == 1 else '100'} from {frontier} on."
    )
    mean, error = _mean_slope(current)
    if not growing and mean > trend.slope / 2:
        bits = mean * trend.depth, 2 * error * trend.depth
        message += _mean_over_seeds(len(current.logs), *bits)
        remedy = remedies.WIDER
    else:
        message += _theory(report, current)
        remedy = remedies.for_slope(report, trend.slope, gradient=gradient)
    return [
        Finding(
            kind="exploding" if growing else "vanishing",
            metric=current.metric,
            row=frontier,
            seed_share=share,
            value=trend.slope,
            stderr=trend.stderr,
            message=message,
            remedy=remedy,
        )
    ]


def _mean_over_seeds(seeds: int, bits: float, error: float) -> str:
    """Of a typical seed that falls more than twice as much: what the mean does."""
    if abs(bits) <= error:
        return (
            f" The mean over seeds is kept, as far as {seeds} seeds tell (to a factor "
            f"of {_power(error)}), but the typical seed is not near it."
        )
    verb = "falls" if bits < 0 else "grows"
    return (
        f" The mean over seeds {verb} by a factor of {_power(abs(bits))} in all; the "
        "rest is that few seeds are near the mean."
    )


def _mean_slope(current: Current) -> tuple[float, float]:
    """Bits per layer of the mean over seeds, and their standard error.

    ``trend.slope`` is that of the typical seed. A log-normal of mean m and variance v
    (in bits) has a mean of m + v ln(2) / 2 bits, and the variance grows with depth: by
    5 / (n ln(2)^2) per ReLU layer of width n. That of S normals is known to a share of
    sqrt(2 / (S - 1)).
    """
    assert current.trend is not None
    variance = moments(current.logs[:, current.hidden])[2] ** 2
    known = np.isfinite(variance)
    if known.sum() < 3:
        return current.trend.slope, current.trend.stderr
    growth, _ = line(current.depths[known], variance[known])
    more = growth * math.log(2) / 2
    error = more * math.sqrt(2 / max(len(current.logs) - 1, 1))
    return current.trend.slope + more, math.hypot(current.trend.stderr, error)


def _theory(report: Measured, current: Current) -> str:
    """What kernels would do that, for plain ReLU chains: variance c / fan_in -> c/2."""
    plain = not remedies.num_joins(report) and not remedies.has_norms(report)
    if remedies.common_activation(report) != "relu" or not plain:
        return ""
    mean, _ = _mean_slope(current)
    scale = 2.0 ** min(1 + mean * 2 / current.per_rms, 1023.0)
    return (
        f" Under ReLU this is what kernels of variance {compact(scale)}/fan_in do "
        "(LeCun's have 1, He's 2, which keeps it constant)."
    )


def _by_size(report: Measured, current: Current) -> list[Finding]:
    gradient = current.metric == "grad_rms"
    # The rms, or the gradient's norm relative to the last layer's, in bits.
    sizes = current.logs / current.per_rms
    if gradient and sizes.shape[1]:
        sizes = sizes - sizes[:, :1]
    above = math.log2(GRADIENT_ABOVE if gradient else RMS_ABOVE)
    below = math.log2(GRADIENT_BELOW if gradient else RMS_BELOW)
    with np.errstate(invalid="ignore"):
        high, low = sizes > above, sizes < below
    if gradient:
        low[:, scaled_down(report, current.names)] = False
    for growing, hits in ((True, high), (False, low)):
        share = hits.mean(axis=0) if hits.size else np.zeros(0)
        if not (share > 0.5).any():
            continue
        where = int(np.argmax(share > 0.5))
        known = sizes[:, where][np.isfinite(sizes[:, where])]
        value = 2.0 ** min(float(np.median(known)), 1023.0)
        metric = "grad_rms" if gradient else "rms"
        what = (
            f"The gradient's norm at {current.names[where]} is {compact(value)} times "
            f"that at {current.names[0]}"
            if gradient
            else f"The rms at {current.names[where]} is {compact(value)}"
        )
        bound = (
            (GRADIENT_ABOVE if growing else GRADIENT_BELOW)
            if gradient
            else (RMS_ABOVE if growing else RMS_BELOW)
        )
        return [
            Finding(
                kind="exploding" if growing else "vanishing",
                metric=metric,
                row=current.names[where],
                seed_share=float(share[where]),
                value=value,
                stderr=float("nan"),
                message=(
                    f"{what}, {'above' if growing else 'below'} {bound:g}, where "
                    "no healthy network is."
                ),
                remedy=remedies.for_size(
                    report, current.names[where], gradient=gradient, growing=growing
                ),
            )
        ]
    return []


def _log2(values: np.ndarray) -> np.ndarray:
    return log10(values) / math.log10(2)


def _power(bits: float) -> str:
    return compact(2.0 ** min(bits, 1023.0))


def _factor(slope: float, stderr: float) -> str:
    """``2**slope`` with its standard error, as many digits as the error allows."""
    factor = 2.0 ** min(slope, 1023.0)
    error = factor * math.log(2) * stderr
    digits = 2 if error <= 0 else min(max(1 - math.floor(math.log10(error)), 0), 4)
    return f"{factor:.{digits}f} ± {error:.{digits}f}"
