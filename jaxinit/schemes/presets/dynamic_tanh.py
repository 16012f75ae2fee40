"""Transformers without norms: the slope of a dynamic tanh."""

from dataclasses import dataclass

from jaxinit.initializers import constant
from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Scheme, drawn


def dynamic_tanh(alpha: float = 0.5) -> Scheme:
    r"""Sets the scalar of each :math:`\gamma \tanh(\alpha x) + \beta`.

    These layers stand in place of norms. All other parameters, :math:`\gamma` and
    :math:`\beta` among them, keep what the model draws; they are 1 and 0.

    Args:
      alpha: :math:`\alpha` at the start: 0.5 in all but large language models.

    Returns:
      A scheme for these scalars alone. Beside another scheme name them:
      ``override(other, [("**/alpha", jaxinit.constant(0.5))])``.

    Raises:
      TypeError: if ``alpha`` is no number.
      ValueError: if it is not positive; when used, if no scalar multiplies what goes
        into a tanh.

    Examples:
      >>> scheme = dynamic_tanh()

    References:
      Zhu et al., "Transformers without Normalization", 2025, section 4.
    """
    return _DynamicTanh(check_number("alpha", alpha, "The authors have 0.5.", low=0))


@dataclass(frozen=True)
class _DynamicTanh(Scheme):
    alpha: float

    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "a scheme for the scalars of tanh"

    def assign(self, network: Network) -> list[Assignment]:
        found = _slopes(network)
        if not found:
            raise ValueError(
                f"dynamic_tanh() sets scalars that multiply what goes into a tanh, and "
                f"{network.traced.name} has none. Name them: "
                f"rules([(path, jaxinit.constant({self.alpha:g}))])."
            )
        init = constant(self.alpha)
        return [drawn(network.params[leaf], init, "slopes of tanh") for leaf in found]


def _slopes(network: Network) -> list[int]:
    """The leaves of one number that multiply what a tanh is taken of."""
    flow = network.anchors.flow
    found = set[int]()
    for node in flow.nodes:
        users = [number for result in node.results for number, _ in flow.users[result]]
        if node.primitive != "mul" or not any(
            flow.nodes[number].primitive == "tanh" for number in users
        ):
            continue
        for value in node.operands:
            if flow.is_param(value):
                found |= flow.leaves[value]
    free = {p.leaf for p in network.free}
    return sorted(
        leaf
        for leaf in found & free
        if all(size == 1 for size in _own_shape(network.params[leaf]))
    )


def _own_shape(parameter: Parameter) -> list[int]:
    """Without the axes of layers in a scan."""
    axes = set(parameter.layer_axes)
    return [size for axis, size in enumerate(parameter.shape) if axis not in axes]
