"""Inputs that are not normalized, and a model that does not normalize them."""

from collections.abc import Iterator

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import finding, front, has_role, weight_gain

# Images in [0, 1] have a mean of 2 deviations at most; a rms of 30 saturates what
# behind a kernel of LeCun's has a slope, and makes the first update 900 times as
# large.
MEAN, RMS = 5.0, 30.0
# Columns of so different a size are not brought to size 1 together.
APART = 10.0
# A layer that takes the input as it is lets so much of its square through, and more.
TAKEN = 0.03

_AS_ONE = "x = (x - x.mean()) / x.std()  # with the statistics of the training data"
_BY_COLUMN = (
    "x = (x - x.mean(0)) / (x.std(0) + 1e-6)  # each column by itself, with the "
    "statistics of the training data"
)


def judge_inputs(report: Measured) -> list[Finding]:
    """An input that is far from mean 0 and deviation 1, if no norm follows."""
    for place, number in _takers(report):
        fed = report.evidence["inputs"][number]
        mean, std = fed["mean"], fed["std"]
        rms = (mean**2 + std**2) ** 0.5
        shifted = std > 0 and abs(mean) > MEAN * std
        if not shifted and rms < RMS:
            continue
        if not _normalizes(report, place, rms):
            row, several = report.rows[place].name, len(report.evidence["inputs"]) > 1
            what = f"Input {number + 1}" if several else "The input"
            return [
                finding(
                    "input",
                    "second_moment",
                    row,
                    rms,
                    f"{what} has mean {compact(mean)} and deviation {compact(std)}, "
                    f"and {row} takes it as it is; kernels are drawn for mean 0 and "
                    "deviation 1.",
                    _BY_COLUMN if fed.get("columns", 1.0) > APART else _AS_ONE,
                )
            ]
    return []


def judge_blank(report: Measured) -> list[Finding]:
    """Inputs that are zero throughout, where the model is fed with nothing else.

    Of several inputs some may be zero: first states, padding, masks.
    """
    fed = report.evidence.get("inputs", ())
    others = len(report.settings.get("inputs", ())) > len(fed)  # tokens, keys
    if not fed or others or not report.rows:
        return []
    if any(x["mean"] or x["std"] for x in fed):
        return []
    what = "The input is" if len(fed) == 1 else "All inputs are"
    return [
        finding(
            "input",
            "second_moment",
            next((r for _, r in _weighted(report)), report.rows[0]).name,
            0.0,
            f"{what} 0 throughout: nothing that a model makes of it can tell how it "
            "treats data.",
            "jaxinit.analyze(model, x)  # with a batch of the data",
        )
    ]


def _takers(report: Measured) -> Iterator[tuple[int, int]]:
    """Rows with a kernel, and the numbers of the inputs that each takes."""
    weighted = [i for i, _ in _weighted(report)]
    if len(report.evidence.get("inputs", ())) == 1:
        yield from ((i, 0) for i in weighted[:1])
        return
    for i in weighted:
        for number in front(report, report.rows[i].name).get("inputs", ()):
            yield i, number


def _weighted(report: Measured) -> list[tuple[int, Row]]:
    """Layers with a kernel, and their numbers."""
    return [
        (i, row)
        for i, row in enumerate(report.rows)
        if row.kind == "layer" and weight_gain(report, row) is not None
    ]


def _normalizes(report: Measured, place: int, rms: float) -> bool:
    """Whether a norm lies around a layer, or the model normalizes by itself."""
    row = report.rows[place]
    near = report.rows[: place + 2]
    if any(has_role(report, other, "norm_scale", "norm_bias") for other in near):
        return True
    if len(front(report, row.name).get("inputs", ())) > 1:
        return False  # of several that lie side by side a small one may be a small part
    gain = weight_gain(report, row) or 0.0
    reached = float(report.forward["second_moment"][:, place].mean())
    return reached < TAKEN * gain * rms**2
