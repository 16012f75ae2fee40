"""What has been found in a program so far."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from jaxinit.layers import facts
from jaxinit.layers.event import Event, Kind, Lookup, Place, Use
from jaxinit.layers.facts import Fact, Unary
from jaxinit.layers.tap import tap_label
from jaxinit.program import primitives, versions
from jaxinit.program.axes import Shape
from jaxinit.program.bits import union
from jaxinit.program.paths import Location, Path


class Ledger:
    """The events of a program, and what is noted along with them while it is read.

    Attributes:
      folders: for each parameter leaf, the path of the folder that holds it.
      events: all events by number, sources included.
      layers, weighted: which of them are layers, and which have weights, as bits.
      reached: parameter leaves that data meets.
      scanned: for each leaf that a scan slices, the sliced axes, outermost first.
      lookups: tables read at integers that come from an input; used as an ordered set.
      latents: parameter leaves that kernels act on as on data.
      keys: input leaves that are random keys.
      opaque: names of functions taken as a whole; used as an ordered set.
      idle_taps: names of taps at values that depend on no input; an ordered set.
      stacks, heads: for layers, which of their channel axes later products have for
        numbers of kernels, and for heads of an attention.
      shards: within a ``shard_map``, for each leaf and its axes the number of
        devices that these are split over.
      devices: within a ``shard_map``, the sizes of the mesh's axes.
      conditional: how many branches of ``cond`` the equation being read lies in.
    """

    def __init__(self, folders: Sequence[tuple[str, ...]]) -> None:
        self.folders = folders
        self.events: dict[int, Event] = {}
        self.layers = self.weighted = 0
        self.reached: set[int] = set()
        self.scanned: dict[int, tuple[int, ...]] = {}
        self.lookups: dict[Lookup, None] = {}
        self.keys: set[int] = set()
        self.latents: set[int] = set()
        self.opaque: dict[str, None] = {}
        self.idle_taps: dict[str, None] = {}
        self.stacks: dict[int, set[int]] = {}
        self.heads: dict[int, set[int]] = {}
        self.shards: dict[int, dict[int, int]] = {}
        self.devices: dict[str, int] = {}
        self.conditional = 0
        self._numbers: dict[Hashable, int] = {}
        self._raw: set[int] = set()
        self._reduced: dict[int, Unary] = {}

    # Events.

    def add(
        self,
        kind: Kind,
        equation: versions.Equation,
        data: Sequence[Fact],
        place: Place,
        *,
        params: tuple[int, ...] = (),
        uses: tuple[Use, ...] = (),
        channels: tuple[int, ...] | None = None,
        skip: frozenset[int] = frozenset(),
        branch: frozenset[int] = frozenset(),
        label: str = "",
        shortcut: int | None = None,
        operation: str | None = None,
        masked: bool = False,
        part: tuple[int, int] | None = None,
    ) -> Fact:
        """Records an event whose output is the equation's first float result.

        Args:
          kind: which kind of event; as all keywords, see ``Event``.
          equation: the equation.
          data: the operands that its parents are taken from.
          place: where the equation is.
          params: the parameter leaves that act in it, weights first.
          uses: the weights among them.
          channels: the output's axes along which its parameter varies; by default
            the last one.
          skip: for a join, the events nearest upstream of the shortcut.
          branch: for a join, those of what is added to it.
          label: for a tap, its name.
          shortcut: for a join, which operand the skip is.
          masked: whether its output may hold a mask's numbers.
          part: of which block of the layers' outputs it is a sum.
          operation: what it counts as, by default the equation's primitive.

        Returns:
          What is known of the output.
        """
        result = next(
            (i for i, v in enumerate(equation.outvars) if primitives.is_float(v.aval)),
            0,
        )
        out = equation.outvars[result].aval
        number = self._number((place.at.path, place.at.equation))
        parents = facts.union([f for f in data if f.data]).up
        self._count(number, layer=kind == "layer", weighted=bool(uses))
        self.events[number] = Event(
            kind=kind,
            at=place.at._replace(result=result),
            operation=operation or equation.primitive.name,
            params=params,
            uses=uses,
            parents=parents,
            loops=place.loops,
            shape=tuple(out.shape),
            dtype=str(out.dtype),
            channels=last_axis(out.shape) if channels is None else channels,
            skip=skip,
            branch=branch,
            label=label,
            conditional=self.conditional > 0,
            start=place.at,
            shortcut=shortcut,
            masked=masked,
            part=part,
            above=self.above(parents) | 1 << number,
        )
        return Fact(data=True, up=frozenset({number}), of=number)

    def add_inner(self, results: Sequence[Fact], found: Sequence[Event]) -> None:
        """Gives a layer that is taken as a whole the weights of the layers in it."""
        (number,) = {fact.of for fact in results if fact.of is not None}
        whole = self.events[number]
        uses = tuple(use for event in found for use in event.uses)
        last = found[-1]
        self._count(number, layer=whole.kind == "layer", weighted=bool(uses))
        self.events[number] = replace(
            whole,
            uses=uses,
            params=tuple(dict.fromkeys([*(u.leaf for u in uses), *whole.params])),
            channels=last.channels if last.shape == whole.shape else whole.channels,
            inside=tuple(e.start for e in found if e.uses),
        )

    def source(self, path: Path, parents: frozenset[int] = frozenset()) -> int:
        """Records a value that data comes from, and gives its number."""
        number, at = self._number(path), Location(path, -1)
        above = self.above(parents) | 1 << number
        self._count(number, layer=False, weighted=False)
        self.events[number] = Event("source", at, at, parents=parents, above=above)
        return number

    def above(self, numbers: Iterable[int]) -> int:
        """The events and all upstream of them, as bits."""
        return union(self.events[number].above for number in numbers)

    def _count(self, number: int, *, layer: bool, weighted: bool) -> None:
        one = 1 << number
        self.layers = self.layers | one if layer else self.layers & ~one
        self.weighted = self.weighted | one if weighted else self.weighted & ~one

    def behind_a_layer(self, numbers: Iterable[int]) -> bool:
        """Whether any parameter has acted on what comes from these events."""
        return bool(self.above(numbers) & self.layers)

    def gain_of(self, number: int) -> int | None:
        """The event that a learned gain alone multiplies, if this is such a layer."""
        event = self.events[number]
        if event.kind == "layer" and not event.uses and len(event.parents) == 1:
            (parent,) = event.parents
            return parent if self.events[parent].loops == event.loops else None
        return None

    def note_idle_tap(self, name: str) -> None:
        """Notes a tap that becomes no row, since no input reaches it."""
        label = tap_label(name)
        if label is not None:
            self.idle_taps[label] = None

    def _number(self, key: Hashable) -> int:
        """A number for an event that stays the same when a body is read again."""
        return self._numbers.setdefault(key, len(self._numbers))

    # Activations.

    def watch_exits(
        self,
        equation: versions.Equation,
        operands: Sequence[Fact],
        results: Sequence[Fact],
    ) -> None:
        """Finds activations: elementwise values that other equations use.

        A value that is only reduced (the square under a variance) is one only if
        nothing uses the layer's output itself.
        """
        if not primitives.has_float_result(equation):
            return
        reduces = equation.primitive.name in primitives.REDUCTIONS
        for fact in operands:
            if fact.of is not None and fact.of == results[0].of:
                continue  # the layer goes on: a bias, a shift
            if not reduces:
                self.leaves_region(fact)
            elif fact.unary is not None and fact.unary.nonlinear:
                self._reduced[fact.unary.event] = fact.unary

    def leaves_region(self, fact: Fact) -> None:
        """Notes that an elementwise function's value is used by something else."""
        if fact.unary is not None and not fact.unary.real:
            return
        if fact.unary is None or not fact.unary.nonlinear:
            if fact.base is not None:
                self._raw.add(fact.base)
        else:
            event = self.events[fact.unary.event]
            earlier = event.activation
            if earlier is None or len(fact.unary.steps) >= len(earlier.steps):
                self.events[fact.unary.event] = replace(event, activation=fact.unary)

    def finish(self) -> None:
        """Settles what depends on all uses of a layer's output, or of a parameter."""
        layers = [e for e in self.events.values() if e.kind == "layer"]
        gains = {leaf for e in layers for leaf in e.params if leaf not in e.weights}
        for number, layer in self.events.items():
            if layer.operation == "mul" and layer.weights & gains:
                # Summed in one place, as by a norm for its mean, but not in others.
                self._count(number, layer=True, weighted=False)
                self.events[number] = replace(layer, uses=())
        for number, unary in self._reduced.items():
            event = self.events.get(number)
            if event is None:  # a body that was read again has other events
                continue
            if event.activation is None and number not in self._raw:
                self.events[number] = replace(event, activation=unary)


def last_axis(shape: Shape) -> tuple[int, ...]:
    """Where channels are if nothing tells."""
    return (len(shape) - 1,) if shape else ()
