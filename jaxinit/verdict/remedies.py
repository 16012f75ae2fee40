"""What to write instead: one line of code for each trouble."""

from collections import Counter

from jaxinit.report.report import Report

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


def common_activation(report: Report) -> str | None:
    """The activation that most layers apply to their output, None if none does."""
    names = Counter(row.activation for row in report.rows if row.activation)
    return names.most_common(1)[0][0] if names else None


def num_joins(report: Report) -> int:
    """The number of places at which a branch is added to a stream.

    The sums inside a recurrent cell are no such places.
    """
    return sum(row.kind == "join" and row.steps == 1 for row in report.rows)


def has_norms(report: Report) -> bool:
    """Whether layers that only scale or shift (norms) stand between the weights."""
    return any(
        row.kind == "layer" and row.operation in {"mul", "add", "sub", "div"}
        for row in report.rows
    )


def for_flow(report: Report, *, gradient: bool, growing: bool) -> str:
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
