"""Logits that are far too sure before anything was learned."""

import math

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured, Row
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import finding, front, has_role, weight_gain

# Healthy readouts reached a rms of 8.6 on 98 small models; tied embeddings of
# deviation 1 and heads drawn from N(0, 1) start at 16. A gain beyond 16 is four times
# what keeps the size, where the signal in front of it has its size.
LOGITS, GAIN, LEAST = 12.0, 16.0, 3.0
# Below as much the logits follow from what enters, which is judged by itself.
OWN = 6.0
# A loss is so many times that of zeros; outputs of rms 5 where targets have 1.
WORSE = 25.0


def judge_readout(report: Measured) -> list[Finding]:
    """The last layer, if its own weights make a loss far above log(classes)."""
    readouts = [
        i
        for i, row in enumerate(report.rows)
        if row.operation == "dot_general" and has_role(report, row, "readout")
    ]
    if not readouts or "rms" not in report.forward:
        return []
    i = readouts[-1]
    row = report.rows[i]
    behind = front(report, row.name).get("behind", 1.0)
    rms = float(np.median(report.forward["rms"][:, i])) * behind
    gain = (weight_gain(report, row) or 0.0) * behind**2
    classes = row.channels
    large = rms > LOGITS or (gain > GAIN and rms > LEAST)
    if classes < 2 or not large or not math.isfinite(rms) or row.activation:
        return []
    # Normal logits of deviation s: log mean exp is s^2/2, and at most s sqrt(2 log C).
    excess = min(rms**2 / 2, rms * math.sqrt(2 * math.log(classes)))
    own = gain > OWN
    return [
        finding(
            "loss-at-init",
            "rms",
            row.name,
            rms,
            f"The logits of {row.name} have a rms of {compact(rms)}: a cross-entropy "
            f"of about {compact(excess + math.log(classes) * (rms < 1))} where equal "
            f"odds give log({classes}) = {compact(math.log(classes))}. "
            + (
                f"Its weights have a mean square of {compact(gain)}/fan_in."
                if own
                else f"Its weights have the usual scale ({compact(gain)}/fan_in): "
                "what enters it is large."
            ),
            _remedy(report, row, own),
        )
    ]


def judge_loss(report: Measured) -> list[Finding]:
    """A given loss that is far above that of outputs which are all zero.

    Zeros are equal odds, log(classes) in a cross-entropy, and the mean of targets
    that are normalized; a loss that is zero or less of them says nothing.
    """
    loss, nothing = report.evidence.get("losses", (math.nan, math.nan))
    layers = [row for row in report.rows if row.kind == "layer"]
    if not layers or not 0 < nothing < math.inf or not loss > WORSE * nothing:
        return []
    row = layers[-1].name
    return [
        finding(
            "loss-at-init",
            "loss",
            row,
            loss,
            f"The loss is {compact(loss)} where outputs of 0 would have "
            f"{compact(nothing)}: what is made of {row} is far too large.",
            f"y = y / {compact(loss / nothing)}  # behind {row}: outputs near 0 first, "
            "or a temperature that is so many times as high",
        )
    ]


def _remedy(report: Measured, row: Row, own: bool) -> str:
    if has_role(report, row, "embedding"):
        return "embedding_init=jaxinit.normal(0.02)  # the table is the readout as well"
    if own:
        return "kernel_init=jaxinit.lecun_normal()"
    return f"x = nn.LayerNorm()(x)  # in front of {row.name}"
