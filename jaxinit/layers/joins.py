"""Where two paths of data join: additions of values of different ancestry."""

from collections.abc import Sequence

from jaxinit.layers.event import Place
from jaxinit.layers.facts import Fact
from jaxinit.layers.ledger import Ledger
from jaxinit.program import primitives, versions
from jaxinit.program.bits import bits


def join(
    ledger: Ledger,
    equation: versions.Equation,
    operands: Sequence[Fact],
    place: Place,
) -> Fact | None:
    """Records an addition of two data values as a join, if it is one."""
    first, second = operands
    out = equation.outvars[0].aval
    shapes = {tuple(atom.aval.shape) for atom in equation.invars}
    floats = primitives.has_float_result(equation)
    if not floats or shapes != {tuple(out.shape)} or out.size < 2:
        return None
    # Two functions of one value are the inside of a layer, or of a scan's tree.
    if first.up <= second.up or second.up <= first.up:
        if not _takes_itself_in(ledger, first, second, place):
            return None
    both = first.up | second.up
    if not ledger.behind_a_layer(both):
        return None
    skip, branch = _shortcut(ledger, first, second)
    if _same_module(ledger, both):
        straight = skip is not None and _goes_on(ledger, skip, branch)
        steps = any(loop.kind != "layers" for loop in place.loops)
        if not straight and (steps or not _part_ways(ledger, first, second)):
            return None
    masked = any(
        f.masked or not ledger.behind_a_layer(f.up) for f in operands if f.data
    )
    parts = {f.part for f in operands} - {None}
    joined = ledger.add(
        "join",
        equation,
        operands,
        place,
        skip=skip.up if skip else frozenset(),
        branch=branch.up,
        shortcut=None if skip is None else int(skip is second),
        masked=masked,
        part=parts.pop() if len(parts) == 1 else None,
    )
    return joined._replace(masked=masked)


def _takes_itself_in(ledger: Ledger, first: Fact, second: Fact, place: Place) -> bool:
    """Whether a stream is added to what weights and it itself have made.

    So the coordinates of an equivariant network move: ``x + (d * phi(x)).sum()``, with
    differences ``d`` of theirs. In a loop over time that is a cell's update.
    """
    stream, update = sorted((first, second), key=lambda fact: len(fact.up))
    own = ledger.above(update.up) & ~ledger.above(stream.up)
    streams = all(ledger.events[n].kind in ("source", "join") for n in stream.up)
    over_time = any(loop.kind != "layers" for loop in place.loops)
    return streams and bool(own & ledger.weighted) and not over_time


def _same_module(ledger: Ledger, numbers: frozenset[int]) -> bool:
    """Whether an addition is the inside of one module."""
    folders = set()
    for number in numbers:
        event = ledger.events[number]
        if event.kind != "layer":
            return False
        folders |= {ledger.folders[leaf] for leaf in event.params}
    return len(folders) == 1


def _goes_on(ledger: Ledger, skip: Fact, branch: Fact) -> bool:
    """Whether weights lead from a skip to its branch: a block without folders."""
    above = [ledger.above(fact.up) for fact in (skip, branch)]
    own = above[1] & ~above[0]
    return not bits(skip.up) & ~above[1] and bool(own & ledger.weighted)


def _part_ways(ledger: Ledger, first: Fact, second: Fact) -> bool:
    """Whether two layers start at one value and weights lead up to one of them.

    So it is with a projection beside a branch, in a block without folders.
    """
    if first.of is None or second.of is None:
        return False
    above = [ledger.above(fact.up) for fact in (first, second)]
    shared = above[0] & above[1]
    own = [(over & ~shared & ledger.weighted).bit_count() for over in above]
    return bool(shared) and min(own) == 1 < max(own)


def _shortcut(ledger: Ledger, first: Fact, second: Fact) -> tuple[Fact | None, Fact]:
    """Which of two summands is the skip; none if neither derives from the other."""
    above = [ledger.above(fact.up) for fact in (first, second)]
    outside = [bits(first.up) & ~above[1], bits(second.up) & ~above[0]]
    if outside[1] and not outside[0]:
        return first, second
    if outside[0] and not outside[1]:
        return second, first
    for this, that, over in ((first, second, above[1]), (second, first, above[0])):
        streams = [ledger.events[n] for n in this.up]
        if streams and all(
            e.kind == "join" and not bits(e.skip) & ~over for e in streams
        ):
            return this, that
    shared = above[0] & above[1]
    if not shared:
        return None, second
    lengths = [(over & ~shared & ledger.layers).bit_count() for over in above]
    return (first, second) if lengths[0] < lengths[1] else (second, first)
