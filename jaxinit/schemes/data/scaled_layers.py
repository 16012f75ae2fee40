"""The layers whose weights a scheme may scale, and what in each it multiplies."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxinit.layers.event import Event
from jaxinit.program.flow import Flow
from jaxinit.program.run import sees
from jaxinit.roles.network import Network
from jaxinit.schemes.data.degree import degrees, is_linear


class Layer(NamedTuple):
    """One layer whose output is to be scaled.

    Attributes:
      number: its event.
      event: the event.
      weights: its weights.
      scaled: the leaves that are multiplied: the weights, or a gain on them, which
        alone has an effect where they are normalized.
      biases: leaves that are multiplied along, and shifted where channels are centered.
      leader: the layer whose factor holds here, another one if the kernel is its.
        None where the kernel is normalized and has no gain: such a layer is
        measured, and named if it is off.
      exact: whether one pass gives the right factor, as the kernel acts once (or once
        in each of several stacked layers).
    """

    number: int
    event: Event
    weights: tuple[int, ...]
    scaled: tuple[int, ...]
    biases: tuple[int, ...]
    leader: int
    exact: bool

    @property
    def handles(self) -> tuple[int, ...]:
        """What stands for the layer: the leaves that are scaled, else its weights."""
        return self.scaled or self.weights

    @property
    def follows(self) -> bool:
        return self.leader != self.number


def layers_to_scale(network: Network, *, gains: bool = False) -> list[Layer]:
    """The layers that a scheme may scale: what no rule of the user's has taken.

    Args:
      network: the model.
      gains: layers that are a gain and a shift alone, in place of those with weights.
        Tables that are looked up are left alone, also where they are the readout.

    Returns:
      The layers, in the order in which data meets them.
    """
    layers: dict[int, Layer] = {}
    first: dict[int, int] = {}
    for number, event in zip(network.sites.numbers, network.sites.events, strict=True):
        if event.kind != "layer" or event.operation == "gather":
            continue
        if bool(event.uses) == gains:
            continue
        layer = _layer(network, number, event)
        if layer is None:
            continue
        if not layer.scaled:
            layers[number] = layer
            continue
        leader = next((first[leaf] for leaf in layer.scaled if leaf in first), number)
        for leaf in layer.scaled:
            first.setdefault(leaf, number)
        if leader != number:
            layer = layer._replace(leader=leader)
            ahead = layers[leader]
            if not sees(network.traced.forward, ahead.event.at, event.at):
                layers[leader] = ahead._replace(exact=False)
        layers[number] = layer
    return list(layers.values())


def _layer(network: Network, number: int, event: Event) -> Layer | None:
    """The layer of an event, or ``None`` if nothing in it is free to be scaled."""
    used = dict.fromkeys(use.leaf for use in event.uses)
    free = {p.leaf for p in network.free}

    def having(role: str, leaves: Iterable[int]) -> tuple[int, ...]:
        return tuple(leaf for leaf in leaves if role in network.params[leaf].roles)

    others = [leaf for leaf in event.params if leaf not in used]
    tables = having("embedding", used)
    weights = tuple(
        leaf for leaf in having("weight", used) if leaf in free and leaf not in tables
    )
    gains = tuple(leaf for leaf in having("gain", others) if leaf in free)
    if not (gains or weights) or (event.uses and not weights):
        return None
    biases = having("bias", others)
    flow = network.anchors.flow
    # What is normalized does not change as it is scaled.
    behind = {use.leaf for use in event.uses if use.behind}
    first = tuple(leaf for leaf in weights if leaf not in behind)
    scaled = next((s for s in (first, gains) if s and _grows(flow, s)), ())
    linear = all(is_linear(flow, leaf) for leaf in scaled)
    exact = (
        bool(scaled)
        and linear
        and free.issuperset(biases)
        and all(loop.kind == "layers" for loop in event.loops)
        and all(len(network.params[leaf].layers) == len(event.loops) for leaf in scaled)
    )
    return Layer(
        number,
        event,
        weights,
        scaled,
        tuple(leaf for leaf in biases if leaf in free),
        number,
        exact,
    )


def _grows(flow: Flow, leaves: Sequence[int]) -> bool:
    found = {degree for leaf in leaves for degree in degrees(flow, leaf)}
    return all(degree is not None and abs(degree) > 0.01 for degree in found)
