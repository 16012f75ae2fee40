"""Kernels side by side: output axes that the program goes on to treat as a stack.

``einsum("btd,edh->bteh", x, w)`` may make the heads of an attention, one projection
from d to e * h channels, or the hidden layers of e experts, each a kernel from d to h.
What becomes of the axis e tells: each of an expert's outputs meets a kernel of its
own, or a weight that says how much the expert counts; heads meet those of other data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from jaxinit.layers.event import Event, Use
from jaxinit.layers.facts import Fact
from jaxinit.layers.ledger import Ledger
from jaxinit.program import versions
from jaxinit.program.axes import Shape


def note_stacks(
    ledger: Ledger, equation: versions.Equation, operands: Sequence[Fact]
) -> None:
    """Notes which channels of the layers above a product has for a stack, or heads."""
    if equation.primitive.name != "dot_general":
        return
    contracting, batch = equation.params["dimension_numbers"]
    for i, (fact, other) in enumerate(zip(operands, reversed(operands), strict=True)):
        if not fact.data:
            continue
        shape: Shape = tuple(equation.invars[i].aval.shape)
        free = set(range(len(shape))) - {*contracting[i], *batch[i]}
        paired = len(contracting[i]) + len(batch[i])
        if other.is_param:
            known, stacked, rest = ledger.stacks, batch[i], contracting[i]
        elif len(equation.invars[1 - i].aval.shape) == paired:
            known, stacked, rest = ledger.stacks, contracting[i], tuple(free)
        else:
            known, stacked, rest = ledger.heads, batch[i], contracting[i]
        for number in fact.up:
            event = ledger.events[number]
            if any(_place(event, shape, axis) is not None for axis in rest):
                places = (_place(event, shape, axis) for axis in stacked)
                known.setdefault(number, set()).update(
                    place for place in places if place is not None
                )


def set_apart(ledger: Ledger) -> None:
    """Takes what was noted to be a stack, and not heads, out of the layers' fans."""
    for number, places in ledger.stacks.items():
        event = ledger.events.get(number)
        if event is not None:  # it is not of a body that was read again
            places = places - ledger.heads.get(number, set())
            uses = tuple(_apart(use, event, places) for use in event.uses)
            ledger.events[number] = replace(event, uses=uses)


def _place(event: Event, shape: Shape, axis: int) -> int | None:
    """Which of a layer's channel axes an axis of a function of its output is."""
    if event.kind != "layer" or sorted(event.shape) != sorted(shape):
        return None
    if event.shape != shape:  # moved: told by its size, where no other has it
        if shape.count(shape[axis]) > 1:
            return None
        axis = event.shape.index(shape[axis])
    return event.channels.index(axis) if axis in event.channels else None


def _apart(use: Use, event: Event, places: Iterable[int]) -> Use:
    """The use, of kernels that are numbered by some of their outputs' axes."""
    stacked = len(event.channels) - len(use.out_axis)  # of the channels, the first
    for place in sorted((place - stacked for place in places), reverse=True):
        if 0 <= place and len(use.out_axis) > 1:
            axis = use.out_axis[place]
            size = event.shape[event.channels[place + stacked]]
            use = use._replace(
                fan_out=use.fan_out // size,
                out_axis=tuple(a for a in use.out_axis if a != axis),
                batch_axis=tuple(sorted((*use.batch_axis, axis))),
            )
    return use
