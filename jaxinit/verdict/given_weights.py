"""Weights that are given, trained or loaded: mends that keep what they have learned.

Initializers draw weights anew, which discards a training; and what chance may do to
drawn weights is not asked of weights that are there.
"""

from jaxinit.report.findings import Finding, Kind
from jaxinit.report.measured import Measured
from jaxinit.verdict.evidence import has_role

NOT_JUDGED: frozenset[Kind] = frozenset(
    {"loss-at-init", "seed-unstable", "too-few-seeds"}
)
"""Kinds that speak of draws, or of a model that has learned nothing yet."""

_NOISE = (
    "w + 0.01 * jax.random.normal(key, w.shape)  # for the weights of {row}: parts "
    "what is equal or zero, and keeps the rest"
)
_SKIPS = (
    "x = x + block(nn.LayerNorm()(x))  # skips keep samples apart, and the weights stay"
)
_BY_KIND: dict[str, str] = {
    "symmetric": _NOISE,
    "trapped": _NOISE,
    "rank-collapsed": _SKIPS,
    "dead": "x = nn.leaky_relu(x)  # at {row}: dead units learn again, best at a tenth "
    "of the learning rate, whose steps have killed them",
    "saturated": "z = nn.LayerNorm()(z)  # behind {row}, in front of the function that "
    "has lost its slope",
    "non-finite": "jax.tree.map(lambda w: jnp.isfinite(w).all(), variables)  # which "
    "of the given weights are not",
}
_SIGNAL = (
    "x = nn.LayerNorm()(x)  # in front of {row}: a new initializer would discard the "
    "training"
)
_CLIPPED = "optax.clip_by_global_norm(1.0)  # in front of the optimizer: bounded steps"
_ADAM = "optax.adam(1e-3)  # whose steps do not shrink with the gradient"
_QUERIES = "q, k = nn.RMSNorm()(q), nn.RMSNorm()(k)  # logits of a bounded size"
_RADIUS = (
    "w / jnp.abs(jnp.linalg.eigvals(w)).max()  # the recurrent kernel, as learned, at "
    "a radius of 1"
)
_FORGET = "b + 1.0  # the forget gate's bias, as learned, and more open"
_DECAYS = "a ** 0.1  # the decays of the state: memories ten times as long"


def is_given(report: Measured) -> bool:
    """Whether the weights were given, in place of drawn from seeds."""
    return report.settings.get("weights") == "given"


def keeping(report: Measured, finding: Finding) -> Finding:
    """The finding with a remedy that does not draw given weights anew."""
    if finding.remedy is None or not _draws(finding.remedy):
        return finding
    mend = _mend(report, finding)
    return finding._replace(remedy=mend.format(row=finding.row or "the layer"))


def _draws(remedy: str) -> bool:
    """Whether a line of code sets weights anew."""
    code = remedy.partition("  # ")[0]
    return "_init=" in code or code.startswith(("jaxinit.ones", "a = jnp.linspace"))


def _mend(report: Measured, finding: Finding) -> str:
    if finding.kind.startswith("time-"):
        return _over_time(report, finding)
    if finding.kind in ("exploding", "vanishing"):
        if finding.metric != "grad_rms":
            return _SIGNAL
        return _CLIPPED if finding.kind == "exploding" else _ADAM
    if finding.metric == "softmax":
        return _QUERIES
    if finding.kind == "dead" and finding.metric == "second_moment":
        return _NOISE
    return _BY_KIND.get(finding.kind, _SIGNAL)


def _over_time(report: Measured, finding: Finding) -> str:
    rows = report.rows
    if finding.kind == "time-vanishing" and any(
        has_role(report, row, "forget_gate_bias") for row in rows
    ):
        return _FORGET
    if any(has_role(report, row, "recurrent") for row in rows):
        return _RADIUS
    return _DECAYS if finding.kind == "time-vanishing" else _CLIPPED
