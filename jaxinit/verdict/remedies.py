"""What to write instead: one line of code for each trouble."""

import math
from collections import Counter

from jaxinit.report.measured import Measured
from jaxinit.verdict import operations
from jaxinit.verdict.evidence import (
    curves,
    entering,
    front,
    has_role,
    is_added,
    leaving,
    of_param,
    stored_gain,
    weight_gain,
)

# Names of activations in a jaxpr -> how to write them in Python.
CALLABLES = {
    "tanh": "jnp.tanh",
    "sin": "jnp.sin",
    "erf": "jax.scipy.special.erf",
    "logistic": "jax.nn.sigmoid",
    **{
        name: f"jax.nn.{name}"
        for name in (
            "celu elu gelu hard_sigmoid hard_swish hard_tanh leaky_relu log_sigmoid "
            "mish relu relu6 sigmoid silu soft_sign softplus squareplus swish"
        ).split()
    },
}

# Odd functions of slope 1 at zero and less elsewhere: without biases, orthogonal
# kernels of gain 1 sit at their edge of chaos.
TANH_LIKE = frozenset({"tanh", "erf", "hard_tanh", "soft_sign", "sin"})

# Against a spread over seeds, which grows like depth / width.
WIDER = (
    "kernel_init=jaxinit.orthogonal(jaxinit.calculate_gain(f))  # with f your "
    "activation; or wider layers: the spread over seeds grows like depth / width"
)

CONTRACTIONS = frozenset(
    {"dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general"}
)


def common_activation(report: Measured) -> str | None:
    """The activation that most layers apply to their output, None if none does."""
    names = Counter(row.activation for row in report.rows if row.activation)
    return names.most_common(1)[0][0] if names else None


def num_joins(report: Measured) -> int:
    """The number of places at which a branch is added to a stream.

    The sums inside a recurrent cell are no such places.
    """
    return sum(row.kind == "join" and row.steps == 1 for row in report.rows)


def has_norms(report: Measured) -> bool:
    """Whether layers that only scale or shift (norms) stand between the weights."""
    return any(
        row.kind == "layer" and row.operation in {"mul", "add", "sub", "div"}
        for row in report.rows
    )


def for_flow(report: Measured, *, gradient: bool, growing: bool) -> str:
    """The remedy for a signal or gradient that grows or shrinks with depth.

    Args:
      report: whose layers and activations to look at.
      gradient: whether the gradient is in trouble, rather than the signal.
      growing: whether it grows.

    Returns:
      One line of code, with a comment where that needs one.
    """
    joins = num_joins(report)
    if joins and growing:
        return (
            f'kernel_init=jaxinit.variance_scaling({_digits(1 / joins)}, "fan_in", '
            f'"normal")  # for the layer that ends each of the {joins} branches'
        )
    if gradient and has_norms(report) and not joins:
        return (
            "x = x + block(x)  # norms cancel the scale of the kernels before them; "
            "skip connections shorten the path"
        )
    name = common_activation(report)
    if name in TANH_LIKE and gradient:
        return f"kernel_init=jaxinit.orthogonal(1.0)  # the edge of chaos of {name}"
    return for_activation(name)


def for_size(report: Measured, name: str, *, gradient: bool, growing: bool) -> str:
    """The remedy for a layer of a size that no healthy network has.

    Args:
      report: whose layers and activations to look at.
      name: the layer's row.
      gradient: whether its gradient has that size.
      growing: whether it is too large.

    Returns:
      One line of code, with a comment where that needs one.
    """
    row = report.rows[report.layers.index(name)]
    added = [of_param(report, n) for n in row.params if is_added(report, n)]
    square = sum(entry.get("mean_square", 0.0) for entry in added)
    if growing and not gradient and square > (leaving(report, name) or math.inf) / 2:
        return f"bias_init=jaxinit.zeros  # of {name}, whose bias is all that is large"
    return for_flow(report, gradient=gradient, growing=growing)


def for_slope(report: Measured, slope: float, *, gradient: bool) -> str:
    """The remedy for a size that changes by ``2**slope`` per layer, in flow.

    An operation between the kernels that is off is named. Where the kernels already
    have what theory asks for, they are scaled by what was measured. No kernel mends a
    function whose fixed point repels (gelu and silu), or whose slope is too small.

    Args:
      report: whose layers, activations and kernels to look at.
      slope: bits per layer, of the second moment or of the gradient's norm.
      gradient: whether it is the gradient's.

    Returns:
      One line of code, with a comment where that needs one.
    """
    between = _between(report)
    if between is not None:
        return between
    if _normed(report):
        bits = slope if gradient else slope / 2
        factor = 2.0 ** min(max(-bits, -60.0), 60.0)
        return (
            f"h = h * {_digits(factor)}  # behind each layer: its weight is divided by "
            "its largest singular value, which takes its own scale away"
        )
    name = common_activation(report)
    growing = slope > 0
    usual = for_flow(report, gradient=gradient, growing=growing)
    weights = [
        row
        for row in report.rows
        if row.operation in CONTRACTIONS and weight_gain(report, row)
    ]
    if not weights or num_joins(report) or has_norms(report):
        return usual
    if name in _SMALL_SLOPE:
        return (
            f"x = jax.nn.relu(x)  # with jaxinit.he_normal(): {name} has too small a "
            "slope for any kernel"
        )
    if name in _REPELLING and len(weights) > _MANY:
        return (
            f"x = nn.LayerNorm()(x)  # before each {name}, or skips: its fixed point "
            "repels, so no kernel keeps the signal over this depth"
        )
    wanted = WANTED.get(name)
    hidden = weights[:-1] or weights
    stored = _median([stored_gain(report, row) or 0.0 for row in hidden])
    if wanted is None or abs(math.log2(stored / wanted)) > _SAME:
        return usual
    bits = 2 * slope if gradient else slope
    scale = stored * 2.0 ** min(max(-bits, -60.0), 60.0)
    return (
        f'kernel_init=jaxinit.variance_scaling({_digits(scale)}, "fan_in", "normal")  '
        "# the kernels have the usual scale: this makes up for what lies between them"
    )


def _normed(report: Measured) -> bool:
    """Whether most weights are divided by their norm before they are used."""
    fronts = [front(report, row.name) for row in report.rows]
    known = [bool(facts["normed"]) for facts in fronts if "normed" in facts]
    return sum(known) > len(known) / 2


def _between(report: Measured) -> str | None:
    """The remedy for what lies in front of the typical layer, if it is off."""
    fronts = [r.name for r in report.rows if front(report, r.name).get("after")]
    if not fronts:
        return None
    middle = fronts[len(fronts) // 2]
    facts = front(report, middle)
    by = set(facts["by"])
    jump = median_jump(report)
    mended = None if jump is None else operations.mend(report, middle, jump[1])
    if mended is not None:
        return mended
    if "sin" in by and facts.get("factor", 1.0) > operations.LARGE_FACTOR:
        return (
            f"kernel_init=jaxinit.siren({_digits(facts['factor'])})  # and "
            "is_first=True in the first layer"
        )
    gates = [c for c in curves(report, "logistic") if c["gate"]]
    if gates and "mul" in by and "sub" in by:
        return (
            "bias_init=jaxinit.constant(-3.0)  # of the gates t in t * h + (1 - t) * x:"
            " the layers start nearly as identities"
        )
    if gates and "mul" in by and not num_joins(report):
        return (
            "x = x + block(nn.LayerNorm()(x))  # a gate halves what it lets through; "
            "no kernel keeps a product of two signals"
        )
    scales = [r.params for r in report.rows if has_role(report, r, "gain")]
    if sum(len(names) > 1 for names in scales) > len(fronts) / 2:
        wanted = WANTED.get(common_activation(report)) or 1.0
        return (
            f"scale_init=jaxinit.constant({_digits(math.sqrt(wanted))})  # the gain of "
            "the weight norm, which takes the kernel's own scale away"
        )
    return None


def median_jump(report: Measured) -> tuple[str, float] | None:
    """The row in front of which the typical jump lies, and the jump's factor."""
    found = []
    for row in report.rows:
        facts = front(report, row.name)
        if not facts or not facts["after"] or row.steps > 1:
            continue
        inside = entering(report, row.name)
        sizes = [leaving(report, n) for n in facts["after"] if n in report.layers]
        before = sum(size for size in sizes if size)
        if inside and before and math.isfinite(inside / before):
            found.append((inside / before, row.name))
    if not found:
        return None
    found.sort()
    ratio, name = found[len(found) // 2]
    return name, ratio


def apart(report: Measured) -> str:
    """The remedy for samples that become alike: what the kernels do not have yet."""
    name = common_activation(report)
    rows = [
        row
        for row in report.rows
        if row.operation in CONTRACTIONS and stored_gain(report, row)
    ]
    stored = _median([stored_gain(report, row) or 0.0 for row in rows]) if rows else 0
    # Where no activation is known, those of either kind are usual.
    wanted = (1.0, 2.0) if name is None else (WANTED.get(name, 1.0),)
    if stored and any(abs(math.log2(stored / w)) < _SAME for w in wanted):
        return (
            "x = x + block(nn.LayerNorm()(x))  # skips keep samples apart; the kernels "
            "have the usual scale"
        )
    return for_activation(name)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


# In bits, a factor of 1.23: four errors of the mean square of 600 normal entries.
_SAME = 0.3
# What kernels must have, as a mean square over 1/fan_in, for these activations.
WANTED = {"relu": 2.0, "selu": 1.0, None: 1.0}
# Their slope is 1/4 of an identity's, or their output never has mean 0.
_SMALL_SLOPE = frozenset(
    {"sigmoid", "logistic", "softplus", "log_sigmoid", "hard_sigmoid", "squareplus"}
)
# Beyond as many layers, gains of fixed points that repel lead away from them.
_REPELLING = frozenset({"gelu", "silu", "swish", "mish", "hard_swish", "hard_silu"})
_MANY = 8


def for_activation(name: str | None) -> str:
    """The kernel initializer that keeps the signal's size under an activation.

    Args:
      name: the activation's name in the jaxpr, None if there is none.

    Returns:
      One line of code.
    """
    if name is None:
        return (
            "kernel_init=jaxinit.lecun_normal()  # no activation was recognized "
            "between the layers"
        )
    if name == "relu":
        return "kernel_init=jaxinit.he_normal()"
    if name == "selu":
        return "kernel_init=jaxinit.lecun_normal()"
    if name in CALLABLES:
        call = CALLABLES[name]
        return f"kernel_init=jaxinit.orthogonal(jaxinit.calculate_gain({call}))"
    return (
        "kernel_init=jaxinit.orthogonal(jaxinit.calculate_gain(f))  # with f your "
        f"activation: {name!r} is not one whose gain is known here"
    )


def _digits(value: float) -> str:
    return f"{value:.3g}"
