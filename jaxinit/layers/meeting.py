"""Where parameters meet data: which equations start a layer, which belong to one."""

import math
from collections.abc import Sequence
from dataclasses import replace

from jaxinit.layers import facts
from jaxinit.layers import fans as weights
from jaxinit.layers.event import Lookup, Loop, Place, Use
from jaxinit.layers.factors import Chain
from jaxinit.layers.facts import Fact
from jaxinit.layers.ledger import Ledger, last_axis
from jaxinit.layers.values import ADDS
from jaxinit.program import primitives, versions
from jaxinit.program.paths import Location


def meeting(
    ledger: Ledger,
    equation: versions.Equation,
    operands: Sequence[Fact],
    place: Place,
    summed: tuple[int, ...] = (),
) -> list[Fact]:
    """Reads an equation that combines parameters and data.

    It starts a layer, unless it has no weight and works elementwise on what a layer
    with parameters from the same folder gives: then it belongs to that layer.
    ``summed`` are axes of a product that are summed over at once.
    """
    data = [f for f in operands if f.data]
    leaves = facts.union([f for f in operands if f.is_param]).params
    ledger.reached |= leaves
    found: list[Use] = []
    channels: tuple[int, ...] | None = None
    table = _table(equation, operands)
    operands = [_settled(ledger, equation, i, f) for i, f in enumerate(operands)]
    for position, fact in enumerate(operands):
        if fact.is_param:
            role = weights.roles(equation, position)
            if role is not None and position == table:
                role = weights.looked_up(role)
            if role is None and fact.spectrum > 1:
                role = weights.convolving(equation)
            if role is None and summed and len(data) == 1 and not data[0].rooted:
                spread = data[0].spread
                role = weights.summing(equation, position, fact.layout, spread, summed)
            if role is not None:
                channels = role.channels
            whole = _transformed(fact, role)
            if whole is not None:
                found.append(whole)
                continue
            chain = _facing(equation, position, fact, role)
            found += [] if chain is None else _one_behind_another(chain)
            if role is not None and role.is_weight:
                if chain is None or fact.layout is not None:
                    found += weights.uses(equation, position, fact, role, ledger.shards)
    _note_lookup(ledger, equation, operands, table)
    name = equation.primitive.name
    if not found and name in primitives.ELEMENTWISE | {"concatenate"}:
        host = _host(ledger, operands, leaves, place.loops)
        if host is not None:
            return [_extend(ledger, host, equation, operands, leaves, place.at)]
    elif not found and versions.called_program(equation) is not None:
        ledger.opaque[versions.call_name(equation) or name] = None
    if channels is None:
        channels = _varying_axes(equation, operands)[-1:]
        channels = channels or last_axis(equation.outvars[0].aval.shape)
    # What comes from inputs alone, as masks do, may hold numbers that stand for none.
    masked = name in ADDS and any(
        f.masked or (f.data and not ledger.behind_a_layer(f.up)) for f in operands
    )
    result = ledger.add(
        "layer",
        equation,
        data,
        place,
        params=tuple(dict.fromkeys([*(u.leaf for u in found), *sorted(leaves)])),
        uses=tuple(found),
        channels=channels,
        operation=None if table is None else "gather",
        masked=masked,
    )
    result = result._replace(masked=masked)
    if name == "mul" and all(f.statistic for f in data):
        result = result._replace(statistic=True, scales=result.of)
    if len(equation.outvars) == 1:
        return [result]
    return [
        result if primitives.is_float(v.aval) else facts.union(data)
        for v in equation.outvars
    ]


def applied_statistic(
    ledger: Ledger,
    equation: versions.Equation,
    operands: Sequence[Fact],
    place: Place,
) -> Fact | None:
    """A norm's gain was multiplied into 1/std; here the product meets the data."""
    for fact in operands:
        number = fact.scales
        if number is not None and ledger.events[number].loops == place.loops:
            return _extend(ledger, number, equation, operands, frozenset(), place.at)
    return None


def summed_up(
    ledger: Ledger, number: int, equation: versions.Equation, at: Location
) -> Fact | None:
    """The output of a layer that multiplies, and then sums over its weight's inputs."""
    layer = ledger.events[number]
    if layer.operation != "mul" or not layer.uses or layer.at != layer.start:
        return None
    summed = equation.params["axes"]
    channels = tuple(
        axis - sum(gone < axis for gone in summed)
        for axis in layer.channels
        if axis not in summed
    )
    fact = _extend(ledger, number, equation, [], frozenset(), at)
    ledger.events[number] = replace(ledger.events[number], channels=channels)
    return fact


def moved_on(
    ledger: Ledger, number: int, equation: versions.Equation, at: Location
) -> Fact:
    """A product that was summed over devices is the layer's output only now."""
    fact = _extend(ledger, number, equation, [], frozenset(), at)
    names = [str(name) for name in equation.params.get("axes", ())]
    copies = math.prod(ledger.devices.get(name, 1) for name in names)
    ledger.events[number] = replace(ledger.events[number], copies=copies)
    return fact


def _host(
    ledger: Ledger,
    operands: Sequence[Fact],
    leaves: frozenset[int],
    loops: tuple[Loop, ...],
) -> int | None:
    """The layer that a bias, a shift or another use of the same gain belongs to."""
    folders = {ledger.folders[leaf] for leaf in leaves}
    for fact in operands:
        if not fact.data:
            continue
        if fact.of is not None:
            layer = ledger.events[fact.of]
            mine = {ledger.folders[leaf] for leaf in layer.params}
            if layer.kind == "layer" and layer.loops == loops and mine & folders:
                return fact.of
        if fact.unary is None:
            for number in fact.up:
                layer = ledger.events[number]
                if (
                    layer.kind == "layer"
                    and not layer.uses
                    and layer.loops == loops
                    and leaves <= set(layer.params)
                ):
                    return number
    return None


def _extend(
    ledger: Ledger,
    number: int,
    equation: versions.Equation,
    operands: Sequence[Fact],
    leaves: frozenset[int],
    at: Location,
) -> Fact:
    """Moves a layer's output on to ``equation``.

    Its axes may have been moved since the layer's first equation; a bias tells
    where the channels are now.
    """
    layer = ledger.events[number]
    out = equation.outvars[0].aval
    channels = layer.channels
    varying = _varying_axes(equation, operands)
    count = math.prod(layer.shape[axis] for axis in channels)
    if varying and math.prod(out.shape[axis] for axis in varying) == count:
        channels = varying
    elif len(out.shape) != len(layer.shape):
        channels = last_axis(out.shape)
    ledger.events[number] = replace(
        layer,
        at=at,
        params=tuple(dict.fromkeys([*layer.params, *sorted(leaves)])),
        shape=tuple(out.shape),
        dtype=str(out.dtype),
        channels=channels,
        activation=None,
    )
    return Fact(data=True, up=frozenset({number}), of=number)


def _note_lookup(
    ledger: Ledger,
    equation: versions.Equation,
    operands: Sequence[Fact],
    table: int | None,
) -> None:
    """Notes a table that is read at integers of an input."""
    if table is not None:
        found, layout = operands[1 - table].one_hot, operands[table].layout
        if found is not None and found >= 0 and layout is not None:
            (axis,) = equation.params["dimension_numbers"][0][table]
            size = equation.invars[table].aval.shape[axis]
            ledger.lookups[Lookup(found, size, layout.leaves[0])] = None
        return
    if equation.primitive.name != "gather" or not operands[0].is_param:
        return
    source, layout = operands[1].source, operands[0].layout
    axes = equation.params["dimension_numbers"].start_index_map
    if source is None or layout is None or len(axes) != 1:
        return
    size = equation.invars[0].aval.shape[axes[0]]
    ledger.lookups[Lookup(source, size, layout.leaves[0])] = None


def _settled(
    ledger: Ledger, equation: versions.Equation, position: int, fact: Fact
) -> Fact:
    """Notes learned data by how a kernel times them meets other data.

    What sums over the kernel's outputs, or adds to them, takes the product for data.
    """
    if not fact.is_param or not fact.latents:
        return fact
    role = weights.roles(equation, position)
    axes = () if fact.layout is None else fact.layout.axes
    if role is None:
        taken = equation.primitive.name in ("add", "sub", "add_any", "mul")
    else:
        taken = bool(role.inputs) and all(axes[i] for i in role.inputs if axes)
    if taken and axes:
        ledger.latents |= fact.latents
        fact = fact._replace(chain=None)
    return fact._replace(layout=None)


def _facing(
    equation: versions.Equation,
    position: int,
    fact: Fact,
    role: weights.Roles | None,
) -> Chain | None:
    """The kernels whose product data meet, those first that face the data."""
    if fact.chain is None or (role is None and equation.primitive.name != "mul"):
        return None
    rank = len(equation.invars[position].aval.shape)
    return fact.chain.facing(None if role is None else role.inputs, rank)


def _transformed(fact: Fact, role: weights.Roles | None) -> Use | None:
    """How data meet a kernel one axis of which a constant has mixed.

    Where that axis is one of the data's as well, each output sums over all of it, as
    in a convolution over a group; where it is the kernel's alone, it is like others.
    """
    found = None if fact.chain is None else fact.chain.transform
    if found is None or role is None or not role.is_weight:
        return None
    into, out, both = (
        {axis for i in axes for axis in found.layout.axes[i]}
        for axes in (role.inputs, role.outputs, role.batch)
    )
    points = {found.axis} & (both | (into & out))
    fan_in, fan_out = (
        math.prod(found.sizes[axis] for axis in axes | points) for axes in (into, out)
    )
    inner, outer, batch = (tuple(sorted(side - points)) for side in (into, out, both))
    batch = (*found.layout.scanned, *batch)
    return Use(found.layout.leaves[0], fan_in, fan_out, inner, outer, batch)


def _one_behind_another(chain: Chain) -> list[Use]:
    """How data that come to a chain's near end use its kernels."""
    return [
        Use(f.leaf, *f.sizes, f.near, f.far, f.scanned, behind=number > 0)
        for number, f in enumerate(chain.factors)
    ]


def _table(equation: versions.Equation, operands: Sequence[Fact]) -> int | None:
    """The operand that is a table, read by a product with ones at the rows wanted."""
    if equation.primitive.name != "dot_general":
        return None
    contracting = equation.params["dimension_numbers"][0]
    for position, fact in enumerate(operands):
        other = operands[1 - position]
        if fact.is_param and other.one_hot is not None:
            if len(contracting[position]) == 1:
                return position
    return None


def _varying_axes(
    equation: versions.Equation, operands: Sequence[Fact]
) -> tuple[int, ...]:
    """The axes of the result along which a parameter operand varies, if known."""
    out = equation.outvars[0].aval.shape
    for atom, fact in zip(equation.invars, operands, strict=False):
        shape = getattr(atom.aval, "shape", ())
        if fact.is_param and len(shape) == len(out) and fact.layout is not None:
            return tuple(
                i for i, a in enumerate(fact.layout.axes) if a and shape[i] > 1
            )
    return ()
