"""Residual branches that begin at zero, or nearly so."""

from dataclasses import dataclass

from jaxinit.initializers import constant, zeros
from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import Branch
from jaxinit.schemes.residual.structure import (
    behind_ends,
    described,
    is_gain,
    is_norm_scale,
    is_scalar,
    kernels,
    residual_branches,
)
from jaxinit.schemes.scheme import Assignment, Scheme, drawn


def zero_gamma() -> Scheme:
    """Zeroes the scale of the normalization that each residual branch ends with.

    Each block then begins as the identity, up to its last activation. In the first
    step only these scales get a gradient from within the branch; its weights follow.
    All other parameters keep what the model draws.

    Returns:
      A scheme for networks whose branches end with a normalization, such as a ResNet
      (not a pre-LN transformer, whose branches begin with one).

    Raises:
      ValueError: when used, if the network has no residual branches, or one that does
        not end with a normalization.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return x + nn.LayerNorm()(nn.Dense(8)(x))
      >>> x = jax.random.normal(jax.random.key(1), (4, 8))
      >>> variables = jaxinit.initialize(Net(), zero_gamma(), 0, x)
      >>> float(abs(Net().apply(variables, x) - x).max())
      0.0

    References:
      Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
      section 5.1.
    """
    return _AtTheEnd("zero_gamma", "normalization", 0.0)


def rezero() -> Scheme:
    r"""Zeroes the scalar :math:`\alpha` of each branch :math:`x + \alpha f(x)`.

    The network begins as the identity, however deep. In the first step only the
    scalars get a gradient from the branches. All other parameters keep what the model
    draws.

    Returns:
      A scheme for models whose branches end with a scalar that multiplies them.

    Raises:
      ValueError: when used, if the network has no residual branches, or one that does
        not end with a scalar.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         alpha = self.param("alpha", nn.initializers.ones, ())
      ...         return x + alpha * nn.Dense(8)(x)
      >>> x = jax.random.normal(jax.random.key(1), (4, 8))
      >>> jaxinit.initialize(Net(), rezero(), 0, x)["params"]["alpha"]
      Array(0., dtype=float32)

    References:
      Bachlechner et al., "ReZero is All You Need: Fast Convergence at Large Depth",
      2020, eq. 1.
    """
    return _AtTheEnd("rezero", "scalar", 0.0)


def skip_init() -> Scheme:
    """Zeroes the scalar at the end of each residual branch, in place of BatchNorm.

    This is what ``rezero`` does, under the name of the paper that found it as the one
    thing that BatchNorm does for deep networks at initialization.

    Returns:
      A scheme for models whose branches end with a scalar that multiplies them.

    Raises:
      ValueError: as ``rezero``.

    Examples:
      >>> scheme = skip_init()

    References:
      De and Smith, "Batch Normalization Biases Residual Blocks Towards the Identity
      Function in Deep Networks", 2020, section 4.
    """
    return _AtTheEnd("skip_init", "scalar", 0.0)


def layer_scale(value: float | None = None) -> Scheme:
    r"""Sets the gain of each channel at the end of a residual branch to one number.

    A branch :math:`x + \mathrm{diag}(\lambda) f(x)` begins with a small
    :math:`\lambda`, and each channel finds its own. All other parameters keep what the
    model draws.

    Args:
      value: the gain; ConvNeXt takes 1e-6. By default it goes by the depth: 0.1 up to
        18 layers, 1e-5 up to 24, 1e-6 for more. A layer is a block with
        self-attention, however many branches that has; without attention, each branch
        is one.

    Returns:
      A scheme for models whose branches end with a gain for each channel.

    Raises:
      TypeError: if ``value`` is no number.
      ValueError: if ``value`` is not finite; when used, if the network has no residual
        branches, or one that does not end with such a gain.

    Examples:
      >>> scheme = layer_scale(1e-6)

    References:
      Touvron et al., "Going Deeper with Image Transformers", 2021, section 2. Liu et
      al., "A ConvNet for the 2020s", 2022.
    """
    if value is not None:
        value = check_number("value", value, "It is the gain itself, such as 1e-6.")
    return _AtTheEnd("layer_scale", "gain for each channel", value)


def zero_output_projection() -> Scheme:
    """Zeroes the last kernel of each residual branch, and its bias.

    The attention's output and the MLP's second kernel of a transformer, the last
    convolution of a residual block: each branch begins at 0, with no parameter added.
    In the first step only these kernels get a gradient. All other parameters keep what
    the model draws.

    Returns:
      A scheme.

    Raises:
      ValueError: when used, if the network has no residual branches.

    Examples:
      >>> scheme = zero_output_projection()

    References:
      Zhang, Dauphin and Ma, "Fixup Initialization: Residual Learning Without
      Normalization", 2019, section 3, the first of its rules alone.
    """
    return _ZeroOutputProjection()


@dataclass(frozen=True)
class _AtTheEnd(Scheme):
    """A value for what each branch is multiplied with at its end."""

    name: str
    what: str
    value: float | None

    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "a scheme for the ends of branches"

    def assign(self, network: Network) -> list[Assignment]:
        branches = residual_branches(network, self.name)
        value = _by_depth(network) if self.value is None else self.value
        init = zeros if value == 0 else constant(value)
        law = f"constant({value:g})"
        free = {p.leaf for p in network.free}
        found: dict[int, Assignment] = {}
        for branch in branches:
            params, bare = behind_ends(network, branch, self._wanted)
            if bare or not params:
                raise ValueError(self._complaint(network, branch, bare))
            for p in params:
                if p.leaf in free:
                    rule = f"{self.what} at the end of a branch"
                    found[p.leaf] = drawn(p, init, rule, law)
        return list(found.values())

    def _wanted(self, parameter: Parameter) -> bool:
        if self.what == "normalization":
            return is_norm_scale(parameter)
        return is_gain(parameter) and is_scalar(parameter) == (self.what == "scalar")

    def _complaint(
        self, network: Network, branch: Branch, bare: list[Parameter]
    ) -> str:
        events = (*branch.norms, *branch.gains, *branch.layers)
        others = {
            p.name: f"{p.name} of shape {p.shape}"
            for number in events
            for p in (network.params[leaf] for leaf in network.event(number).params)
            if p.roles & {"norm_scale", "gain"}
        }
        had = f"it has {', '.join(others.values())}" if others else "it has none at all"
        ends = described(bare or kernels(network, branch.ends))
        return (
            f"{self.name}() sets the {self.what} that a residual branch ends with, and "
            f"there is none between {ends} and the sum: {had}. Add one to the model, "
            "or use zero_output_projection(), which needs none."
        )


@dataclass(frozen=True)
class _ZeroOutputProjection(Scheme):
    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "a scheme for the ends of branches"

    def assign(self, network: Network) -> list[Assignment]:
        ends = [
            number
            for branch in residual_branches(network, "zero_output_projection")
            for number in branch.ends
        ]
        weights = {p.leaf for p in kernels(network, ends)}
        biases = {
            leaf
            for number in ends
            for leaf in network.event(number).params
            if "bias" in network.params[leaf].roles
        }
        found = []
        for p in network.free:
            if p.leaf in weights:
                found.append(drawn(p, zeros, "the end of a branch"))
            elif p.leaf in biases:
                found.append(drawn(p, zeros, "its bias"))
        return found


def _by_depth(network: Network) -> float:
    """The gain of CaiT for the network's number of layers."""
    structure = network.structure
    attentions = [
        branch.numbers.size
        for branch in structure.branches
        if branch.attention is not None
        and not structure.attentions[branch.attention].cross
    ]
    depth = sum(attentions) or structure.num_branches
    if depth <= 18:
        return 0.1
    return 1e-5 if depth <= 24 else 1e-6
