"""What lies in front of each weight layer: which layers, how deep, which operations."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxinit.layers.names import row_names
from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Node
from jaxinit.program.paths import Location
from jaxinit.roles.network import Network

# Steps into and out of loops are at the place of the loop, not at one of their own.
NOWHERE = frozenset({CARRY, CHOICE, SLICE, STACK})
# What moves values and changes none.
_MOVES = frozenset(
    "reshape transpose broadcast_in_dim convert_element_type squeeze concatenate copy "
    "rev slice".split()
) | {SLICE}


@dataclasses.dataclass(frozen=True)
class Front:
    """What a weight layer takes.

    Attributes:
      row: its name.
      source: where its data operand is computed; None for one of the model's inputs
        and for what a loop hands on.
      facts: of types that JSON knows: ``depth`` counts the weight layers on the
        longest way from the inputs, this one included; ``after`` names the nearest
        of them; ``by`` lists the primitives in between; ``random`` and ``state``
        say whether random numbers and running statistics are among them, ``branch``
        whether the layer is on a residual branch; ``factor`` is the largest constant
        that multiplies on the way; ``inputs`` numbers the floating-point inputs of
        the model that the layer takes as they are.
    """

    row: str
    source: Location | None
    facts: dict[str, Any]


def fronts(network: Network) -> list[Front]:
    """One for each row that multiplies data by a weight, in the order of data."""
    anchors, flow = network.anchors, network.anchors.flow
    names = names_of(network)
    on_branch = {n for b in network.structure.branches for n in b.layers}
    depth: dict[int, int] = {}
    found = []
    for index, number in anchors.weights.items():
        node = flow.nodes[index]
        data = [v for v in node.operands if flow.data[v]]
        before = anchors.nearest_weights(data)
        deep = 1 + max((depth.get(n, 0) for n in before), default=0)
        depth[number] = max(depth.get(number, 0), deep)
        if len(data) != 1 or number not in names:
            continue
        maker = flow.values[data[0]].maker
        source = None
        if maker is not None and flow.nodes[maker].primitive not in NOWHERE:
            made = flow.nodes[maker]
            place = made.results.index(data[0])
            source = made.at._replace(result=place)
        between = _between(network, data[0])
        facts = {
            "depth": depth[number],
            "after": [names[n] for n in before if n in names],
            "by": sorted({n.primitive for n in between}),
            "random": any(_is_random(network, n) for n in between),
            "state": any(_is_state(network, n) for n in between),
            "branch": number in on_branch,
            "factor": max((_factor(network, n) for n in between), default=1.0),
            "inputs": _inputs(network, data[0]),
        }
        found.append(Front(names[number], source, facts))
    return found


def names_of(network: Network) -> dict[int, str]:
    """The rows' names by the number of their event."""
    sites = network.sites
    names = row_names(sites, network.traced.params)
    return dict(zip(sites.numbers, names, strict=True))


def _between(network: Network, value: int) -> list[Node]:
    """The nodes from the nearest weight layers to a value, without these layers."""
    anchors, flow = network.anchors, network.anchors.flow

    def passes(node: Node, position: int) -> bool:
        maker = flow.values[node.results[0]].maker
        return maker not in anchors.weights and flow.data[node.operands[position]]

    return [
        flow.nodes[index]
        for index in flow.upstream([value], passes)
        if index not in anchors.weights
    ]


def _inputs(network: Network, value: int) -> list[int]:
    """Which of the model's floating-point inputs a value holds as they are."""
    flow = network.anchors.flow
    seen, todo = set[int](), [value]
    while todo:
        number = todo.pop()
        maker = flow.values[number].maker
        if number in seen:
            continue
        seen.add(number)
        if maker is not None and flow.nodes[maker].primitive in _MOVES:
            todo += [v for v in flow.nodes[maker].operands if flow.data[v]]
    invars = network.traced.apply.jaxpr.invars
    floats = [
        i
        for i in network.traced.input_positions
        if jnp.issubdtype(invars[i].aval.dtype, jnp.floating)
    ]
    return [n for n, position in enumerate(floats) if position in seen]


def _is_random(network: Network, node: Node) -> bool:
    """Whether a node chooses by, or multiplies by, random numbers."""
    if node.primitive not in ("select_n", "mul"):
        return False
    flow = network.anchors.flow
    still = [v for v in node.operands if not flow.data[v]]
    for index in flow.upstream(still, lambda node, position: True):
        if primitives.is_random(flow.nodes[index].primitive):
            return True
    return False


def _is_state(network: Network, node: Node) -> bool:
    """Whether a node combines data with the model's state."""
    return any(network.anchors.flow.state[v] for v in node.operands)


def _factor(network: Network, node: Node) -> float:
    """The constant that a node multiplies by, 1 if none."""
    if node.primitive != "mul":
        return 1.0
    literals = [network.anchors.flow.values[v].literal for v in node.operands]
    known = [float(abs(x)) for x in literals if x is not None and not _shape(x)]
    return max(known, default=1.0)


def _shape(literal: Any) -> tuple[int, ...]:
    return tuple(getattr(literal, "shape", ()))
