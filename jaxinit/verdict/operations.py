"""What the operations between two layers do to the signal, by their primitives."""

from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact
from jaxinit.verdict.evidence import curves, front

LARGE_FACTOR = 3.0
"""Constants from here on are worth a name: gains of activations are below 2, but for
functions like the sigmoid that no gain mends, and SIREN multiplies by 30."""

_PRODUCTS = {
    "constant": "a product with a constant matrix",
    "input": "a product with a matrix that is fed in",
    "data": "a product of two signals that layers make",
}


def named(report: Measured, row: str) -> str:
    """What lies in front of a row, in words."""
    facts = front(report, row)
    by = set(facts["by"])
    if facts.get("random"):
        return f"dropout of a rate near {_rate(report, row):.2f}"
    if facts.get("state"):
        return "a norm by its running statistics, which are not those of the data,"
    if any(p.startswith("scatter") for p in by):
        return "a sum over neighbours"
    if "dot_general" in by:
        return _PRODUCTS.get(facts.get("product", ""), "a matrix product")
    if facts.get("factor", 1.0) > LARGE_FACTOR:
        return f"a factor of {compact(facts['factor'])}"
    return "an operation" + (f" ({', '.join(sorted(by))})" if by else "")


def mend(report: Measured, row: str, ratio: float) -> str | None:
    """What to write there, None if that cannot be told.

    Args:
      report: with evidence.
      row: the layer in front of which the operations lie.
      ratio: by what they change the second moment.

    Returns:
      One line of code, with a comment.
    """
    facts = front(report, row)
    by = set(facts["by"])
    if facts.get("random") and ratio > 3:
        return "nn.Dropout(0.1)  # squares grow by 1/(1 - rate) at each"
    if facts.get("state"):
        return (
            "use_running_average=False  # or load the running mean and variance that "
            "belong to these weights"
        )
    if any(p.startswith("scatter") for p in by) and ratio > 1:
        return (
            "h = jax.ops.segment_sum(x[s], r, n) / degree[:, None]  # the mean over "
            "neighbours"
        )
    if facts.get("product") == "data" and ratio > 1:
        return (
            "h = (a @ b) / jnp.sqrt(a.shape[-1])  # in front of "
            f"{row}: a sum of d products of two signals has d times their square"
        )
    if "dot_general" in by and ratio > 1:
        return (
            "a = a / a.sum(-1, keepdims=True)  # the matrix between the layers: its "
            "rows add up to one"
        )
    return None


def _rate(report: Measured, row: str) -> float:
    """The share of entries that dropout sets to zero, behind a ReLU if one is there."""
    zeros = [c["zeros"] for c in curves(report, "input") if c["row"] == row]
    alive = 1 - zeros[0] if zeros else 0.0
    relu = "max" in front(report, row)["by"]
    return 1 - min(2 * alive if relu else alive, 1.0)
