"""Reads a model's program: where its parameters meet data, and where paths join.

The program is walked once, inner programs in place, and each value is given a color
and an ancestry (``facts``). What is found are events (``event``): an equation that
combines a parameter value and a data value starts a layer or belongs to the layer
that feeds it; an addition of two data values of different ancestry is a join.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxinit.layers.event import Event, Lookup
from jaxinit.layers.facts import NEITHER, Fact
from jaxinit.layers.ledger import Ledger
from jaxinit.layers.stacks import set_apart
from jaxinit.layers.walk import Walk
from jaxinit.program.axes import Layout
from jaxinit.program.program import Region
from jaxinit.program.read import read


class Sites(NamedTuple):
    """What a program's layers are.

    Attributes:
      events: layers, joins and taps in the order in which data meets them.
      ancestry: all events by number, sources included; parents, skip and branch of
        an event are such numbers.
      numbers: the number of each entry of ``events``.
      unreached: parameter leaves that no data meets.
      scanned: for each leaf that a scan slices, the sliced axes, outermost first.
      lookups: tables read at integers that come from an input.
      keys: input leaves that are random keys, typed or not.
      latents: parameter leaves that are learned data: kernels act on them, and what
        these give meets other data.
      opaque: names of functions that were taken as a whole.
      idle_taps: names of taps at values that depend on no input.
    """

    events: tuple[Event, ...]
    ancestry: dict[int, Event]
    numbers: tuple[int, ...]
    unreached: tuple[int, ...]
    scanned: dict[int, tuple[int, ...]]
    lookups: tuple[Lookup, ...]
    keys: frozenset[int]
    latents: frozenset[int]
    opaque: tuple[str, ...]
    idle_taps: tuple[str, ...]

    def leaf_order(self, count: int) -> list[int]:
        """The leaves, ``count`` of them, in the order in which data meets them."""
        met = dict.fromkeys(leaf for event in self.events for leaf in event.params)
        return list(dict.fromkeys([*met, *range(count)]))


def find_sites(
    program: Region,
    params: Sequence[int],
    inputs: Sequence[int],
    folders: Sequence[tuple[str, ...]],
) -> Sites:
    """Finds the layers of a program.

    Args:
      program: the model's forward pass.
      params: positions of the parameter leaves among the program's inputs.
      inputs: positions of the data among the program's inputs.
      folders: for each parameter leaf, the path of the folder that holds it.

    Returns:
      The layers, joins and taps, with leaves and inputs numbered as in ``params``
      and ``inputs``.
    """
    latents: frozenset[int] = frozenset()
    while True:
        ledger = Ledger(folders)
        entry = _entry(ledger, program, params, inputs, latents)
        for fact in read(program, entry, Walk(ledger, program)):
            ledger.leaves_region(fact)
        ledger.finish()
        set_apart(ledger)
        if ledger.latents <= latents:
            break
        latents |= ledger.latents
    ledger.reached |= latents
    rows = [n for n, event in ledger.events.items() if event.kind != "source"]
    rows.sort(key=lambda n: ledger.events[n].order)
    return Sites(
        events=tuple(ledger.events[n] for n in rows),
        ancestry=ledger.events,
        numbers=tuple(rows),
        unreached=tuple(n for n in range(len(folders)) if n not in ledger.reached),
        scanned=ledger.scanned,
        lookups=tuple(ledger.lookups),
        keys=frozenset(ledger.keys),
        latents=frozenset(latents),
        opaque=tuple(ledger.opaque),
        idle_taps=tuple(ledger.idle_taps),
    )


def _entry(
    ledger: Ledger,
    program: Region,
    params: Sequence[int],
    inputs: Sequence[int],
    latents: frozenset[int],
) -> list[Fact]:
    """What is known of the program's inputs."""
    entry = [NEITHER for _ in program.source.jaxpr.invars]
    for leaf, position in enumerate(params):
        if leaf in latents:
            source = ledger.source(((-2, leaf),))
            entry[position] = Fact(data=True, up=frozenset({source}))
            continue
        rank = len(program.source.jaxpr.invars[position].aval.shape)
        layout = Layout((leaf,), tuple((axis,) for axis in range(rank)))
        entry[position] = Fact(params=frozenset({leaf}), layout=layout)
    for number, position in enumerate(inputs):
        source = ledger.source(((-1, number),))
        entry[position] = Fact(data=True, up=frozenset({source}), source=number)
    return entry
