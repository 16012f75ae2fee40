"""What may mend each kind of finding, the likeliest first."""

import math
from collections.abc import Callable
from dataclasses import replace

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.signal.remedies import laws
from jaxinit.signal.remedies.as_named import Found, as_named
from jaxinit.signal.remedies.candidate import BY_COLUMN, NORMALIZE, Candidate
from jaxinit.signal.remedies.of_size import of_size
from jaxinit.verdict.evidence import curves, params
from jaxinit.verdict.given_weights import is_given
from jaxinit.verdict.inputs import APART
from jaxinit.verdict.non_finite import beyond_range, overflows_alone
from jaxinit.verdict.remedies import common_activation
from jaxinit.verdict.steps_of_size import LARGEST


def candidates(report: Measured) -> list[Candidate]:
    """Remedies for the findings of a report, by cause, without repetition.

    Args:
      report: a report whose evidence was gathered.

    Returns:
      First what suits the most severe finding. Nothing that the model already has,
      and of weights that were given nothing that draws them anew.
    """
    if not params(report) or overflows_alone(report):
        return []  # of ordinary kernels: others mend by chance what they do not cause
    found: list[Candidate | None] = []
    for finding in report.findings:
        found += as_named(report, finding)
        found += _BY_KIND.get(finding.kind, _nothing)(report, finding)
    top = report.findings[0]
    if top.kind in _BY_KIND and top.metric != "token_cos":
        found += _everywhere(report)
    unique: dict[str, Candidate] = {}
    for candidate in found:
        if candidate is not None:
            name = f"{candidate.scheme}{candidate.normalize}"
            unique.setdefault(name, candidate)
    if is_given(report):
        return [c for c in unique.values() if c.scheme is None]
    return list(unique.values())


def _nothing(report: Measured, finding: Finding) -> Found:
    del report, finding
    yield from ()


def _everywhere(report: Measured) -> Found:
    """Usual laws for all kernels, and biases of zero with them."""
    names = laws.hidden(report)
    chosen = laws.for_activation(common_activation(report))
    biased = _biases(report, laws.having(report, "bias", "readout_bias", "gate_bias"))
    for law in chosen:
        yield laws.kernels(report, names, law)
    yield biased
    for law in chosen:
        one = laws.kernels(report, names, law)
        if one is not None and biased is not None:
            yield one.and_also(biased)
    readouts = laws.having(report, "readout", but=("embedding",))
    last = laws.kernels(report, readouts, laws.LECUN)
    one = laws.kernels(report, names, chosen[0])
    if last is not None and one is not None:
        yield one.and_also(last)


def _dead(report: Measured, finding: Finding) -> Found:
    yield _biases(report, laws.params_of(report, finding.row, "bias", "norm_bias"))
    yield _biases(report, laws.having(report, "bias", "norm_bias"))
    yield _normalized(report)
    yield from _everywhere(report)


def _saturated(report: Measured, finding: Finding) -> Found:
    if finding.metric == "softmax":
        yield from _attention(report, finding)
        return
    one = laws.kernels_of(report, finding.row)
    bias = _biases(report, laws.params_of(report, finding.row, "bias", "gate_bias"))
    every = _biases(report, laws.having(report, "bias", "gate_bias"))
    yield bias
    yield every
    yield laws.kernels(report, one, laws.LECUN)
    recurrent = laws.kernels(report, laws.having(report, "recurrent"), laws.ORTHOGONAL)
    inputs = laws.having(report, "weight", but=("recurrent", "readout", "embedding"))
    rest = laws.kernels(report, inputs, laws.LECUN)
    for first in (rest, recurrent):
        for second in (None, every, recurrent):
            if first is not None:
                yield first if second is None else first.and_also(second)
    yield _normalized(report)


def _attention(report: Measured, finding: Finding) -> Found:
    """Queries and keys of another size: what 1/sqrt(head_dim) would do as well."""
    pair = laws.having(report, "query", "key")
    queries = [n for n in laws.having(report, "query") if "shape" in params(report)[n]]
    gains = [
        e["mean_square"] * e["fan_in"]
        for e in (params(report)[n] for n in pair)
        if e.get("fan_in") and "mean_square" in e
    ]
    divided = None
    line, _, where = (finding.remedy or "").partition("  # ")
    known = [
        c
        for c in curves(report, "softmax")
        if c["row"].split("[")[0] == (finding.row or "").split("[")[0] and "terms" in c
    ]
    if queries and known and line.startswith("scores"):
        times = math.sqrt(known[0]["terms"]) * known[0]["factor"]
        change = laws.changed(report, queries, f"w / {times:.4g}")
        divided = replace(change, code=line, where=where, simulates=True)
    drawn = laws.kernels(report, pair, laws.LECUN)
    if gains and max(gains) > LARGEST:
        yield drawn
    yield divided
    yield drawn
    if drawn is not None and divided is not None:
        yield divided.and_also(drawn)


def _collapsed(report: Measured, finding: Finding) -> Found:
    if finding.metric != "token_cos":
        yield from _everywhere(report)


def _symmetric(report: Measured, finding: Finding) -> Found:
    del finding
    equal = [
        n
        for n, e in params(report).items()
        if e.get("units_before", 1.0) < 1e-5 and e.get("fan_in")
    ]
    for law in laws.for_activation(common_activation(report))[:2]:
        yield laws.kernels(report, equal, law)
        yield laws.kernels(report, laws.hidden(report), law)


def _trapped(report: Measured, finding: Finding) -> Found:
    """Of zeros that wait for each other, one kind opened; then all of them."""
    del finding
    zero = [
        n for n, e in params(report).items() if e.get("mean_square") == 0 and e["roles"]
    ]
    weights = [n for n in zero if params(report)[n].get("fan_in")]
    factors = [
        n for n in zero if {"gain", "norm_scale"} & set(params(report)[n]["roles"])
    ]
    law = laws.for_activation(common_activation(report))[0]
    drawn = laws.kernels(report, weights, law)
    opened = laws.drawn(report, factors, "jaxinit.ones") if factors else None
    norms = [n for n in factors if "norm_scale" in params(report)[n]["roles"]]
    yield laws.drawn(report, norms, "jaxinit.ones") if norms else None
    for name in reversed(weights):
        yield laws.kernels(report, [name], law)
    yield drawn
    yield opened
    if drawn is not None and opened is not None:
        yield drawn.and_also(opened)


def _time(report: Measured, finding: Finding) -> Found:
    forget = laws.having(report, "forget_gate_bias")
    if finding.kind == "time-vanishing":
        yield _ones(report, forget)
        yield _ones(report, laws.having(report, "gate_bias"))
    recurrent = laws.having(report, "recurrent")
    yield laws.kernels(report, recurrent, laws.ORTHOGONAL)
    yield laws.kernels(report, recurrent, laws.LECUN)
    if finding.kind == "time-exploding":
        yield laws.drawn(report, recurrent, "jaxinit.orthogonal(0.7)")
    one = laws.kernels(report, recurrent, laws.ORTHOGONAL)
    bias = _ones(report, forget)
    if one is not None and bias is not None:
        yield one.and_also(bias)


def _inputs(report: Measured, finding: Finding) -> Found:
    del finding
    yield _normalized(report)


def _readout(report: Measured, finding: Finding) -> Found:
    names = laws.kernels_of(report, finding.row) or laws.having(report, "readout")
    tables = [n for n in names if "embedding" in params(report)[n]["roles"]]
    for name in tables:
        width = int(params(report)[name]["shape"][-1])
        yield laws.drawn(report, [name], f"jaxinit.normal({width**-0.5:.3g})")
        yield laws.drawn(report, [name], "jaxinit.normal(0.02)")
    rest = [n for n in names if n not in tables]
    yield laws.kernels(report, rest, laws.LECUN)
    if rest:
        yield laws.drawn(report, rest, "jaxinit.zeros")


def _unstable(report: Measured, finding: Finding) -> Found:
    del finding
    names = laws.hidden(report)
    for law in laws.for_activation(common_activation(report)):
        if law.gain is None:
            yield laws.kernels(report, names, law)


def _non_finite(report: Measured, finding: Finding) -> Found:
    """All kernels; behind an overflow nothing is measured, but by layer upon layer."""
    yield from _any_kernels(report, finding)
    if beyond_range(report):
        yield Candidate("", "", (), "jaxinit.lsuv()")


def _any_kernels(report: Measured, finding: Finding) -> Found:
    del finding
    yield from _everywhere(report)


_BY_KIND: dict[str, Callable[[Measured, Finding], Found]] = {
    "non-finite": _non_finite,
    "input": _inputs,
    "symmetric": _symmetric,
    "trapped": _trapped,
    "exploding": of_size,
    "vanishing": of_size,
    "time-exploding": _time,
    "time-vanishing": _time,
    "dead": _dead,
    "saturated": _saturated,
    "rank-collapsed": _collapsed,
    "dtype-range": _any_kernels,
    "loss-at-init": _readout,
    "seed-unstable": _unstable,
}


def _normalized(report: Measured) -> Candidate | None:
    fed = report.evidence.get("inputs", ())
    if all(abs(x["mean"]) < 0.5 and 0.5 < x["std"] < 2 for x in fed):
        return None
    columns = any(x.get("columns", 1.0) > APART for x in fed)
    return Candidate(
        BY_COLUMN if columns else NORMALIZE,
        "with the training data's",
        normalize=True,
        by_column=columns,
    )


def _biases(report: Measured, names: list[str]) -> Candidate | None:
    """Zero for those biases that are not."""
    known = params(report)
    names = [n for n in names if known[n].get("mean_square", 0.0) != 0.0]
    names = [n for n in names if not known[n].get("fan_in")]
    return laws.drawn(report, names, "jaxinit.zeros") if names else None


def _ones(report: Measured, names: list[str]) -> Candidate | None:
    return laws.drawn(report, names, "jaxinit.ones") if names else None
