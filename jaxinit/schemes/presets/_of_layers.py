"""Which layer a bias belongs to, and what norms begin with."""

import math

from jaxinit.initializers import ones, zeros
from jaxinit.layers.event import Event
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, drawn


class Layers:
    """The layers that parameters belong to."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._first: dict[int, Event] = {}
        for event in network.sites.events:
            if event.uses and event.operation != "gather":
                for leaf in event.params:
                    self._first.setdefault(leaf, event)

    def biases(self) -> list[Parameter]:
        """The biases that are added to what a kernel gives."""
        return [
            p
            for p in self._network.having("bias")
            if p.leaf in self._first and not p.roles & {"weight", "gain", "position"}
        ]

    def kernels(self, bias: Parameter) -> frozenset[int]:
        """The leaves of the kernels to whose output a bias is added."""
        return frozenset(use.leaf for use in self._first[bias.leaf].uses)

    def fan_in(self, bias: Parameter) -> float:
        """The fan-in of the kernel that a bias belongs to."""
        first, *_ = self._first[bias.leaf].uses
        return shape_fan_in(self._network.params[first.leaf])

    def is_convolution(self, weight: Parameter) -> bool:
        return self._first[weight.leaf].operation == "conv_general_dilated"

    def in_attention(self, bias: Parameter) -> bool:
        """Whether a bias belongs to a kernel of an attention."""
        roles = {"query", "key", "value", "attention_output"}
        return any(
            self._network.params[leaf].roles & roles for leaf in self.kernels(bias)
        )


def norms(network: Network) -> dict[int, Assignment]:
    found = {}
    for p in network.having("norm_scale"):
        if "weight" not in p.roles:
            found[p.leaf] = drawn(p, ones, "scales of norms")
    for p in network.having("norm_bias"):
        if p.leaf not in found and "weight" not in p.roles:
            found[p.leaf] = drawn(p, zeros, "biases of norms")
    return found


def shape_fan_in(weight: Parameter) -> float:
    """The fan-in by the shape alone: strides of transposed convolutions apart."""
    use = weight.use
    assert use is not None
    if not use.in_axis:
        return float(use.fan_in)
    apart = {*use.out_axis, *use.batch_axis, *weight.layer_axes}
    return float(math.prod(n for i, n in enumerate(weight.shape) if i not in apart))
