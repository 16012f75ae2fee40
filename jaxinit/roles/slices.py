"""Which of a kernel's outputs lie where, as the program cuts and rearranges them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.program import primitives
from jaxinit.program.axes import reshape_groups
from jaxinit.program.flow import SLICE, Flow, Node


class Slice(NamedTuple):
    """Where some outputs of a kernel lie.

    Attributes:
      value: the value that holds them.
      axes: the value's axes that number them, ascending.
      outputs: which they are; its first axes are ``axes`` of the value, any others
        lie somewhere in it.
      bent: whether they went through the nonlinearity of a gate.
    """

    value: int
    axes: tuple[int, ...]
    outputs: np.ndarray
    bent: bool = False

    @property
    def members(self) -> frozenset[int]:
        return frozenset(self.outputs.ravel().tolist())

    @property
    def name(self) -> tuple[int, tuple[int, ...], bytes, bool]:
        return self.value, self.axes, self.outputs.tobytes(), self.bent


_BENDS = frozenset({"logistic", "erf", "erfc", "clamp"})
_ALIKE = primitives.ELEMENTWISE - {"select_n"}


def goes_on(flow: Flow, part: Slice, node: Node, position: int) -> list[Slice]:
    """Where a node puts outputs: one slice for each result that holds some."""
    name, result = node.primitive, node.results[0]
    before, after = flow.values[part.value].shape, flow.values[result].shape
    match name:
        case "split" | "unstack":
            return _cut(part, node, node.params["axis"] % len(before))
        case "slice":
            outputs = part.outputs[_window(part, node)]
            return [part._replace(value=result, outputs=outputs)]
        case "concatenate":
            return [_without(part, [node.params["dimension"]], result)]
        case _ if name == SLICE and 0 not in part.axes:
            return [_moved(part, [axis - 1 for axis in part.axes], result)]
        case "stack":
            new = node.params["axis"] % len(after)
            return [_moved(part, [a + (a >= new) for a in part.axes], result)]
        case "transpose":
            order = list(node.params["permutation"])
            return [_moved(part, [order.index(axis) for axis in part.axes], result)]
        case "broadcast_in_dim":
            placed = node.params["broadcast_dimensions"]
            spread = [a for a in part.axes if before[a] != after[placed[a]]]
            kept = _without(part, spread, result)
            return [_moved(kept, [placed[axis] for axis in kept.axes], result)]
        case "reshape":
            return [_reshaped(part, before, after, result)]
        case "squeeze":
            gone = {d % len(before) for d in node.params["dimensions"]}
            left = [axis for axis in range(len(before)) if axis not in gone]
            kept = _without(part, sorted(gone), result)
            return [_moved(kept, [left.index(axis) for axis in kept.axes], result)]
    if before == after and (name in _ALIKE or name in primitives.KEEPS_ELEMENTS):
        bent = part.bent or name in _BENDS
        return [part._replace(value=result, bent=bent)] if name != "rev" else []
    return []


def _window(part: Slice, node: Node) -> tuple[slice, ...]:
    low, high = node.params["start_indices"], node.params["limit_indices"]
    steps = node.params["strides"] or (1,) * len(low)
    return tuple(slice(low[axis], high[axis], steps[axis]) for axis in part.axes)


def _cut(part: Slice, node: Node, axis: int) -> list[Slice]:
    """The pieces of a split; those of an unstack have lost its axis."""
    if axis in part.axes:
        place = part.axes.index(axis)
        if node.primitive == "split":
            ends = np.cumsum([int(n) for n in node.params["sizes"]])[:-1]
            outputs = np.split(part.outputs, ends, place)
        else:
            outputs = list(np.moveaxis(part.outputs, place, 0))
    else:
        outputs = [part.outputs] * len(node.results)
    axes = part.axes
    if node.primitive == "unstack":
        axes = tuple(a - (axis < a) for a in axes if a != axis)
    return [
        part._replace(value=value, axes=axes, outputs=some)
        for value, some in zip(node.results, outputs, strict=True)
    ]


def _without(part: Slice, axes: Sequence[int], value: int) -> Slice:
    """The slice where some axes do not number outputs any more."""
    lost = [i for i, axis in enumerate(part.axes) if axis in axes]
    ends = range(part.outputs.ndim - len(lost), part.outputs.ndim)
    kept = tuple(axis for axis in part.axes if axis not in axes)
    outputs = np.moveaxis(part.outputs, lost, list(ends))
    return part._replace(value=value, axes=kept, outputs=outputs)


def _moved(part: Slice, axes: Sequence[int], value: int) -> Slice:
    """The slice where its axes have got new numbers."""
    order = np.argsort(axes).tolist()
    rest = range(len(axes), part.outputs.ndim)
    return part._replace(
        value=value,
        axes=tuple(axes[i] for i in order),
        outputs=np.transpose(part.outputs, [*order, *rest]),
    )


def _reshaped(
    part: Slice, before: tuple[int, ...], after: tuple[int, ...], value: int
) -> Slice:
    """The slice behind a reshape; axes that are merged with others are lost."""
    groups = reshape_groups(before, after)
    mixed = [
        axis
        for into, _ in groups
        for axis in into
        if any(a not in part.axes and before[a] > 1 for a in into)
    ]
    part = _without(part, mixed, value)
    axes = [axis for into, out in groups if set(into) & set(part.axes) for axis in out]
    lost = part.outputs.shape[len(part.axes) :]
    outputs = part.outputs.reshape([*(after[axis] for axis in axes), *lost])
    return part._replace(axes=tuple(axes), outputs=outputs)
