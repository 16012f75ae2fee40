"""Recurrent cells: the kernels and biases that act together on one state."""

from typing import NamedTuple

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
    events = dict(zip(network.sites.numbers, network.sites.events, strict=True))
    recurrent = {
        number
        for number, event in events.items()
        if event.operation == "dot_general"
        and any("recurrent" in network.params[use.leaf].roles for use in event.uses)
    }
    # Kernels that read one value in one loop are the gates of one cell.
    group = {n: (events[n].loops, events[n].parents) for n in recurrent}
    inputs: dict[object, set[int]] = {}
    for event in events.values():
        if event.kind == "join":
            beside = {
                n
                for n in event.parents - recurrent
                if n in events and events[n].uses and events[n].operation != "gather"
            }
            for number in event.parents & recurrent:
                inputs.setdefault(group[number], set()).update(beside)
    cells = []
    for name, beside in inputs.items():
        own = sorted(n for n in recurrent if group[n] == name)
        if not beside:
            continue

        def leaves(numbers: list[int]) -> tuple[Parameter, ...]:
            found = {use.leaf for n in numbers for use in events[n].uses}
            return tuple(network.params[leaf] for leaf in sorted(found))

        acting = {leaf for n in (*own, *beside) for leaf in events[n].params}
        biases = [network.params[i] for i in sorted(acting)]
        kinds = {
            gate.kind
            for bias in biases
            for gate in network.structure.gates.get(bias.leaf, ())
        }
        kernels = leaves(own)
        cells.append(
            Cell(
                int(real_fans(kernels[0]).fan_in),
                kernels,
                leaves(sorted(beside)),
                tuple(b for b in biases if "bias" in b.roles),
                "output" in kinds,
            )
        )
    return cells
