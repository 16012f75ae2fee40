"""Fixup: residual networks without normalization."""

from dataclasses import dataclass
from typing import Literal

from jaxinit._typing import Initializer
from jaxinit.initializers import ones, scale, variance_scaling, zeros
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes._norms_and_biases import set_off_zero
from jaxinit.schemes.residual.structure import (
    is_gain,
    is_scalar,
    kernels,
    num_weights,
    readouts,
    residual_branches,
    warn_of_norms,
)
from jaxinit.schemes.scheme import Assignment, Scheme, drawn

Mode = Literal["fan_in", "fan_out"]


def fixup(*, mode: Mode = "fan_out") -> Scheme:
    r"""Fixup: a residual network that begins as the identity and takes even steps.

    With :math:`L` residual branches, of :math:`m` weights each:

    - the last weight of each branch and its bias are 0, and so is the readout: the
      logits are 0, and the loss is the logarithm of the number of classes;
    - the other weights of a branch are He normal, times :math:`L^{-1/(2m-2)}`;
    - all other weights (stem, projections on the skip) are He normal;
    - biases are 0, but for those of gates and those that their own init sets to one
      side of 0; scalars that multiply data in a branch are 1.

    One step of gradient descent then changes the network's function by an amount that
    does not grow with its depth. :math:`m` is counted for each branch: 2 or 3 for
    convolutions, 4 for an attention (queries, keys, values and output; also if these
    are one kernel). With :math:`m = 1` the single weight is 0. The layers of a scan
    count one by one. ``residual_structure(model, *args)`` shows :math:`L` and
    :math:`m`.

    The scalar biases and multipliers of the paper are the model's to have. Tables that
    are looked up keep what the model draws, also as the readout, where the logits are
    then not 0. So do positions, normalizations and the gates of recurrent cells.

    Args:
      mode: the fan of He's law: that of the paper's code, or ``"fan_in"``.

    Returns:
      A scheme.

    Warns:
      UserWarning: when used, if the model normalizes in or between its branches.

    Raises:
      ValueError: if ``mode`` is unknown; when used, if the network has no residual
        branches, or one weight is in several that ask different things of it.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         x = x + nn.Dense(8)(nn.relu(nn.Dense(32)(x)))
      ...         return nn.Dense(2)(x)
      >>> x = jax.random.normal(jax.random.key(1), (4, 8))
      >>> variables = jaxinit.initialize(Net(), fixup(), 0, x)
      >>> float(abs(Net().apply(variables, x)).max())
      0.0

    References:
      Zhang, Dauphin and Ma, "Fixup Initialization: Residual Learning Without
      Normalization", 2019, section 3. Its code draws from the fan-out.
    """
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"`mode` must be 'fan_in' or 'fan_out', got {mode!r}.")
    return _Fixup(mode)


@dataclass(frozen=True)
class _Fixup(Scheme):
    mode: Mode

    def assign(self, network: Network) -> list[Assignment]:
        factors = _factors(network)
        warn_of_norms(network, "fixup()")
        last = readouts(network)
        found = []
        for weight in network.having("weight"):
            if "embedding" in weight.roles:
                continue
            factor = factors.get(weight.leaf, 1.0)
            if factor == 0:
                found.append(drawn(weight, zeros, "the end of a branch"))
            elif weight.leaf in last:
                found.append(drawn(weight, zeros, "the readout"))
            else:
                inside = weight.leaf in factors
                rule = "inside a branch" if inside else "outside of branches"
                found.append(drawn(weight, self._he(weight, factor), rule))
        special = set_off_zero(network)
        for bias in network.having("bias"):
            other = bias.roles & {"gate_bias", "weight", "gain", "position"}
            if not other and bias.leaf not in special:
                found.append(drawn(bias, zeros, "biases"))
        multipliers = _multipliers(network)
        for gain in network.having("gain"):
            if gain.leaf in multipliers:
                found.append(drawn(gain, ones, "multipliers"))
        return found

    def _he(self, weight: Parameter, factor: float) -> Initializer:
        parts = len(weight.roles & {"query", "key", "value"})
        he = variance_scaling(2.0, self.mode, "normal")
        if parts > 1 and not weight.parts and self.mode == "fan_out":
            # Side by side in one kernel, nobody knows how; each has its share.
            factor = factor * parts**0.5
        return he if factor == 1 else scale(he, factor)


def _factors(network: Network) -> dict[int, float]:
    """By leaf, what each weight in a branch is multiplied with; 0 for its ends."""
    count = network.structure.num_branches
    # The innermost branch that a layer is in comes first.
    branches = sorted(residual_branches(network, "fixup"), key=lambda b: len(b.layers))
    ends = {number for branch in branches for number in branch.ends}
    layers: dict[int, float] = {}
    for branch in branches:
        for number, weights in num_weights(network, branch).items():
            factor = 0.0
            if number not in ends:
                factor = count ** (-1 / (2 * weights - 2)) if weights > 1 else 1.0
            layers.setdefault(number, factor)
    factors: dict[int, float] = {}
    for number, factor in layers.items():
        for weight in kernels(network, [number]):
            if weight.leaf in network.taken:
                continue
            known = factors.setdefault(weight.leaf, factor)
            if known != factor:
                raise ValueError(
                    f"fixup() multiplies a weight by one number, and {weight.name} is "
                    f"in branches that ask for {known:.6g} and {factor:.6g}. Give it a "
                    f"rule of its own: override(fixup(), [({weight.name!r}, "
                    "initializer)])."
                )
    return factors


def _multipliers(network: Network) -> frozenset[int]:
    """The scalars that multiply data in a branch."""
    return frozenset(
        leaf
        for branch in network.structure.branches
        for number in (*branch.gains, *branch.layers)
        for leaf in network.event(number).params
        if is_gain(network.params[leaf]) and is_scalar(network.params[leaf])
    )
