"""Positions of a sequence that all become the same vector."""

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import curves, finding, row_called

# 1 - cosine between positions: collapsed below, distinct above. Post-LN of 40 blocks
# has 5e-4 at block 15, attention without skips 0 from block 3 on.
COLLAPSED, DISTINCT = 2e-3, 0.1

_ATTENTION = (
    "x = x + attention(norm(x))  # skips around attention, with the norm inside the "
    "branch (pre-LN), keep positions apart"
)
_MIXING = (
    "x = x + mix(norm(x))  # skips around what mixes positions, a graph's matrix or a "
    "mean, keep these apart; or fewer layers"
)


def judge_tokens(report: Measured) -> list[Finding]:
    """The first layer from which on positions are alike, if they are to the end."""
    known = curves(report, "tokens")
    if len(known) < 4 or not any(1 - c["cos"] > DISTINCT for c in known[:3]):
        return []
    alike = [1 - c["cos"] < COLLAPSED for c in known]
    if sum(alike[-4:]) < 3:
        return []
    # Outputs may be projected apart again by rounding; the stream may not.
    first = alike.index(True)
    at = known[first]
    row = row_called(report, at["row"])
    name = at["row"] if row is None else row.name
    return [
        finding(
            "rank-collapsed",
            "token_cos",
            name,
            at["cos"],
            f"All positions carry nearly the same vector from {name} on: "
            f"1 - cosine between them falls from {compact(1 - known[0]['cos'])} to "
            f"{compact(1 - known[-1]['cos'])}.",
            _ATTENTION if curves(report, "softmax") else _MIXING,
        )
    ]
