"""Where the events of a program are in its flow graph."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from jaxinit.layers.event import Event, Use
from jaxinit.layers.find import Sites
from jaxinit.program.bits import union
from jaxinit.program.flow import Flow, Node
from jaxinit.program.paths import Location


class Anchors:
    """The nodes of a program's events.

    Attributes:
      flow: the graph.
      latents: parameter leaves that are learned data.
      events: all events by number, sources included.
      weights: for each node that uses a weight, its event's number.
      lookups: for each node that reads a table, its event's number.
      joins: for each node that joins two paths, its event's number.
      nodes: for the number of an event, its first node.
      using: for each parameter leaf, the events that use it as a weight, as bits.
    """

    def __init__(self, flow: Flow, sites: Sites) -> None:
        self.flow = flow
        self.events: dict[int, Event] = dict(sites.ancestry)
        self.latents = sites.latents
        self._starts = {
            (start.path, start.equation): number
            for number, e in self.events.items()
            for start in (e.start, *e.inside)
        }
        self.weights: dict[int, int] = {}
        self.lookups: dict[int, int] = {}
        self.joins: dict[int, int] = {}
        self.nodes: dict[int, int] = {}
        self.using: defaultdict[int, int] = defaultdict(int)
        for user, event in self.events.items():
            for use in event.uses:
                self.using[use.leaf] |= 1 << user
        for index, node in enumerate(flow.nodes):
            number = self._starts.get((node.at.path, node.at.equation))
            if number is None:
                continue
            event = self.events[number]
            self.nodes.setdefault(number, index)
            if event.kind == "join":
                self.joins[index] = number
            elif is_weight(event):
                self.weights[index] = number
            elif event.uses:
                self.lookups[index] = number

    def event_at(self, at: Location) -> int | None:
        """The event that starts at a place, or at a call that the place is inside."""
        found = self._starts.get((at.path, at.equation))
        for end in range(len(at.path) - 1, -1, -1):
            if found is not None:
                break
            found = self._starts.get((at.path[:end], at.path[end][0]))
        return found

    def nearest_weights(
        self,
        values: Iterable[int],
        passes: Callable[[Node, int], bool] | None = None,
    ) -> list[int]:
        """The weight layers nearest upstream of values, in the order of events."""
        flow = self.flow

        def on(node: Node, position: int) -> bool:
            index = flow.values[node.results[0]].maker
            if index in self.weights or not flow.data[node.operands[position]]:
                return False
            return passes is None or passes(node, position)

        found = {
            self.weights[index]
            for index in flow.upstream(values, on)
            if index in self.weights
        }
        return self.in_order(found)

    def in_order(self, numbers: Iterable[int]) -> list[int]:
        """Events by when their output is computed."""
        return sorted(numbers, key=lambda number: self.events[number].order)

    def ancestors(self, numbers: Iterable[int]) -> int:
        """Events and all that is upstream of them, as bits."""
        return union(self.events[number].above for number in numbers)


def is_weight(event: Event) -> bool:
    """Whether it is a layer that sums over an axis of a parameter."""
    return bool(event.uses) and event.operation != "gather"


def telling_uses(event: Event) -> tuple[Use, ...]:
    """The uses of a layer's weights, but for parts of one whose axes are not known.

    A weight may be computed from several parameters, such as learned queries that
    were projected; which of them is the kernel cannot be told there.
    """
    known = tuple(u for u in event.uses if u.in_axis or u.out_axis or u.batch_axis)
    unknown = tuple(u for u in event.uses if u not in known)
    return event.uses if len(unknown) < 2 else known
