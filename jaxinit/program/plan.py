"""Where a hand is laid on a program's values when it runs again, and what it does."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax

from jaxinit.program.paths import Location
from jaxinit.program.repeats import Repeat

Array = jax.Array
Probes = dict[Any, Array]
Records = dict[Any, Array]


class Tap(NamedTuple):
    """One thing to do at one value: ``number`` is the event's, ``point`` is where."""

    number: int
    point: Literal["output", "activation", "operands"]


class Hooks(NamedTuple):
    """What to do at the taps.

    Attributes:
      record: ``(tap, value) -> array``, a small summary that the replay returns.
      passes: ``(tap, value, probe) -> value``, what goes on in place of the value;
        ``probe`` is this event's entry of the replay's probes, or ``None``; always
        ``None`` behind an activation. At the point ``"operands"`` of an equation
        both are given a tuple: its operands, then its result.
      merge: ``(earlier, later) -> array``, joins the records of two steps of a loop
        of unknown length; it is first called with zeros as ``earlier``.
    """

    record: Callable[[Tap, Any], Array]
    passes: Callable[[Tap, Any, Array | None], Array]
    merge: Callable[[Array, Array], Array]


NO_HOOKS = Hooks(
    lambda tap, value: value,
    lambda tap, value, probe: value,
    lambda earlier, later: later,
)
"""For a plan without taps."""


@dataclass
class Plan:
    """Where the taps of one program are, and those of the programs inside it."""

    taps: dict[int, list[tuple[int, Tap]]] = field(default_factory=dict)
    inner: dict[int, dict[int, "Plan"]] = field(default_factory=dict)

    def at(self, location: Location, tap: Tap) -> None:
        plan = self
        for index, which in location.path:
            plan = plan.inner.setdefault(index, {}).setdefault(which, Plan())
        plan.taps.setdefault(location.equation, []).append((location.result, tap))

    @property
    def all_taps(self) -> list[Tap]:
        here = [tap for taps in self.taps.values() for _, tap in taps]
        for programs in self.inner.values():
            for plan in programs.values():
                here += plan.all_taps
        return here

    def mark(self, index: int, kind: Callable[[int], Hashable]) -> Hashable:
        """What is done at an equation, up to which events it is done for.

        Args:
          index: the equation.
          kind: what of an event must be equal.
        """
        taps = tuple(
            (position, tap.point, kind(tap.number))
            for position, tap in self.taps.get(index, ())
        )
        inner = tuple(
            (which, tuple((i, plan.mark(i, kind)) for i in plan._places))
            for which, plan in sorted(self.inner.get(index, {}).items())
        )
        return taps, inner

    def columns(self, repeat: Repeat) -> list[tuple[Tap, ...]]:
        """The taps of a repeat, each as the taps of all times."""
        blocks = zip(*[iter(repeat.nodes)] * repeat.period, strict=True)
        taps = [
            [tap for node in block for tap in self._at(node.at.equation)]
            for block in blocks
        ]
        return list(zip(*taps, strict=True))

    def _at(self, index: int) -> list[Tap]:
        """The taps of an equation and of the programs in it, alike for alike plans."""
        found = [tap for _, tap in self.taps.get(index, ())]
        for _, plan in sorted(self.inner.get(index, {}).items()):
            for i in plan._places:
                found += plan._at(i)
        return found

    @property
    def _places(self) -> list[int]:
        """The equations at which something is to be done."""
        return sorted({*self.taps, *self.inner})
