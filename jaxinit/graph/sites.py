"""Reads a model's program: where its parameters meet data, and where paths join.

The program is walked once, inner programs in place, and each value is given a colour
and an ancestry (``facts``). What is found are events (``events``): an equation that
combines a parameter value and a data value starts a layer or belongs to the layer
that feeds it; an addition of two data values of different ancestry is a join.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxinit.graph import compat, facts, weights
from jaxinit.graph.events import Event, Lookup, Loop
from jaxinit.graph.facts import NEITHER, Fact, Layout, Location, Unary
from jaxinit.graph.tap import PREFIX

Path = tuple[tuple[int, int], ...]


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
      opaque: names of functions that were taken as a whole.
    """

    events: tuple[Event, ...]
    ancestry: dict[int, Event]
    numbers: tuple[int, ...]
    unreached: tuple[int, ...]
    scanned: dict[int, tuple[int, ...]]
    lookups: tuple[Lookup, ...]
    opaque: tuple[str, ...]


def find_sites(
    program: compat.Program,
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
    walk = _Walk(folders)
    entry = [NEITHER for _ in program.jaxpr.invars]
    for leaf, position in enumerate(params):
        rank = len(program.jaxpr.invars[position].aval.shape)
        layout = Layout((leaf,), tuple((axis,) for axis in range(rank)))
        entry[position] = Fact(params=frozenset({leaf}), layout=layout)
    for number, position in enumerate(inputs):
        source = walk.source(((-1, number),))
        entry[position] = Fact(data=True, up=frozenset({source}), source=number)
    results = walk.run(program, entry, (), ())
    for fact in results:
        walk.leaves_region(fact)
    return walk.finish()


def live_equations(
    jaxpr: compat.Jaxpr, wanted: Sequence[bool] | None
) -> dict[int, list[bool]]:
    """The equations that the wanted outputs need, and which of their results."""
    needed = {
        atom
        for position, atom in enumerate(jaxpr.outvars)
        if isinstance(atom, compat.Var) and (wanted is None or wanted[position])
    }
    live = {}
    for index in reversed(range(len(jaxpr.eqns))):
        equation = jaxpr.eqns[index]
        results = [var in needed for var in equation.outvars]
        if any(results) or equation.effects:
            live[index] = results
            needed.update(v for v in equation.invars if isinstance(v, compat.Var))
    return live


class _Walk:
    def __init__(self, folders: Sequence[tuple[str, ...]]) -> None:
        self.folders = folders
        self.events: dict[int, Event] = {}
        self.numbers: dict[Any, int] = {}
        self.reached: set[int] = set()
        self.scanned: dict[int, tuple[int, ...]] = {}
        self.lookups: dict[Lookup, None] = {}
        self.opaque: dict[str, None] = {}
        self.raw: set[int] = set()
        self.reduced: dict[int, Unary] = {}
        self.conditional = 0

    def finish(self) -> Sites:
        for number, unary in self.reduced.items():
            event = self.events[number]
            if event.activation is None and number not in self.raw:
                self.events[number] = replace(event, activation=unary)
        rows = [n for n, event in self.events.items() if event.kind != "source"]
        rows.sort(key=lambda n: self.events[n].order)
        everything = range(len(self.folders))
        return Sites(
            tuple(self.events[n] for n in rows),
            self.events,
            tuple(rows),
            tuple(leaf for leaf in everything if leaf not in self.reached),
            self.scanned,
            tuple(self.lookups),
            tuple(self.opaque),
        )

    # Events.

    def number(self, key: Any) -> int:
        """A number for an event that stays the same when a body is read again."""
        return self.numbers.setdefault(key, len(self.numbers))

    def source(self, path: Path, parents: frozenset[int] = frozenset()) -> int:
        number = self.number(path)
        self.events[number] = Event("source", parents=parents)
        return number

    def ancestors(self, number: int) -> frozenset[int]:
        """``number`` and all events upstream of it."""
        found: set[int] = set()
        todo = [number]
        while todo:
            current = todo.pop()
            if current not in found:
                found.add(current)
                todo += self.events[current].parents
        return frozenset(found)

    def leaves_region(self, fact: Fact) -> None:
        """Notes that an elementwise function's value is used by something else."""
        if fact.unary is None or not fact.unary.nonlinear:
            if fact.base is not None:
                self.raw.add(fact.base)
        else:
            event = self.events[fact.unary.event]
            earlier = event.activation
            if earlier is None or len(fact.unary.steps) >= len(earlier.steps):
                self.events[fact.unary.event] = replace(event, activation=fact.unary)

    # Programs.

    def run(
        self,
        program: compat.Program,
        entry: Sequence[Fact],
        path: Path,
        loops: tuple[Loop, ...],
        wanted: Sequence[bool] | None = None,
    ) -> list[Fact]:
        """Reads a program's equations, but for those that no wanted output needs."""
        known: dict[Any, Fact] = dict(zip(program.jaxpr.invars, entry, strict=True))

        def read(atom: Any) -> Fact:
            if isinstance(atom, compat.Literal):
                return NEITHER
            return known.get(atom, NEITHER)

        live = live_equations(program.jaxpr, wanted)
        for index, equation in enumerate(program.jaxpr.eqns):
            if index not in live:
                continue
            operands = [read(atom) for atom in equation.invars]
            results = self.equation(equation, operands, path, index, loops, live[index])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in program.jaxpr.outvars]

    def equation(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        path: Path,
        index: int,
        loops: tuple[Loop, ...],
        wanted: Sequence[bool],
    ) -> list[Fact]:
        name = equation.primitive.name
        if not any(f.data or f.params for f in operands):
            return [NEITHER for _ in equation.outvars]
        inner = compat.called_program(equation)
        unit = self.elementwise(equation, operands, Location(path, index), inner)
        if unit is not None:
            return [unit]
        step = (*path, (index, 0))
        if inner is not None and (
            name in compat.TRANSPARENT_CALLS or name in compat.REMAT_CALLS
        ):
            return self.run(inner, operands, step, loops, wanted)
        match name:
            case "scan":
                return self.scan(equation, operands, path, index, loops)
            case "while":
                return self.while_loop(equation, operands, path, index, loops)
            case "cond":
                return self.cond(equation, operands, path, index, loops)
            case "shard_map":
                return self.shard_map(equation, operands, path, index, loops)
        result = self.primitive(equation, operands, Location(path, index), loops)
        self.watch_exits(equation, operands)
        return result

    def scan(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        path: Path,
        index: int,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        parts = compat.scan_parts(equation)
        split = parts.num_consts + parts.num_carry
        consts = [self.enters_loop(f) for f in operands[: parts.num_consts]]
        carry = [self.enters_loop(f) for f in operands[parts.num_consts : split]]
        scanned = [self.sliced(self.enters_loop(f)) for f in operands[split:]]
        layered = any(f.is_param for f in scanned)
        here = (*path, (index, 0))
        loop = Loop("layers" if layered else "steps", here, parts.length, parts.reverse)
        entry = (consts, carry, scanned)
        results = self.fixed_point(parts.body, entry, here, (*loops, loop))
        return [self.leaves_loop(f) for f in results]

    def while_loop(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        path: Path,
        index: int,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        parts = compat.while_parts(equation)
        first = parts.num_condition_consts
        split = first + parts.num_body_consts
        for fact in operands[:first]:  # the condition is evaluated, not looked into
            self.reached |= fact.params
        consts = [self.enters_loop(f) for f in operands[first:split]]
        carry = [self.enters_loop(f) for f in operands[split:]]
        here = (*path, (index, 0))
        loop = Loop("while", here, 0)
        entry = (consts, carry, list[Fact]())
        results = self.fixed_point(parts.body, entry, here, (*loops, loop))
        return [self.leaves_loop(f) for f in results]

    def fixed_point(
        self,
        body: compat.Program,
        entry: tuple[list[Fact], list[Fact], list[Fact]],
        here: Path,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        """Reads a loop's body until what is known of its carry stays the same.

        A data carry is a source of its own, whose parents are those of the initial
        value: within the body, ancestry runs one way.
        """
        consts, carry, scanned = entry
        while True:
            before = dict(self.events)
            current = [
                f._replace(up=frozenset({self.source((*here, (-1, k)), f.up)}))
                if f.data
                else f
                for k, f in enumerate(carry)
            ]
            results = self.run(body, [*consts, *current, *scanned], here, loops)
            merged = [
                facts.union([old, new])
                if (new.data, new.params) != (old.data, old.params)
                else old
                for old, new in zip(carry, results, strict=False)
            ]
            if merged == carry:
                return results
            carry = [
                f._replace(up=old.up) for f, old in zip(merged, carry, strict=True)
            ]
            self.events = before

    def cond(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        path: Path,
        index: int,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        self.conditional += 1
        entry = [self.enters_loop(f) for f in operands[1:]]
        branches = [
            self.run(branch, entry, (*path, (index, number)), loops)
            for number, branch in enumerate(compat.branch_programs(equation))
        ]
        self.conditional -= 1
        chosen = operands[0]
        joined = []
        for results in zip(*branches, strict=True):
            for fact in results:
                self.leaves_region(fact)
            joined.append(facts.union([*results, chosen] if chosen.data else results))
        return joined

    def shard_map(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        path: Path,
        index: int,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        parts = compat.shard_map_parts(equation)
        sizes = [
            size for name, size in parts.mesh.shape.items() if name in parts.manual_axes
        ]
        here = (*path, (index, 0))
        loop = Loop("shards", here, int(np.prod(sizes)))
        entry = [self.enters_loop(f)._replace(layout=f.layout) for f in operands]
        results = self.run(parts.body, entry, here, (*loops, loop))
        return [self.leaves_loop(f) for f in results]

    def enters_loop(self, fact: Fact) -> Fact:
        """Nothing outside a loop may be merged with what is inside it."""
        self.leaves_region(fact)
        return fact._replace(of=None, unary=None, scales=None, source=None)

    def sliced(self, fact: Fact) -> Fact:
        """A scanned operand as the body sees it: without its first axis."""
        layout = fact.layout
        if not fact.is_param or layout is None:
            return fact
        first = layout.axes[0]
        if len(first) != 1:
            return fact._replace(layout=None)
        scanned = (*layout.scanned, first[0])
        for leaf in layout.leaves:
            if len(scanned) >= len(self.scanned.get(leaf, ())):
                self.scanned[leaf] = scanned
        return fact._replace(layout=Layout(layout.leaves, layout.axes[1:], scanned))

    def leaves_loop(self, fact: Fact) -> Fact:
        self.leaves_region(fact)
        return fact._replace(layout=None, of=None, unary=None, scales=None, source=None)

    # Equations.

    def elementwise(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        at: Location,
        inner: compat.Program | None,
    ) -> Fact | None:
        """The result of an elementwise function of one event's output, if it is one."""
        if len(equation.outvars) != 1:
            return None
        name = equation.primitive.name
        data = [f for f in operands if f.data]
        if not data or any(f.is_param for f in operands):
            return None
        bases = {f.base for f in data}
        if len(bases) != 1 or None in bases:
            return None
        out = equation.outvars[0].aval
        for atom, fact in zip(equation.invars, operands, strict=True):
            if fact.data and atom.aval.shape != out.shape:
                return None
        if inner is None:
            if name not in facts.ELEMENTWISE:
                return None
            step = name
            if name == "select_n" and not operands[0].data and len(data) == 1:
                step = "dropout"
            elif len(data) > 1 and name in ("mul", "div", "add", "sub"):
                step = name + "_self"
        elif facts.is_elementwise(inner):
            step = compat.call_name(equation) or name
        else:
            return None
        (base,) = bases
        assert base is not None
        steps: tuple[str, ...] = ()
        for fact in data:
            if fact.unary is not None:
                steps += tuple(s for s in fact.unary.steps if s not in steps)
        unary = Unary(base, (*steps, step), at)
        scaled = unary.nonlinear or step in ("add", "sub")
        return Fact(
            data=True,
            up=facts.union(data).up,
            of=None if scaled else base,
            unary=unary if _float_aval(out) else None,
            statistic=all(f.statistic for f in data),
            scales=data[0].scales if not unary.nonlinear and len(data) == 1 else None,
        )

    def watch_exits(
        self,
        equation: compat.Equation,
        operands: list[Fact],
    ) -> None:
        """Finds activations: elementwise values that other equations use.

        A value that is only reduced (the square under a variance) is one only if
        nothing uses the layer's output itself.
        """
        if not _is_float(equation):
            return
        reduces = equation.primitive.name in facts.REDUCTIONS
        for fact in operands:
            if not reduces:
                self.leaves_region(fact)
            elif fact.unary is not None and fact.unary.nonlinear:
                self.reduced[fact.unary.event] = fact.unary

    def primitive(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        at: Location,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        name = equation.primitive.name
        data = [f for f in operands if f.data]
        params = [f for f in operands if f.is_param]
        if not data:
            return self.parameter_value(equation, operands)
        if params and _is_float(equation):
            return self.meeting(equation, operands, at, loops)
        if name == "name" and str(equation.params["name"]).startswith(PREFIX):
            label = str(equation.params["name"])[len(PREFIX) :]
            return [self.add(equation, data, at, loops, "tap", label=label)]
        if name in ("add", "add_any") and len(data) == 2:
            joined = self.join(equation, operands, at, loops)
            if joined is not None:
                return [joined]
        if name == "mul" and len(data) == 2:
            applied = self.applied_statistic(equation, operands, at, loops)
            if applied is not None:
                return [applied]
        return self.data_value(equation, operands)

    def parameter_value(
        self, equation: compat.Equation, operands: list[Fact]
    ) -> list[Fact]:
        known = facts.union(operands)
        layout = None
        params = [f for f in operands if f.is_param]
        name = equation.primitive.name
        if name == "concatenate":
            layout = facts.concatenated([f.layout for f in operands])
        elif name in facts.LAYOUT and operands[0].layout is not None:
            layout = facts.rearranged(equation, operands[0].layout)
        elif name in facts.ELEMENTWISE:
            out = equation.outvars[0].aval.shape
            whole = [
                f.layout
                for atom, f in zip(equation.invars, operands, strict=True)
                if f.layout is not None and atom.aval.shape == out
            ]
            if len(whole) == 1 or (len(params) > 1 and len(set(whole)) == 1):
                layout = whole[0]
        return [known._replace(layout=layout) for _ in equation.outvars]

    def data_value(self, equation: compat.Equation, operands: list[Fact]) -> list[Fact]:
        name = equation.primitive.name
        known = facts.union(operands)
        data = [f for f in operands if f.data]
        first = operands[0]
        of = scales = source = unary = None
        if name in facts.LAYOUT and first.data:
            scales = first.scales
            out = equation.outvars[0].aval
            same = out.size == equation.invars[0].aval.size
            if name in facts.KEEPS_ELEMENTS or same:
                of = first.of
            if out.shape == equation.invars[0].aval.shape:
                unary = first.unary
        chosen = operands[1:] if name == "select_n" else data
        sources = {f.source for f in chosen if f.data}
        if len(sources) == 1 and (
            name in facts.LAYOUT or name in ("add", "select_n", "max", "min", "clamp")
        ):
            (source,) = sources
        reduces = name in facts.REDUCTIONS
        passes = name in facts.ELEMENTWISE or name in facts.LAYOUT
        statistic = reduces or (passes and all(f.statistic for f in data))
        fact = known._replace(
            of=of, scales=scales, source=source, unary=unary, statistic=statistic
        )
        return [fact for _ in equation.outvars]

    def meeting(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        at: Location,
        loops: tuple[Loop, ...],
    ) -> list[Fact]:
        """An equation that combines parameters and data."""
        data = [f for f in operands if f.data]
        leaves = facts.union([f for f in operands if f.is_param]).params
        self.reached |= leaves
        found: list[Any] = []
        channels: tuple[int, ...] | None = None
        for position, fact in enumerate(operands):
            if fact.is_param:
                role = weights.roles(equation, position)
                if role is not None:
                    channels = role.channels
                    if role.is_weight:
                        found += weights.uses(equation, position, fact, role)
        self.note_lookup(equation, operands)
        name = equation.primitive.name
        if not found and name in facts.ELEMENTWISE | {"concatenate"}:
            host = self.host(operands, leaves, loops)
            if host is not None:
                return [self.extend(host, equation, operands, leaves, at)]
        elif not found and _has_program(equation):
            self.opaque[compat.call_name(equation) or name] = None
        if channels is None:
            channels = _varying_axes(equation, operands)[-1:]
            channels = channels or _last_axis(equation.outvars[0].aval.shape)
        params = tuple(dict.fromkeys([*(u.leaf for u in found), *sorted(leaves)]))
        result = self.add(
            equation,
            data,
            at,
            loops,
            "layer",
            params=params,
            uses=tuple(found),
            channels=channels,
        )
        if name == "mul" and all(f.statistic for f in data):
            result = result._replace(statistic=True, scales=result.of)
        others = [
            result if _float_aval(v.aval) else facts.union(data)
            for v in equation.outvars
        ]
        return others if len(others) > 1 else [result]

    def host(
        self,
        operands: list[Fact],
        leaves: frozenset[int],
        loops: tuple[Loop, ...],
    ) -> int | None:
        """The layer that a bias, a shift or another use of the same gain belongs to."""
        folders = {self.folders[leaf] for leaf in leaves}
        for fact in operands:
            if not fact.data:
                continue
            if fact.of is not None:
                layer = self.events[fact.of]
                mine = {self.folders[leaf] for leaf in layer.params}
                if layer.kind == "layer" and layer.loops == loops and mine & folders:
                    return fact.of
            if fact.unary is None:
                for number in fact.up:
                    layer = self.events[number]
                    if (
                        layer.kind == "layer"
                        and not layer.uses
                        and layer.loops == loops
                        and leaves <= set(layer.params)
                    ):
                        return number
        return None

    def extend(
        self,
        number: int,
        equation: compat.Equation,
        operands: Sequence[Fact],
        leaves: frozenset[int],
        at: Location,
    ) -> Fact:
        """Moves a layer's output on to ``equation``.

        Its axes may have been moved since the layer's first equation; a bias tells
        where the channels are now.
        """
        layer = self.events[number]
        out = equation.outvars[0].aval
        channels = layer.channels
        varying = _varying_axes(equation, operands)
        count = math.prod(layer.shape[axis] for axis in channels)
        if varying and math.prod(out.shape[axis] for axis in varying) == count:
            channels = varying
        elif len(out.shape) != len(layer.shape):
            channels = _last_axis(out.shape)
        self.events[number] = replace(
            layer,
            at=at,
            params=tuple(dict.fromkeys([*layer.params, *sorted(leaves)])),
            shape=tuple(out.shape),
            dtype=str(out.dtype),
            channels=channels,
            activation=None,
        )
        return Fact(data=True, up=frozenset({number}), of=number)

    def applied_statistic(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        at: Location,
        loops: tuple[Loop, ...],
    ) -> Fact | None:
        """A norm's gain was multiplied into 1/std; here the product meets the data."""
        for fact in operands:
            if fact.scales is not None and self.events[fact.scales].loops == loops:
                return self.extend(fact.scales, equation, operands, frozenset(), at)
        return None

    def join(
        self,
        equation: compat.Equation,
        operands: list[Fact],
        at: Location,
        loops: tuple[Loop, ...],
    ) -> Fact | None:
        first, second = operands
        out = equation.outvars[0].aval
        shapes = {tuple(atom.aval.shape) for atom in equation.invars}
        if not _is_float(equation) or shapes != {tuple(out.shape)} or out.size < 2:
            return None
        # Two functions of one value are the inside of a layer, or of a scan's tree.
        if first.up <= second.up or second.up <= first.up:
            return None
        both = first.up | second.up
        if self.same_module(both) or not self.behind_a_layer(both):
            return None
        skip, branch = self.shortcut(first, second)
        return self.add(
            equation,
            operands,
            at,
            loops,
            "join",
            skip=skip.up if skip else frozenset(),
            branch=branch.up,
        )

    def same_module(self, numbers: frozenset[int]) -> bool:
        """Whether an addition is the inside of one module."""
        folders = set()
        for number in numbers:
            event = self.events[number]
            if event.kind != "layer":
                return False
            folders |= {self.folders[leaf] for leaf in event.params}
        return len(folders) == 1

    def behind_a_layer(self, numbers: frozenset[int]) -> bool:
        """Whether any parameter has acted on what comes from these events."""
        return any(
            self.events[above].kind == "layer"
            for number in numbers
            for above in self.ancestors(number)
        )

    def shortcut(self, first: Fact, second: Fact) -> tuple[Fact | None, Fact]:
        """Which of two summands is the skip; none if neither derives from the other."""
        above = [
            frozenset[int]().union(*(self.ancestors(n) for n in fact.up))
            for fact in (first, second)
        ]
        if first.up <= above[1] and not second.up <= above[0]:
            return first, second
        if second.up <= above[0] and not first.up <= above[1]:
            return second, first
        for this, that, over in ((first, second, above[1]), (second, first, above[0])):
            streams = [self.events[n] for n in this.up]
            if streams and all(e.kind == "join" and e.skip <= over for e in streams):
                return this, that
        shared = above[0] & above[1]
        if not shared:
            return None, second
        lengths = [
            sum(self.events[n].kind == "layer" for n in over - shared) for over in above
        ]
        return (first, second) if lengths[0] < lengths[1] else (second, first)

    def add(
        self,
        equation: compat.Equation,
        data: Sequence[Fact],
        at: Location,
        loops: tuple[Loop, ...],
        kind: Any,
        **details: Any,
    ) -> Fact:
        """Records an event whose output is the equation's first float result."""
        result = next(
            (i for i, v in enumerate(equation.outvars) if _float_aval(v.aval)), 0
        )
        out = equation.outvars[result].aval
        number = self.number((at.path, at.index))
        self.events[number] = Event(
            kind=kind,
            at=at._replace(result=result),
            operation=equation.primitive.name,
            parents=facts.union([f for f in data if f.data]).up,
            loops=loops,
            shape=tuple(out.shape),
            dtype=str(out.dtype),
            conditional=self.conditional > 0,
            **{"channels": _last_axis(out.shape), **details},
        )
        return Fact(data=True, up=frozenset({number}), of=number)

    def note_lookup(self, equation: compat.Equation, operands: list[Fact]) -> None:
        if equation.primitive.name != "gather" or not operands[0].is_param:
            return
        source, layout = operands[1].source, operands[0].layout
        axes = equation.params["dimension_numbers"].start_index_map
        if source is None or layout is None or len(axes) != 1:
            return
        size = equation.invars[0].aval.shape[axes[0]]
        self.lookups[Lookup(source, size, layout.leaves[0])] = None


def _last_axis(shape: Sequence[int]) -> tuple[int, ...]:
    return (len(shape) - 1,) if shape else ()


def _low(aval: Any) -> bool:
    return str(aval.dtype).startswith(("bfloat16", "float8"))


def _float_aval(aval: Any) -> bool:
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not hasattr(aval, "shape"):
        return False
    return _low(aval) or bool(
        isinstance(dtype, np.dtype) and np.issubdtype(dtype, np.inexact)
    )


def _is_float(equation: compat.Equation) -> bool:
    return any(_float_aval(v.aval) for v in equation.outvars)


def _has_program(equation: compat.Equation) -> bool:
    return compat.called_program(equation) is not None


def _varying_axes(
    equation: compat.Equation, operands: Sequence[Fact]
) -> tuple[int, ...]:
    """The axes of the result along which a parameter operand varies, if known."""
    out = equation.outvars[0].aval.shape
    for atom, fact in zip(equation.invars, operands, strict=True):
        shape = getattr(atom.aval, "shape", ())
        if fact.is_param and len(shape) == len(out) and fact.layout is not None:
            return tuple(
                i for i, a in enumerate(fact.layout.axes) if a and shape[i] > 1
            )
    return ()
