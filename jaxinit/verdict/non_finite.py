"""NaN and infinity: which operation makes them, and what to write there instead."""

from typing import Any

import numpy as np

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.report.numbers import compact, some
from jaxinit.verdict.evidence import (
    ORDINARY,
    finding,
    leaving,
    params,
    row_called,
    row_of,
)

# Primitive -> how it breaks -> what it is, and what to write instead.
_OPERATIONS = {
    ("sqrt", "zero"): (
        "a root of 0, whose slope is infinite",
        "jnp.sqrt(s + 1e-6)  # {behind}: not jnp.maximum(jnp.sqrt(s), 1e-6), nor "
        "jnp.linalg.norm",
    ),
    ("sqrt", "nan"): (
        "a root of negative numbers",
        "jnp.sqrt(nn.relu(s) + 1e-6)  # {behind}",
    ),
    ("log", "nan"): (
        "a logarithm of negative numbers",
        "jnp.log(nn.softplus(s) + 1e-6)  # {behind}",
    ),
    ("log", "inf"): ("a logarithm of 0", "jnp.log(s + 1e-6)  # {behind}"),
    ("div", "root"): (
        "a division of 0 by the root of 0",
        "x / jnp.sqrt(s + 1e-6)  # {behind}: the 1e-6 under the root",
    ),
    ("div", "nan"): (
        "a division of 0 by 0",
        "x / jnp.where(d == 0, 1.0, d)  # {behind}",
    ),
    ("div", "inf"): ("a division by 0", "x / jnp.where(d == 0, 1.0, d)  # {behind}"),
    ("rsqrt", "inf"): (
        "the inverse of the root of 0",
        "jax.lax.rsqrt(s + 1e-6)  # {behind}",
    ),
    ("exp", "inf"): (
        "an exponential of large numbers",
        "jnp.exp(jnp.tanh(s))  # {behind}: bounded, or a kernel near zero in front",
    ),
    ("exp", "nan"): (
        "a softmax over a row that is masked with -inf throughout",
        "jnp.where(mask, s, -1e9)  # {behind}: a finite fill, or no such row",
    ),
}
_RANGE = (
    "numbers beyond the dtype's range",
    "kernel_init=jaxinit.lecun_normal()  # {behind} and before it, or x = "
    "nn.LayerNorm()(x): the signal grows without bound",
)
_NARROW = (
    _RANGE[0],
    "x = x.astype(jnp.float32)  # {behind}: sums and squares leave what float16 holds",
)
for _product in ("dot_general", "conv_general_dilated"):
    _OPERATIONS[_product, "inf"] = _OPERATIONS[_product, "nan"] = _RANGE
for _arc in ("acos", "asin"):
    _OPERATIONS[_arc, "nan"] = (
        "an arc of what is beyond 1",
        "jnp.arccos(jnp.clip(s, -0.999, 0.999))  # {behind}: at 1 the slope is "
        "infinite",
    )
for _extreme in ("reduce_max", "reduce_min"):
    _OPERATIONS[_extreme, "empty"] = (
        "an extreme over entries that are all masked",
        "y = jnp.where(mask.any(axis), y, 0.0)  # {behind}: where all is masked",
    )
_OPERATIONS["sub", "nan"] = _OPERATIONS["exp", "nan"]
_ANY = (
    "an operation",
    "x = jnp.where(ok, x, 1.0) before the operation, jnp.where(ok, y, 0.0) behind it",
)


def judge_non_finite(report: Measured) -> list[Finding]:
    """The operation that makes the first NaN, if simulated steps met one."""
    broken = [n for n, e in params(report).items() if e.get("nonfinite")]
    found: dict[str, Any] | None = report.evidence.get("broken")
    shares = (report.evidence.get(what, 0.0) for what in ("undefined", "infinite"))
    if not broken and not any(shares):
        return []
    share = max((params(report)[n]["nonfinite"] for n in broken), default=1.0)
    where = _forward(report)
    metric, what = "frac_nonfinite", f"The output of {where}"
    if where is None:
        what = "The model's output"
        if broken:
            metric, what = "grad_rms", f"The gradient of {some(broken)}"
    at = None if found is None else row_called(report, found["row"])
    if found is None or at is None:
        order = {row.name: i for i, row in enumerate(report.rows)}
        rows = [row for row in (row_of(report, name) for name in broken) if row]
        if not rows:
            return []
        row, maker = max(rows, key=lambda name: order[name]), ""
        cause, mend = _ANY
    else:
        row, how = at.name, "root" if found["root"] else found["how"]
        maker = f" ({found['primitive']}, {compact(100 * found['share'])}% of it)"
        cause, mend = _OPERATIONS.get((found["primitive"], how), _ANY)
        if (cause, mend) == _ANY and how == "inf":
            cause, mend = _NARROW if at.dtype == "float16" else _RANGE
    return [
        finding(
            "non-finite",
            metric,
            row,
            share,
            f"{what} holds NaN or infinity; it comes from {cause} right behind "
            f"{row}{maker}.",
            mend.format(behind=f"behind {row}"),
            share,
        )
    ]


def beyond_range(report: Measured) -> bool:
    """Whether the first infinity is a number that its dtype does not hold."""
    found: dict[str, Any] | None = report.evidence.get("broken")
    if found is None:
        return False
    known = _OPERATIONS.get((found["primitive"], found["how"]))
    return known == _RANGE or (known is None and found["how"] == "inf")


def overflows_alone(report: Measured) -> bool:
    """Whether a sum or a square of ordinary numbers leaves what their dtype holds.

    No kernel is the cause then, and the operation has to be changed.
    """
    if not beyond_range(report):
        return False
    size = leaving(report, report.evidence["broken"]["row"])
    return size is not None and size < ORDINARY


def _forward(report: Measured) -> str | None:
    """The first row whose output is not finite."""
    shares = report.forward.get("frac_nonfinite")
    if shares is None:
        return None
    with np.errstate(invalid="ignore"):
        columns = np.flatnonzero((shares > 0).any(axis=0))
    return report.rows[columns[0]].name if columns.size else None
