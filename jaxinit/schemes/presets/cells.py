"""Recurrent cells: the kernels and biases that act together on one state."""

from typing import NamedTuple

from jaxinit.program import primitives
from jaxinit.program.flow import SLICE, STACK, Node
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import real_fans


class Cell(NamedTuple):
    """The dense parameters of one recurrent cell.

    Attributes:
      state: the size of the state that its recurrent kernels act on.
      recurrent: the kernels on the state; one for each gate, or fused.
      inputs: the kernels on the input.
      biases: the biases of all of them.
      has_output_gate: whether it is an LSTM's, as far as its biases tell.
    """

    state: int
    recurrent: tuple[Parameter, ...]
    inputs: tuple[Parameter, ...]
    biases: tuple[Parameter, ...]
    has_output_gate: bool


def find_cells(network: Network) -> list[Cell]:
    """The cells of loops over time: recurrent kernels and what is added to them.

    A kernel that a loop applies to its carry with no input beside it makes no cell.
    """
    anchors = network.anchors
    recurrent = {
        index: number
        for index, number in anchors.weights.items()
        if anchors.events[number].operation == "dot_general"
        and any(
            "recurrent" in network.params[use.leaf].roles
            for use in anchors.events[number].uses
        )
    }
    # Kernels that read one value in one loop are the gates of one cell.
    groups: dict[object, list[int]] = {}
    for index, number in recurrent.items():
        event = anchors.events[number]
        groups.setdefault((event.loops, event.parents), []).append(index)
    cells = []
    for own in groups.values():
        beside = _added_to(anchors, own) - recurrent.keys()
        if beside:
            cells.append(_cell(network, own, sorted(beside)))
    return cells


def _cell(network: Network, own: list[int], beside: list[int]) -> Cell:
    anchors = network.anchors

    def leaves(nodes: list[int]) -> tuple[Parameter, ...]:
        numbers = [anchors.weights[index] for index in nodes]
        found = {use.leaf for n in numbers for use in anchors.events[n].uses}
        return tuple(network.params[leaf] for leaf in sorted(found))

    kernels = leaves(own)
    added = _biases(anchors, [*own, *beside])
    biases = [network.params[leaf] for leaf in sorted(added)]
    kinds = {
        gate.kind
        for bias in biases
        for gate in network.structure.gates.get(bias.leaf, ())
    }
    return Cell(
        int(real_fans(kernels[0]).fan_in),
        kernels,
        leaves(beside),
        tuple(b for b in biases if "bias" in b.roles),
        "output" in kinds,
    )


_SUMS = frozenset({"add", "add_any", "sub"})
_PASSES = primitives.LAYOUT | _SUMS | {"mul", "split", "concatenate", SLICE, STACK}


def _sums(anchors: Anchors, nodes: list[int]) -> dict[int, int]:
    """Sums that what nodes give goes into, and which operand it is."""
    flow = anchors.flow
    results = [v for index in nodes for v in flow.nodes[index].results]
    return {
        index: position
        for index, position in flow.downstream(
            results, lambda index, _: flow.nodes[index].primitive in _PASSES
        )
        if flow.nodes[index].primitive in _SUMS
    }


def _added_to(anchors: Anchors, nodes: list[int]) -> set[int]:
    """The weights whose outputs are added to those of the weights ``nodes``."""
    flow = anchors.flow

    def on(node: Node, position: int) -> bool:
        return node.primitive in _PASSES and flow.data[node.operands[position]]

    others = [
        flow.nodes[index].operands[1 - position]
        for index, position in _sums(anchors, nodes).items()
    ]
    return {i for i in flow.upstream(others, on) if i in anchors.weights} - {*nodes}


def _biases(anchors: Anchors, nodes: list[int]) -> set[int]:
    """The parameters that are added to what the weights ``nodes`` give."""
    flow = anchors.flow
    return {
        leaf
        for index in _sums(anchors, nodes)
        for value in flow.nodes[index].operands
        if flow.is_param(value)
        for leaf in flow.leaves[value]
    }
