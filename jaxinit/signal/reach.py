"""Which parameters the output depends on, and which by a path with a derivative."""

from collections.abc import Callable
from typing import NamedTuple

from jaxinit.program.flow import Flow, Node
from jaxinit.roles.network import Network

# Primitives whose derivative is zero by definition. Comparisons and casts to integers
# are told by their type.
_FLAT = frozenset({"stop_gradient", "round", "floor", "ceil", "sign"})
# What lies between a maximum and its stop in `softmax` and `logsumexp`.
_AROUND = frozenset("select_n max broadcast_in_dim reshape is_finite".split())


class Reach(NamedTuple):
    """Leaves of parameters from which a path leads to the output.

    Attributes:
      any: by whatever operations.
      differentiable: by operations that have a derivative, throughout.
      stopped: by a ``stop_gradient`` that the model's author wrote, on some path.
    """

    any: frozenset[int]
    differentiable: frozenset[int]
    stopped: frozenset[int]


def reach(network: Network) -> Reach:
    """The paths from parameters to the output, as the program has them."""
    flow = network.anchors.flow

    def smooth(node: Node, position: int) -> bool:
        is_float = flow.values[node.operands[position]].is_float
        return node.primitive not in _FLAT and is_float

    floats = [value for value in flow.outputs if flow.values[value].is_float]
    return Reach(
        _leaves(network, list(flow.outputs), lambda node, position: True),
        _leaves(network, floats, smooth),
        _leaves(network, _stops(flow), lambda node, position: True),
    )


def _stops(flow: Flow) -> list[int]:
    """What is stopped on the way to the output, but maxima that softmaxes subtract."""
    everything = flow.upstream(flow.outputs, lambda node, position: True)
    nodes = [flow.nodes[index] for index in everything]
    stopped = [n.operands[0] for n in nodes if n.primitive == "stop_gradient"]
    return [value for value in stopped if not _is_maximum(flow, value)]


def _is_maximum(flow: Flow, value: int) -> bool:
    near = flow.upstream([value], lambda node, position: node.primitive in _AROUND)
    return any(flow.nodes[index].primitive == "reduce_max" for index in near)


def _leaves(
    network: Network, start: list[int], passes: Callable[[Node, int], bool]
) -> frozenset[int]:
    flow: Flow = network.anchors.flow
    seen = set(start)
    for index in flow.upstream(start, passes):
        node = flow.nodes[index]
        seen.update(v for p, v in enumerate(node.operands) if passes(node, p))
    # The program's inputs are the first of its values.
    return frozenset(
        leaf
        for leaf, value in enumerate(network.traced.param_positions)
        if value in seen
    )
