"""What transformer schemes have in common beside their weights."""

from jaxinit.draw.one_sided import one_sided
from jaxinit.initializers import ones, zeros
from jaxinit.roles.network import Network
from jaxinit.schemes.scheme import Assignment, drawn


def norms_and_biases(network: Network) -> list[Assignment]:
    """Norms that change nothing, and biases of zero.

    The gain of a norm is 1. Where a model stores a gain as its distance from 1, that
    is 0. Biases of gates are left alone, and those that their own init sets off 0.
    """
    shifted = _shifted_by_one(network)
    assignments = []
    for parameter in network.having("norm_scale"):
        init = zeros if parameter.leaf in shifted else ones
        law = "zeros" if parameter.leaf in shifted else "ones"
        assignments.append(drawn(parameter, init, "gain of a norm", law))
    for parameter in network.having("norm_bias"):
        if "norm_scale" not in parameter.roles:
            assignments.append(drawn(parameter, zeros, "bias of a norm", "zeros"))
    other = {"gate_bias", "forget_gate_bias", "norm_scale", "norm_bias", "weight"}
    biases = [p for p in network.having("bias") if not p.roles & other]
    special = set_off_zero(network)
    return assignments + [
        drawn(p, zeros, "bias", "zeros") for p in biases if p.leaf not in special
    ]


def set_off_zero(network: Network) -> frozenset[int]:
    """The biases that the model's own init sets to one side of 0, which it may need."""
    biases = [p.leaf for p in network.params if "bias" in p.roles]
    return one_sided(network.traced, biases, network.given.shapes)


def _shifted_by_one(network: Network) -> frozenset[int]:
    """The leaves that 1 is added to before they meet data."""
    flow = network.anchors.flow
    found = set[int]()
    for node in flow.nodes:
        if node.primitive == "add" and len(node.operands) == 2:
            for value, other in (node.operands, node.operands[::-1]):
                literal = flow.values[other].literal
                if flow.is_param(value) and literal is not None and literal == 1:
                    found |= flow.leaves[value]
    return frozenset(found)
