"""What the cured twins change in the code of their models, for faults of code.

A remedy that is no initializer cannot be applied by evaluating its text. It is right
if it names, at the place of the fault, the change that the twin makes.
"""

from jaxinit.report.findings import Finding
from tests.verdict.models.case import Faulty

_SKIPS = "x = x + attention(norm(x))"
_ROOT = "jnp.sqrt(s + 1e-6)"

CHANGES: dict[str, str] = {
    # Operations that are not defined everywhere.
    "norm of a zero row": _ROOT,
    "std of a constant row": _ROOT,
    "cosine with a zero vector": "x / jnp.sqrt(s + 1e-6)",
    "root of negative numbers": "jnp.sqrt(nn.relu(s) + 1e-6)",
    "logarithm of negative numbers": "jnp.log(nn.softplus(s) + 1e-6)",
    "log of 0": "jnp.log(s + 1e-6)",
    "zero by zero": "x / jnp.where(d == 0, 1.0, d)",
    "one by zero": "x / jnp.where(d == 0, 1.0, d)",
    "inverse root of zero": "jax.lax.rsqrt(s + 1e-6)",
    "arc cosine": "jnp.arccos(jnp.clip(s, -0.999, 0.999))",
    "power of negative numbers": "jnp.where(ok, x, 1.0) before the operation",
    "a fully masked row": "no such row",
    "maximum over nothing": "jnp.where(mask.any(axis), y, 0.0)",
    "coupling with large scales": "a kernel near zero in front",
    "energy in float16": "x = x.astype(jnp.float32)",
    # Paths that lead nowhere.
    "head not returned": "what the model returns",
    "positions unused": "what the model returns",
    "rounded, no way back": "x + jax.lax.stop_gradient(f(x) - x)",
    # Factors and sums.
    "no 1/sqrt(d)": "/ jnp.sqrt(256)",
    "einsum attention, no root of d": "/ jnp.sqrt(128)",
    "scores / 0.01": "/ jnp.sqrt(16)",
    "scores of 512 terms": "/ jnp.sqrt(512)",
    "scores of large signals": "x = nn.LayerNorm()(x)",
    "odds of 30 z": "z = z /",
    "temperature of 1e-3": "y = y /",
    "300 times": "h = h *",
    "tanh of 20 z": "(z /",
    "x / (1 + |x|) of 20 z": "(z /",
    "hard sigmoid of 50 z": "(z /",
    "products of 256 terms": "(a @ b) / jnp.sqrt(a.shape[-1])",
    "sum over an adjacency": "a / a.sum(-1, keepdims=True)",
    "sum over a full graph": "a / a.sum(-1, keepdims=True)",
    "sum over 16 neighbours": "/ degree[:, None]",
    "dropout of 0.95": "nn.Dropout(0.1)",
    "dropout of 0.96": "nn.Dropout(0.1)",
    "running variance of 1e-3": "the running mean and variance",
    "spectral norms": "h = h *",
    "large inputs, linear": "x = nn.LayerNorm()(x)",
    # Another structure.
    "attention without skips": _SKIPS,
    "post-LN of 40 blocks": _SKIPS,
    "attention alone": _SKIPS,
    "scanned attention without skips": _SKIPS,
    "graphs that are smoothed": "x = x + mix(norm(x))",
    "oversmoothed": "x = x + block(nn.LayerNorm()(x))",
    "gated without skips": "x = x + block(nn.LayerNorm()(x))",
    "GELU, 40 layers": "x = nn.LayerNorm()(x)",
    "SiLU, 24 layers": "x = nn.LayerNorm()(x)",
    "wide stack of sigmoids": "x = jax.nn.relu(x)",
    "norm of one feature": "over more than one value",
    # Time, batches and dtypes.
    "state space of decay 0.2": "a = jnp.linspace(",
    "state space of decay 1.4": "a = jnp.linspace(",
    "decay 0.2, each step read out": "a = jnp.linspace(",
    "batch norm of 2": "a larger batch",
    "bf16 swallows": "scale it down",
    "LayerScale in bfloat16": "keep the stream in float32",
    "loss of 1e-30": "scale the loss",
    "gradients below float16": "scale the loss up",
    "zeros fed in": "with a batch of the data",
}
"""Name of a faulty model to the piece of a remedy that says what its twin does."""


def names_the_change(case: Faulty, line: str, finding: Finding) -> bool:
    """Whether a line of code is the change that the cured twin makes, at its place.

    Args:
      case: a faulty model.
      line: the remedy.
      finding: what it is for.
    """
    piece = CHANGES.get(case.name)
    places = case.place.split("|")
    return (
        piece is not None
        and piece in line
        and any(place in (finding.row or "") for place in places)
    )
