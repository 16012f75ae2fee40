"""What to write instead: one line of code for each trouble."""

import math
from collections import Counter

from jaxinit.report.measured import Measured
from jaxinit.verdict.evidence import stored_gain, weight_gain

# Names of activations in a jaxpr -> how to write them in Python.
_CALLABLES = {
    "tanh": "jnp.tanh",
    "sin": "jnp.sin",
    "erf": "jax.scipy.special.erf",
    "logistic": "jax.nn.sigmoid",
    **{
        name: f"jax.nn.{name}"
        for name in (
            "celu elu gelu hard_sigmoid hard_swish hard_tanh leaky_relu log_sigmoid "
            "mish relu6 sigmoid silu soft_sign softplus squareplus swish"
        ).split()
    },
}

# Odd functions of slope 1 at zero and less elsewhere: without biases, orthogonal
# kernels of gain 1 sit at their edge of chaos.
_TANH_LIKE = frozenset({"tanh", "erf", "hard_tanh", "soft_sign", "sin"})

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
    if name in _TANH_LIKE and gradient:
        return f"kernel_init=jaxinit.orthogonal(1.0)  # the edge of chaos of {name}"
    return for_activation(name)


def for_slope(report: Measured, slope: float, *, gradient: bool) -> str:
    """The remedy for a size that changes by ``2**slope`` per layer, in flow.

    Where the kernels already have what theory asks for, an operation between them is
    what is off, and the kernels are scaled by what was measured. No kernel mends a
    function whose fixed point repels (gelu and silu), or whose slope is too small.

    Args:
      report: whose layers, activations and kernels to look at.
      slope: bits per layer, of the second moment or of the gradient's norm.
      gradient: whether it is the gradient's.

    Returns:
      One line of code, with a comment where that needs one.
    """
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
    if name in _SMALL_SLOPE and not growing:
        return (
            f"x = jax.nn.relu(x)  # with jaxinit.he_normal(): {name} has too small a "
            "slope for any kernel"
        )
    if name in _REPELLING and len(weights) > _MANY:
        return (
            f"x = nn.LayerNorm()(x)  # before each {name}, or skips: its fixed point "
            "repels, so no kernel keeps the signal over this depth"
        )
    gains = [weight_gain(report, row) or 0.0 for row in weights[:-1] or weights]
    gain = sorted(gains)[len(gains) // 2]
    wanted = {"relu": 2.0, "selu": 1.0, None: 1.0}.get(name)
    if wanted is None or abs(math.log2(gain / wanted)) > 0.2:
        return usual
    sizes = sorted(stored_gain(report, row) or 0.0 for row in weights[:-1] or weights)
    bits = 2 * slope if gradient else slope
    scale = sizes[len(sizes) // 2] * 2.0 ** min(max(-bits, -60.0), 60.0)
    return (
        f'kernel_init=jaxinit.variance_scaling({_digits(scale)}, "fan_in", "normal")  '
        "# the kernels have the usual scale: this makes up for what lies between them"
    )


# Their slope is 1/4 of an identity's, or their output never has mean 0.
_SMALL_SLOPE = frozenset({"sigmoid", "logistic", "softplus"})
# Beyond as many layers, gains of fixed points that repel lead away from them.
_REPELLING, _MANY = frozenset({"gelu", "silu", "swish", "mish"}), 16


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
    if name in _CALLABLES:
        call = _CALLABLES[name]
        return f"kernel_init=jaxinit.orthogonal(jaxinit.calculate_gain({call}))"
    return (
        "kernel_init=jaxinit.orthogonal(jaxinit.calculate_gain(f))  # with f your "
        f"activation: {name!r} is not one whose gain is known here"
    )


def _digits(value: float) -> str:
    return f"{value:.3g}"
