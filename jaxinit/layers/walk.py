"""Finds layers while a program is read: a fact for each value, events on the way.

An equation is, in this order: an elementwise function of one event's output, a call or
a loop whose program is read, or an event of its own.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from jaxinit.layers import facts, values
from jaxinit.layers.event import Loop, Place
from jaxinit.layers.facts import NEITHER, Fact
from jaxinit.layers.fans import is_product
from jaxinit.layers.joins import join
from jaxinit.layers.ledger import Ledger
from jaxinit.layers.meeting import applied_statistic, meeting, moved_on, summed_up
from jaxinit.layers.stacks import note_stacks
from jaxinit.layers.tap import tap_label
from jaxinit.program import primitives, versions
from jaxinit.program.axes import Layout
from jaxinit.program.program import Constant, Node, Region, readers
from jaxinit.program.read import read


class Walk:
    """What is known of values on the way to the events that a ledger records.

    Args:
      ledger: where events are recorded.
    """

    def __init__(self, ledger: Ledger, program: Region) -> None:
        self._ledger = ledger
        self._readers = readers(program)
        self._loops: tuple[Loop, ...] = ()

    def constant(self, constant: Constant | None) -> Fact:
        return NEITHER

    def node(self, node: Node, operands: list[Fact]) -> Sequence[Fact]:
        ledger, equation, name = self._ledger, node.equation, node.primitive
        if not any(f.data or f.params for f in operands):
            if name == "name":
                ledger.note_idle_tap(str(equation.params["name"]))
            return self._idle(node, operands)
        if primitives.is_random(name):
            ledger.keys.update(f.source for f in operands if f.source is not None)
            return [NEITHER for _ in node.results]
        place = Place(node.at, self._loops)
        if name == "convert_element_type":
            number = self._becomes_real(node, operands[0])
            if number is not None:
                return [moved_on(ledger, number, equation, node.at)]
        unit = values.elementwise(node, operands, ledger.gain_of)
        if unit is not None:
            return [unit]
        match node.kind:
            case "call" | "remat":
                return read(node.bodies[0], operands, self)
            case "rule" if _meets(operands):
                return self._custom_rule(node, operands, place)
            case "scan":
                return self._scan(node, operands)
            case "while":
                return self._while(node, operands)
            case "cond":
                return self._cond(node, operands)
            case "shards":
                return self._shard_map(node, operands)
        results = self._primitive(node, operands, place)
        ledger.watch_exits(equation, operands, results)
        return results

    def _idle(self, node: Node, operands: list[Fact]) -> list[Fact]:
        """A node that neither data nor parameters reach; taps in it are noted."""
        if node.kind == "call":
            return read(node.bodies[0], operands, self)
        for body in node.bodies:
            read(body, [NEITHER for _ in body.inputs], self)
        known = values.constant_value(node.equation, operands)
        return known or [NEITHER for _ in node.results]

    def _becomes_real(self, node: Node, fact: Fact) -> int | None:
        """The layer of integers whose output is real from this conversion on."""
        if fact.of is None or not primitives.has_float_result(node.equation):
            return None
        layer = self._ledger.events[fact.of]
        whole = layer.dtype.startswith(("int", "uint"))
        return fact.of if layer.kind == "layer" and whole else None

    def _primitive(self, node: Node, operands: list[Fact], place: Place) -> list[Fact]:
        ledger, equation, name = self._ledger, node.equation, node.primitive
        data = [f for f in operands if f.data]
        if not data:
            if name == "name":
                ledger.note_idle_tap(str(equation.params["name"]))
            return values.parameter_value(equation, operands)
        note_stacks(ledger, equation, operands)
        if any(f.is_param for f in operands) and (
            primitives.has_float_result(equation) or is_product(equation)
        ):
            return meeting(ledger, equation, operands, place, self._summed(node))
        if name == "name":
            label = tap_label(str(equation.params["name"]))
            if label is not None:
                return [ledger.add("tap", equation, data, place, label=label)]
        if name in ("add", "add_any") and len(data) == 2:
            joined = join(ledger, equation, operands, place)
            if joined is not None:
                return [joined]
        if name == "reduce_sum" and data[0].of is not None:
            product = summed_up(ledger, data[0].of, equation, place.at)
            if product is not None:
                return [product]
        if primitives.is_sum_over_devices(name) and len(operands) == 1:
            (fact,) = operands
            if fact.of is not None and ledger.events[fact.of].uses:
                return [moved_on(ledger, fact.of, equation, place.at)]
        if name == "mul" and len(data) == 2:
            applied = applied_statistic(ledger, equation, operands, place)
            if applied is not None:
                return [applied]
        return values.data_value(equation, operands)

    def _summed(self, node: Node) -> tuple[int, ...]:
        """The axes over which a product is summed, if nothing else reads it."""
        reader = self._only_reader(node) if node.primitive == "mul" else None
        while reader is not None and reader.primitive == "convert_element_type":
            reader = self._only_reader(reader)
        if reader is None or reader.primitive != "reduce_sum":
            return ()
        return tuple(reader.equation.params["axes"])

    def _only_reader(self, node: Node) -> Node | None:
        found = self._readers.get(node.results[0], [])
        return found[0] if len(found) == 1 else None

    def _custom_rule(
        self, node: Node, operands: list[Fact], place: Place
    ) -> list[Fact]:
        """A function with a derivative of its own: read inside, measured as a whole.

        Opened when it runs it would lose its derivative, so that its layers are one.
        """
        ledger = self._ledger
        before = dict(ledger.events)
        read(node.bodies[0], operands, self)
        found = [
            event
            for number, event in ledger.events.items()
            if number not in before and event.kind == "layer"
        ]
        ledger.events = before
        results = self._primitive(node, operands, place)
        if any(event.uses for event in found):
            ledger.add_inner(results, found)
        return results

    # Loops and branches.

    def _within(self, loop: Loop, body: Region, entry: Sequence[Fact]) -> list[Fact]:
        """Reads a body that runs several times."""
        around, self._loops = self._loops, (*self._loops, loop)
        results = read(body, entry, self)
        self._loops = around
        return results

    def _scan(self, node: Node, operands: list[Fact]) -> list[Fact]:
        parts = versions.scan_parts(node.equation)
        split = parts.num_consts + parts.num_carry
        inside = [self._enters_loop(f) for f in operands]
        scanned = [self._sliced(f) for f in inside[split:]]
        layered = any(f.is_param for f in scanned)
        kind: Literal["layers", "steps"] = "layers" if layered else "steps"
        loop = Loop(kind, node.inside(), parts.length, parts.reverse)
        entry = (inside[: parts.num_consts], inside[parts.num_consts : split], scanned)
        return self._fixed_point(node, entry, loop)

    def _while(self, node: Node, operands: list[Fact]) -> list[Fact]:
        parts = versions.while_parts(node.equation)
        first = parts.num_condition_consts
        for fact in operands[:first]:  # the condition is evaluated, not looked into
            self._ledger.reached |= fact.params
        inside = [self._enters_loop(f) for f in operands[first:]]
        split = parts.num_body_consts
        loop = Loop("while", node.inside(), 0)
        return self._fixed_point(node, (inside[:split], inside[split:], []), loop)

    def _fixed_point(
        self,
        node: Node,
        entry: tuple[list[Fact], list[Fact], list[Fact]],
        loop: Loop,
    ) -> list[Fact]:
        """Reads a loop's body until what is known of its carry stays the same.

        A data carry is a source of its own, whose parents are those of the initial
        value: within the body, ancestry runs one way.
        """
        ledger = self._ledger
        consts, carry, scanned = entry
        while True:
            before = dict(ledger.events)
            current = [
                f._replace(up=frozenset({ledger.source((*loop.path, (-1, k)), f.up)}))
                if f.data
                else f
                for k, f in enumerate(carry)
            ]
            results = self._within(loop, node.bodies[0], [*consts, *current, *scanned])
            merged = [
                facts.union([old, new])
                if (new.data, new.params) != (old.data, old.params)
                else old
                for old, new in zip(carry, results, strict=False)
            ]
            if merged == carry:
                return [self._leaves_loop(f) for f in results]
            carry = [f._replace(up=o.up) for f, o in zip(merged, carry, strict=True)]
            ledger.events = before

    def _cond(self, node: Node, operands: list[Fact]) -> list[Fact]:
        ledger = self._ledger
        ledger.conditional += 1
        entry = [self._enters_loop(f) for f in operands[1:]]
        branches = [read(branch, entry, self) for branch in node.bodies]
        ledger.conditional -= 1
        chosen = operands[0]
        joined = []
        for results in zip(*branches, strict=True):
            for fact in results:
                ledger.leaves_region(fact)
            joined.append(facts.union([*results, chosen] if chosen.data else results))
        return joined

    def _shard_map(self, node: Node, operands: list[Fact]) -> list[Fact]:
        ledger = self._ledger
        parts = versions.shard_map_parts(node.equation)
        num_shards = math.prod(
            size for name, size in parts.mesh.shape.items() if name in parts.manual_axes
        )
        loop = Loop("shards", node.inside(), num_shards)
        entry = [self._enters_loop(f) for f in operands]
        before, around = dict(ledger.shards), dict(ledger.devices)
        ledger.devices.update({str(k): v for k, v in parts.mesh.shape.items()})
        for fact, spec in zip(operands, parts.in_specs, strict=True):
            self._note_shards(fact, spec, parts.mesh)
        results = self._within(loop, node.bodies[0], entry)
        ledger.shards, ledger.devices = before, around
        return [self._leaves_loop(f) for f in results]

    def _note_shards(self, fact: Fact, spec: Any, mesh: Any) -> None:
        """Over how many devices each axis of a parameter's leaves is split."""
        if not fact.is_param or fact.layout is None:
            return
        for axes, names in zip(fact.layout.axes, spec, strict=False):
            names = (names,) if isinstance(names, str) else names or ()
            count = math.prod(mesh.shape[name] for name in names)
            for leaf in fact.layout.leaves if count > 1 and axes else ():
                known = self._ledger.shards.setdefault(leaf, {})
                known[axes[0]] = known.get(axes[0], 1) * count

    def _enters_loop(self, fact: Fact) -> Fact:
        """Nothing outside a loop may be merged with what is inside it."""
        self._ledger.leaves_region(fact)
        return fact._replace(of=None, unary=None, scales=None, source=None)

    def _leaves_loop(self, fact: Fact) -> Fact:
        return self._enters_loop(fact)._replace(layout=None)

    def _sliced(self, fact: Fact) -> Fact:
        """A scanned operand as the body sees it: without its first axis."""
        layout, known = fact.layout, self._ledger.scanned
        if not fact.is_param or layout is None:
            return fact
        first = layout.axes[0]
        if len(first) != 1:
            return fact._replace(layout=None)
        scanned = (*layout.scanned, first[0])
        for leaf in layout.leaves:
            if len(scanned) >= len(known.get(leaf, ())):
                known[leaf] = scanned
        return fact._replace(layout=Layout(layout.leaves, layout.axes[1:], scanned))


def _meets(operands: Sequence[Fact]) -> bool:
    return any(f.data for f in operands) and any(f.is_param for f in operands)
