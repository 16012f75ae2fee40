"""Residual branches: what is added to a stream, and which layers it goes through."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinit.layers.event import Event, Loop
from jaxinit.program.bits import bits
from jaxinit.program.paths import Location
from jaxinit.roles.anchors import Anchors, is_weight
from jaxinit.roles.residual import Residual, Unclear, residual_join
from jaxinit.roles.upstream import Upstream, keeps_zero


class Branch(NamedTuple):
    """A residual branch.

    Attributes:
      join: number of the event that adds it to the stream, as in ``Sites.ancestry``.
      layers: its weight layers in the order of data.
      ends: those nearest to the addition. If they are zero, so is the branch.
      norms: its normalizations with parameters, the last one last.
      gains: its other multiplications by a parameter, the last one last. A gain that
        acts on a weight layer's output from the same parameter folder is part of that
        layer's event.
      loops: the loops over stacked layers around it, outermost first.
      numbers: the branch's position in the whole network in the order of execution,
        for each layer of these loops: an array of integers, of the loops' lengths.
      stream: which residual stream it is added to.
      attention: which attention it ends in, if any, as an index into
        ``Structure.attentions``.
    """

    join: int
    layers: tuple[int, ...]
    ends: tuple[int, ...]
    norms: tuple[int, ...]
    gains: tuple[int, ...]
    loops: tuple[Loop, ...]
    numbers: np.ndarray
    stream: int
    attention: int | None = None


def find_branches(
    anchors: Anchors,
    roles: Sequence[frozenset[str] | set[str]],
    said: Mapping[int, bool],
) -> tuple[tuple[Branch, ...], tuple[Unclear, ...]]:
    """The residual branches of a program.

    A join is residual if its skip is the stream itself, up to constant factors, or
    comes from the point where the branch starts by a path without a nonlinearity (a
    projection). Sums of gated values and of parallel paths are not, nor is a sum
    with a path that has no weight layer.

    Args:
      anchors: the program's events.
      roles: for each parameter leaf, what is known of it.
      said: for parameter leaves, whether the user says that they end a branch.

    Returns:
      The branches, in the order in which data meets their joins, and the sums that
      are inside none of them and of which the program does not tell.
    """
    known: dict[int, Residual] = {}
    unclear: list[Unclear] = []
    upstream = Upstream(anchors)
    for number in anchors.in_order(anchors.joins.values()):
        residual = residual_join(anchors, upstream, number, known, said)
        if isinstance(residual, Unclear):
            unclear.append(residual)
        elif residual is not None:
            known[number] = residual
    inside = frozenset[int]().union(*(r.inside for r in known.values()))
    branches = _described(anchors, list(known.values()), roles)
    return branches, tuple(u for u in unclear if u.join not in inside)


def _described(
    anchors: Anchors,
    found: Sequence[Residual],
    roles: Sequence[frozenset[str] | set[str]],
) -> tuple[Branch, ...]:
    places = [
        (event.at, layer_loops(event))
        for event in (anchors.events[r.join] for r in found)
    ]
    numbers = positions(places)
    streams = _streams(anchors, found)
    branches = []
    for residual, index, stream in zip(found, numbers, streams, strict=True):
        inside = anchors.in_order(residual.inside)
        events = anchors.events

        def having(
            role: str, inside: Sequence[int] = inside, events: dict[int, Event] = events
        ) -> tuple[int, ...]:
            return tuple(
                n for n in inside if any(role in roles[p] for p in events[n].params)
            )

        branches.append(
            Branch(
                join=residual.join,
                layers=tuple(n for n in inside if is_weight(events[n])),
                ends=_ends(anchors, residual),
                norms=having("norm_scale"),
                gains=having("gain"),
                loops=layer_loops(events[residual.join]),
                numbers=index,
                stream=stream,
            )
        )
    return tuple(branches)


def layer_loops(event: Event) -> tuple[Loop, ...]:
    """The loops over stacked layers around an event, outermost first."""
    return tuple(loop for loop in event.loops if loop.kind == "layers")


def positions(places: Sequence[tuple[Location, tuple[Loop, ...]]]) -> list[np.ndarray]:
    """Numbers places in the order in which they run, each layer of a loop apart.

    Args:
      places: for each, where it is and the loops over stacked layers around it.

    Returns:
      For each place an array of its loops' lengths.
    """
    keyed = []
    for number, (at, loops) in enumerate(places):
        for index in itertools.product(*(range(loop.length) for loop in loops)):
            keyed.append((_when(at, loops, index), number, index))
    numbers = [np.zeros([lp.length for lp in loops], np.int64) for _, loops in places]
    for position, (_, number, index) in enumerate(sorted(keyed)):
        numbers[number][index] = position
    return numbers


def _when(at: Location, loops: Sequence[Loop], index: tuple[int, ...]) -> list[int]:
    """Sorts the runs of a place among those of others."""
    turns = {
        loop.path: loop.length - 1 - i if loop.reverse else i
        for loop, i in zip(loops, index, strict=True)
    }
    key: list[int] = []
    for end, (equation, which) in enumerate(at.path, start=1):
        key += [equation, turns.get(at.path[:end], 0), which]
    return [*key, at.equation, at.result]


def _ends(anchors: Anchors, residual: Residual) -> tuple[int, ...]:
    """The weight layers that a branch ends with: without them it is zero."""
    node = anchors.flow.nodes[anchors.nodes[residual.join]]
    event = anchors.events[residual.join]
    assert event.shortcut is not None
    value = node.operands[1 - event.shortcut]

    nearest = [
        n for n in anchors.nearest_weights([value], keeps_zero) if n in residual.inside
    ] or [n for n in anchors.nearest_weights([value]) if n in residual.inside]
    fork = bits(residual.fork)
    main = [n for n in nearest if anchors.ancestors(anchors.events[n].parents) & fork]
    return tuple(main or nearest)


def _streams(anchors: Anchors, found: Sequence[Residual]) -> list[int]:
    """Numbers the residual streams: joins are chained by what they add to."""
    stream_of: dict[int, int] = {}
    count = 0
    for residual in found:
        before = (stream_of[n] for n in _before(anchors, residual) if n in stream_of)
        stream_of[residual.join] = stream = next(before, count)
        count += stream == count
    return [stream_of[residual.join] for residual in found]


def _before(anchors: Anchors, residual: Residual) -> Iterable[int]:
    """The joins that a stream comes from, back to the weight that starts it."""
    seen = set[int]()
    skip = anchors.events[residual.join].skip
    todo = sorted(skip | residual.fork, reverse=True)
    while todo:
        number = todo.pop(0)
        if number in seen:
            continue
        seen.add(number)
        event = anchors.events[number]
        if event.kind == "join":
            yield number
        if not event.uses:
            todo += sorted(event.parents, reverse=True)
