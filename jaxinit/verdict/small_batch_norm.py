"""Batch normalization over so few values that it leaves little but their signs."""

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.verdict.evidence import finding, has_role

# Of N normalized values N - 2 are free; the gradient's square grows by (N-2)/(N-3)
# per norm (Yang et al. 2019), which has no bound below 4.
FEWEST = 4
# A norm over the batch leaves channels of mean zero, up to rounding.
CENTRED = 1e-6


def judge_batch_norm(report: Measured) -> list[Finding]:
    """The first norm over the batch that sees too few values for each channel."""
    if "chan_sq_mean" not in report.forward:
        return []
    for i, row in enumerate(report.rows):
        if not has_role(report, row, "norm_scale") or row.samples >= FEWEST:
            continue
        square = report.forward["second_moment"][:, i]
        with np.errstate(invalid="ignore"):
            centred = report.forward["chan_sq_mean"][:, i] < CENTRED * square
        if row.samples > 1 and centred.all() and square.all():
            return [
                finding(
                    "small-batch-norm",
                    "chan_sq_mean",
                    row.name,
                    float(row.samples),
                    f"{row.name} normalizes each channel over {row.samples} values: "
                    "what it returns are little more than their signs.",
                    "nn.GroupNorm()  # or nn.LayerNorm(), or a larger batch",
                )
            ]
    return []
