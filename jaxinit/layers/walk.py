"""Reads a program equation by equation, inner programs in place.

Each value gets a fact. An equation is, in this order: an elementwise function of one
event's output, a call or a loop whose program is read, or an event of its own.
"""

import math
from collections.abc import Sequence
from typing import Any

from jaxinit.layers import facts, values
from jaxinit.layers.event import Loop, Place
from jaxinit.layers.facts import NEITHER, Fact
from jaxinit.layers.fans import is_product
from jaxinit.layers.joins import join
from jaxinit.layers.ledger import Ledger
from jaxinit.layers.meeting import applied_statistic, meeting, moved_on
from jaxinit.layers.tap import tap_label
from jaxinit.program import primitives, versions
from jaxinit.program.axes import Layout
from jaxinit.program.liveness import live_equations, live_of_scan
from jaxinit.program.paths import Location, Path


def read(
    ledger: Ledger,
    program: versions.Program,
    entry: Sequence[Fact],
    path: Path = (),
    loops: tuple[Loop, ...] = (),
    wanted: Sequence[bool] | None = None,
) -> list[Fact]:
    """Reads a program's equations, but for those that no wanted output needs.

    Args:
      ledger: where events are recorded.
      program: the program.
      entry: what is known of its inputs.
      path: the way in to the program.
      loops: the loops around it, outermost first.
      wanted: which of its outputs are needed; ``None`` for all of them.

    Returns:
      What is known of its outputs.
    """
    known: dict[Any, Fact] = dict(zip(program.jaxpr.invars, entry, strict=True))

    def fact_of(atom: Any) -> Fact:
        if isinstance(atom, versions.Literal):
            return NEITHER
        return known.get(atom, NEITHER)

    live = live_equations(program.jaxpr, wanted)
    for index, equation in enumerate(program.jaxpr.eqns):
        if index not in live:
            continue
        operands = [fact_of(atom) for atom in equation.invars]
        place = Place(Location(path, index), loops)
        results = _equation(ledger, equation, operands, place, live[index])
        known.update(zip(equation.outvars, results, strict=True))
    return [fact_of(atom) for atom in program.jaxpr.outvars]


def _equation(
    ledger: Ledger,
    equation: versions.Equation,
    operands: list[Fact],
    place: Place,
    wanted: Sequence[bool],
) -> list[Fact]:
    name = equation.primitive.name
    if not any(f.data or f.params for f in operands):
        if name == "name":
            ledger.note_idle_tap(str(equation.params["name"]))
        inner = versions.called_program(equation)
        results = values.constant_value(equation, operands)
        if inner is not None:
            found = read(ledger, inner, operands, place.inside(), place.loops, wanted)
            results = found if name in versions.TRANSPARENT_CALLS else None
        return results or [NEITHER for _ in equation.outvars]
    if primitives.is_random(name):
        ledger.keys.update(f.source for f in operands if f.source is not None)
        return [NEITHER for _ in equation.outvars]
    inner = versions.called_program(equation)
    if name == "convert_element_type":
        number = _becomes_real(ledger, equation, operands[0])
        if number is not None:
            return [moved_on(ledger, number, equation, place.at)]
    unit = values.elementwise(equation, operands, place.at, inner, ledger.gain_of)
    if unit is not None:
        return [unit]
    if inner is not None and (
        name in versions.TRANSPARENT_CALLS or name in versions.REMAT_CALLS
    ):
        return read(ledger, inner, operands, place.inside(), place.loops, wanted)
    if (
        name in versions.CUSTOM_RULES
        and inner is not None
        and any(f.data for f in operands)
        and any(f.is_param for f in operands)
    ):
        return _custom_rule(ledger, equation, inner, operands, place)
    match name:
        case "scan":
            return _scan(ledger, equation, operands, place, wanted)
        case "while":
            return _while(ledger, equation, operands, place)
        case "cond":
            return _cond(ledger, equation, operands, place)
        case "shard_map":
            return _shard_map(ledger, equation, operands, place)
    results = _primitive(ledger, equation, operands, place)
    ledger.watch_exits(equation, operands, results)
    return results


def _becomes_real(
    ledger: Ledger, equation: versions.Equation, fact: Fact
) -> int | None:
    """The layer of integers whose output is real from this conversion on, if any."""
    if fact.of is None or not primitives.has_float_result(equation):
        return None
    layer = ledger.events[fact.of]
    whole = layer.dtype.startswith(("int", "uint"))
    return fact.of if layer.kind == "layer" and whole else None


def _primitive(
    ledger: Ledger,
    equation: versions.Equation,
    operands: list[Fact],
    place: Place,
) -> list[Fact]:
    name = equation.primitive.name
    data = [f for f in operands if f.data]
    if not data:
        if name == "name":
            ledger.note_idle_tap(str(equation.params["name"]))
        return values.parameter_value(equation, operands)
    if any(f.is_param for f in operands) and (
        primitives.has_float_result(equation) or is_product(equation)
    ):
        return meeting(ledger, equation, operands, place)
    if name == "name":
        label = tap_label(str(equation.params["name"]))
        if label is not None:
            return [ledger.add("tap", equation, data, place, label=label)]
    if name in ("add", "add_any") and len(data) == 2:
        joined = join(ledger, equation, operands, place)
        if joined is not None:
            return [joined]
    if primitives.is_sum_over_devices(name) and len(operands) == 1:
        (fact,) = operands
        if fact.of is not None and ledger.events[fact.of].uses:
            return [moved_on(ledger, fact.of, equation, place.at)]
    if name == "mul" and len(data) == 2:
        applied = applied_statistic(ledger, equation, operands, place)
        if applied is not None:
            return [applied]
    return values.data_value(equation, operands)


def _custom_rule(
    ledger: Ledger,
    equation: versions.Equation,
    inner: versions.Program,
    operands: list[Fact],
    place: Place,
) -> list[Fact]:
    """A function with a derivative of its own: read inside, measured as a whole.

    Opened when it runs it would lose its derivative, so that its layers are one.
    """
    before = dict(ledger.events)
    read(ledger, inner, operands, place.inside(), place.loops)
    found = [
        event
        for number, event in ledger.events.items()
        if number not in before and event.kind == "layer"
    ]
    ledger.events = before
    results = _primitive(ledger, equation, operands, place)
    if any(event.uses for event in found):
        ledger.add_inner(results, found)
    return results


# Loops and branches.


def _scan(
    ledger: Ledger,
    equation: versions.Equation,
    operands: list[Fact],
    place: Place,
    wanted: Sequence[bool],
) -> list[Fact]:
    parts = versions.scan_parts(equation)
    split = parts.num_consts + parts.num_carry
    inside = [_enters_loop(ledger, f) for f in operands]
    scanned = [_sliced(ledger, f) for f in inside[split:]]
    layered = any(f.is_param for f in scanned)
    loop = Loop(
        "layers" if layered else "steps", place.inside(), parts.length, parts.reverse
    )
    entry = (inside[: parts.num_consts], inside[parts.num_consts : split], scanned)
    live = live_of_scan(parts, wanted)
    return _fixed_point(ledger, parts.body, entry, loop, place.loops, live)


def _while(
    ledger: Ledger, equation: versions.Equation, operands: list[Fact], place: Place
) -> list[Fact]:
    parts = versions.while_parts(equation)
    first = parts.num_condition_consts
    for fact in operands[:first]:  # the condition is evaluated, not looked into
        ledger.reached |= fact.params
    inside = [_enters_loop(ledger, f) for f in operands[first:]]
    split = parts.num_body_consts
    loop = Loop("while", place.inside(), 0)
    entry = (inside[:split], inside[split:], list[Fact]())
    return _fixed_point(ledger, parts.body, entry, loop, place.loops)


def _fixed_point(
    ledger: Ledger,
    body: versions.Program,
    entry: tuple[list[Fact], list[Fact], list[Fact]],
    loop: Loop,
    around: tuple[Loop, ...],
    wanted: Sequence[bool] | None = None,
) -> list[Fact]:
    """Reads a loop's body until what is known of its carry stays the same.

    A data carry is a source of its own, whose parents are those of the initial
    value: within the body, ancestry runs one way.
    """
    consts, carry, scanned = entry
    while True:
        before = dict(ledger.events)
        current = [
            f._replace(up=frozenset({ledger.source((*loop.path, (-1, k)), f.up)}))
            if f.data
            else f
            for k, f in enumerate(carry)
        ]
        start = [*consts, *current, *scanned]
        results = read(ledger, body, start, loop.path, (*around, loop), wanted)
        merged = [
            facts.union([old, new])
            if (new.data, new.params) != (old.data, old.params)
            else old
            for old, new in zip(carry, results, strict=False)
        ]
        if merged == carry:
            return [_leaves_loop(ledger, f) for f in results]
        carry = [f._replace(up=old.up) for f, old in zip(merged, carry, strict=True)]
        ledger.events = before


def _cond(
    ledger: Ledger, equation: versions.Equation, operands: list[Fact], place: Place
) -> list[Fact]:
    ledger.conditional += 1
    entry = [_enters_loop(ledger, f) for f in operands[1:]]
    branches = [
        read(ledger, branch, entry, place.inside(number), place.loops)
        for number, branch in enumerate(versions.branch_programs(equation))
    ]
    ledger.conditional -= 1
    chosen = operands[0]
    joined = []
    for results in zip(*branches, strict=True):
        for fact in results:
            ledger.leaves_region(fact)
        joined.append(facts.union([*results, chosen] if chosen.data else results))
    return joined


def _shard_map(
    ledger: Ledger, equation: versions.Equation, operands: list[Fact], place: Place
) -> list[Fact]:
    parts = versions.shard_map_parts(equation)
    num_shards = math.prod(
        size for name, size in parts.mesh.shape.items() if name in parts.manual_axes
    )
    loop = Loop("shards", place.inside(), num_shards)
    entry = [_enters_loop(ledger, f) for f in operands]
    before, around = dict(ledger.shards), dict(ledger.devices)
    ledger.devices.update({str(k): v for k, v in parts.mesh.shape.items()})
    for fact, spec in zip(operands, parts.in_specs, strict=True):
        _note_shards(ledger, fact, spec, parts.mesh)
    results = read(ledger, parts.body, entry, loop.path, (*place.loops, loop))
    ledger.shards, ledger.devices = before, around
    return [_leaves_loop(ledger, f) for f in results]


def _note_shards(ledger: Ledger, fact: Fact, spec: Any, mesh: Any) -> None:
    """Over how many devices each axis of a parameter's leaves is split."""
    if not fact.is_param or fact.layout is None:
        return
    for axes, names in zip(fact.layout.axes, spec, strict=False):
        names = (names,) if isinstance(names, str) else names or ()
        count = math.prod(mesh.shape[name] for name in names)
        for leaf in fact.layout.leaves if count > 1 and axes else ():
            known = ledger.shards.setdefault(leaf, {})
            known[axes[0]] = known.get(axes[0], 1) * count


def _enters_loop(ledger: Ledger, fact: Fact) -> Fact:
    """Nothing outside a loop may be merged with what is inside it."""
    ledger.leaves_region(fact)
    return fact._replace(of=None, unary=None, scales=None, source=None)


def _leaves_loop(ledger: Ledger, fact: Fact) -> Fact:
    return _enters_loop(ledger, fact)._replace(layout=None)


def _sliced(ledger: Ledger, fact: Fact) -> Fact:
    """A scanned operand as the body sees it: without its first axis."""
    layout = fact.layout
    if not fact.is_param or layout is None:
        return fact
    first = layout.axes[0]
    if len(first) != 1:
        return fact._replace(layout=None)
    scanned = (*layout.scanned, first[0])
    for leaf in layout.leaves:
        if len(scanned) >= len(ledger.scanned.get(leaf, ())):
            ledger.scanned[leaf] = scanned
    return fact._replace(layout=Layout(layout.leaves, layout.axes[1:], scanned))
