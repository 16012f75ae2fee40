"""Kernels that hold several side by side: queries, keys and values; gates."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxinit.program import primitives
from jaxinit.program.axes import reshape_groups
from jaxinit.program.flow import Flow
from jaxinit.roles.network import Network, Parameter

_MOST = 8
"""More pieces than that are heads or channels, not kernels."""


class Parts(NamedTuple):
    """Where a kernel is cut.

    Attributes:
      axis: the kernel's axis.
      sizes: how many entries along it each part has.
    """

    axis: int
    sizes: tuple[int, ...]


def parts_of(network: Network, weight: Parameter) -> Parts | None:
    """The parts of a kernel whose output the model cuts up at once.

    Args:
      network: the network.
      weight: one of its weights.

    Returns:
      The parts; ``None`` for a kernel that is one.
    """
    use, flow = weight.use, network.anchors.flow
    if use is None or use.groups > 1:
        return None
    for index, number in network.anchors.weights.items():
        event = network.event(number)
        if not any(u.leaf == weight.leaf for u in event.uses):
            continue
        value = flow.nodes[index].results[0]
        if len(event.channels) != len(use.out_axis):
            return None
        for axis, channel in zip(use.out_axis, event.channels, strict=True):
            same = flow.values[value].shape[channel : channel + 1]
            if same == (weight.shape[axis],):
                sizes = _cuts(flow, value, channel)
                if sizes is not None:
                    return Parts(axis, sizes)
        return None
    return None


def _cuts(flow: Flow, value: int, axis: int) -> tuple[int, ...] | None:
    """The sizes of the pieces that a value is cut into along an axis, if it is."""
    size = flow.values[value].shape[axis]
    slices = set[tuple[int, int]]()
    for name, found in _users(flow, value, axis):
        if name == "slice":
            slices |= {(found[0], found[1])}
        elif 1 < len(found) <= _MOST:
            return found
    ends = [0, *(stop for _, stop in sorted(slices))]
    starts = [start for start, _ in sorted(slices)]
    if 1 < len(slices) <= _MOST and [*starts, size] == ends:
        return tuple(stop - start for start, stop in sorted(slices))
    return None


def _users(flow: Flow, value: int, axis: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """How a value is cut: the slices taken, or the sizes of all pieces."""
    shape = flow.values[value].shape
    for number, _ in flow.users[value]:
        node = flow.nodes[number]
        name, result = node.primitive, node.results[0]
        after = flow.values[result].shape
        match name:
            case "split" if node.params["axis"] % len(shape) == axis:
                yield "split", tuple(node.params["sizes"])
            case "unstack" if node.params["axis"] % len(shape) == axis:
                yield "split", (1,) * shape[axis]
            case "slice":
                low, high = node.params["start_indices"], node.params["limit_indices"]
                if high[axis] - low[axis] < shape[axis]:
                    yield "slice", (low[axis], high[axis])
            case "transpose":
                moved = list(node.params["permutation"]).index(axis)
                yield "split", _cuts(flow, result, moved) or ()
            case "reshape":
                for into, out in reshape_groups(shape, after):
                    if tuple(into) == (axis,) and len(out) > 1:
                        cuts = _cuts(flow, result, out[0]) or ()
                        width = shape[axis] // after[out[0]]
                        yield "split", tuple(n * width for n in cuts)
            case _ if after == shape and _passes(flow, number):
                yield "split", _cuts(flow, result, axis) or ()


def _passes(flow: Flow, number: int) -> bool:
    """Whether a node gives what it takes, up to a bias."""
    node = flow.nodes[number]
    if node.primitive in ("add", "add_any"):
        return sum(flow.data[v] for v in node.operands) == 1
    return node.primitive in primitives.KEEPS_ELEMENTS - {"rev"}
