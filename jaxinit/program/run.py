"""Runs a model's program again with a hand on the values that matter.

Only equations on the way to a tapped value are opened; all others run as they are. So
an instrumented program returns what the plain one returns.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.program import versions
from jaxinit.program.paths import Location
from jaxinit.program.repeats import (
    Carried,
    Inside,
    Operand,
    Outside,
    Repeat,
    Stacked,
)

Array = jax.Array


class Tap(NamedTuple):
    """One thing to do at one value: ``number`` is the event's, ``point`` is where."""

    number: int
    point: Literal["output", "activation"]


class Hooks(NamedTuple):
    """What to do at the taps.

    Attributes:
      record: ``(tap, value) -> array``, a small summary that the replay returns.
      passes: ``(tap, value, probe) -> value``, what goes on in place of the value;
        ``probe`` is this event's entry of the replay's probes, or ``None``; always
        ``None`` behind an activation.
      merge: ``(earlier, later) -> array``, joins the records of two steps of a loop
        of unknown length; it is first called with zeros as ``earlier``.
    """

    record: Callable[[Tap, Array], Array]
    passes: Callable[[Tap, Array, Array | None], Array]
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
    def places(self) -> list[int]:
        """The equations at which something is to be done."""
        return sorted({*self.taps, *self.inner})

    @property
    def all_taps(self) -> list[Tap]:
        here = [tap for taps in self.taps.values() for _, tap in taps]
        for programs in self.inner.values():
            for plan in programs.values():
                here += plan.all_taps
        return here


def sees(program: versions.Program, first: Location, second: Location) -> bool:
    """Whether a value made at ``first`` during a replay may be used at ``second``.

    Calls are opened in place; a loop, a branch or a checkpoint keeps its values.
    """
    kept: tuple[tuple[int, int], ...] = ()
    for depth, (index, which) in enumerate(first.path, 1):
        equation = program.jaxpr.eqns[index]
        inner = _inner_programs(equation)[which]
        calls = versions.TRANSPARENT_CALLS | versions.CUSTOM_RULES
        if equation.primitive.name not in calls:
            kept = first.path[:depth]
        program = inner
    return second.path[: len(kept)] == kept


def _inner_programs(equation: versions.Equation) -> tuple[versions.Program, ...]:
    match equation.primitive.name:
        case "scan":
            return (versions.scan_parts(equation).body,)
        case "while":
            return (versions.while_parts(equation).body,)
        case "cond":
            return versions.branch_programs(equation)
        case "shard_map":
            return (versions.shard_map_parts(equation).body,)
    inner = versions.called_program(equation)
    assert inner is not None
    return (inner,)


Probes = dict[Any, Array]
Records = dict[Any, Array]


def replay(
    program: versions.Program,
    values: Sequence[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
    repeats: Sequence[Repeat] = (),
) -> tuple[list[Any], Records]:
    """Evaluates ``program`` with hooks at the taps of ``plan``.

    Args:
      program: the program.
      values: its inputs.
      plan: where the taps are.
      hooks: what to do there.
      probes: for each tapped event an array with one leading axis for each loop of
        known length around it; inside, its entry for the step goes to the hooks.
      repeats: blocks to run as loops; their taps must be alike.

    Returns:
      The program's outputs, and the records by tap, with the same leading axes; those
      of a repeat under a tuple of taps, with one more in front.
    """
    known: dict[Any, Any] = dict(
        zip(program.jaxpr.constvars, program.consts, strict=True)
    )
    known.update(zip(program.jaxpr.invars, values, strict=True))
    records: Records = {}

    def read(atom: Any) -> Any:
        return (
            versions.literal(atom)
            if isinstance(atom, versions.Literal)
            else known[atom]
        )

    starts = {repeat.start: repeat for repeat in repeats}
    index = 0
    while index < len(program.jaxpr.eqns):
        if index in starts:
            repeat = starts[index]
            made, found = _rolled(program, repeat, read, plan, hooks, probes)
            known.update(made)
            records.update(found)
            index = repeat.stop
            continue
        equation = program.jaxpr.eqns[index]
        operands = [read(atom) for atom in equation.invars]
        results, found = _step(equation, operands, index, plan, hooks, probes)
        records.update(found)
        known.update(zip(equation.outvars, results, strict=True))
        index += 1
    return [read(atom) for atom in program.jaxpr.outvars], records


def _step(
    equation: versions.Equation,
    operands: list[Any],
    index: int,
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """One equation of a program, with what is to be done at its results."""
    records: Records = {}
    inner = plan.inner.get(index)
    if inner is None:
        results = versions.bind(equation, operands)
    else:
        results, found = _open(equation, operands, inner, hooks, probes)
        records.update(found)
    for position, tap in plan.taps.get(index, ()):
        records[tap] = hooks.record(tap, results[position])
        probe = probes.get(tap.number) if tap.point == "output" else None
        results[position] = hooks.passes(tap, results[position], probe)
    return results, records


def mark(plan: Plan, index: int, kind: Callable[[int], Hashable]) -> Hashable:
    """What is done at an equation, up to which events it is done for.

    Args:
      plan: where the taps are.
      index: the equation.
      kind: what of an event must be equal.
    """
    taps = tuple(
        (position, tap.point, kind(tap.number))
        for position, tap in plan.taps.get(index, ())
    )
    inner = tuple(
        (which, tuple((i, mark(p, i, kind)) for i in p.places))
        for which, p in sorted(plan.inner.get(index, {}).items())
    )
    return taps, inner


def _taps_at(plan: Plan, index: int) -> list[Tap]:
    """The taps of an equation and of the programs in it, alike for alike plans."""
    found = [tap for _, tap in plan.taps.get(index, ())]
    for _, inner in sorted(plan.inner.get(index, {}).items()):
        for i in inner.places:
            found += _taps_at(inner, i)
    return found


def columns(plan: Plan, repeat: Repeat) -> list[tuple[Tap, ...]]:
    """The taps of a repeat, each as the taps of all times."""
    taps = [
        [tap for i in range(start, start + repeat.period) for tap in _taps_at(plan, i)]
        for start in range(repeat.start, repeat.stop, repeat.period)
    ]
    return list(zip(*taps, strict=True))


def _rolled(
    program: versions.Program,
    repeat: Repeat,
    read: Callable[[Any], Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[dict[Any, Any], Records]:
    """Runs a repeat as a loop; what is read behind it, and the records.

    Those of all times are one array with a leading axis, under all their taps; probes
    come alike, under all their numbers.
    """
    block = range(repeat.start, repeat.start + repeat.period)
    together = columns(plan, repeat)
    own = {}
    for column in together:
        numbers = tuple(tap.number for tap in column)
        if column[0].point == "output" and numbers in probes:
            own[column[0].number] = probes[numbers]

    def body(carry: list[Any], slices: Any) -> Any:
        stacked, step_probes = slices
        results: list[list[Any]] = []
        records: Records = {}

        def value(operand: Operand) -> Any:
            match operand:
                case Inside(equation, result):
                    return results[equation][result]
                case Carried(place):
                    return carry[place]
                case Stacked(place):
                    return stacked[place]
                case Outside(atom):
                    return read(atom)

        for index, row in zip(block, repeat.operands, strict=True):
            operands = [value(operand) for operand in row]
            equation = program.jaxpr.eqns[index]
            made, found = _step(equation, operands, index, plan, hooks, step_probes)
            results.append(made)
            records.update(found)
        kept = [value(inside) for inside, _ in stacks]
        return [value(inside) for inside, _ in repeat.carried], (kept, records)

    last = repeat.times - 1
    carried = [inside for inside, _ in repeat.carried]
    stacks = [
        (inside, read_later)
        for inside, read_later in repeat.kept
        if inside not in carried or any(time != last for time, _ in read_later)
    ]
    carry, (kept, records) = lax.scan(
        jax.checkpoint(body, policy=_products, prevent_cse=False),
        [read(atom) for _, atom in repeat.carried],
        ([jnp.stack([read(a) for a in atoms]) for atoms in repeat.stacked], own),
        length=repeat.times,
    )
    values: dict[Any, Any] = {}
    for inside, read_later in repeat.kept:
        for time, var in read_later:
            if inside in carried and time == last:
                values[var] = carry[carried.index(inside)]
    for (_, read_later), stack in zip(stacks, kept, strict=True):
        values.update({var: stack[time] for time, var in read_later})
    return values, {column: records[column[0]] for column in together}


def _products(primitive: Any, *_: Any, **__: Any) -> bool:
    """What a gradient keeps of each block; all else is computed anew.

    To write every value of every block into a stack and to read it again took half as
    long as the whole gradient of a GPT on CPU; to compute them anew takes a fifteenth.
    """
    return str(primitive.name) in ("dot_general", "conv_general_dilated")


def _open(
    equation: versions.Equation,
    operands: list[Any],
    plans: dict[int, Plan],
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """Runs an equation whose programs hold taps."""
    wanted = {tap.number for plan in plans.values() for tap in plan.all_taps}
    mine = {number: probes[number] for number in sorted(wanted) if number in probes}
    match equation.primitive.name:
        case "scan":
            return _scan(equation, operands, plans[0], hooks, mine)
        case "while":
            return _while(equation, operands, plans[0], hooks)
        case "cond":
            return _cond(equation, operands, plans, hooks, mine)
        case "shard_map":
            return _shard_map(equation, operands, plans[0], hooks, mine)
    inner = versions.called_program(equation)
    assert inner is not None
    if equation.primitive.name in versions.REMAT_CALLS:
        run = jax.checkpoint(
            lambda values, probes: replay(inner, values, plans[0], hooks, probes),
            policy=equation.params["policy"],
            prevent_cse=equation.params["prevent_cse"],
        )
        results, records = run(operands, mine)
        return list(results), records
    return replay(inner, operands, plans[0], hooks, mine)


def _scan(
    equation: versions.Equation,
    operands: list[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    parts = versions.scan_parts(equation)
    split = parts.num_consts + parts.num_carry
    consts = operands[: parts.num_consts]

    def body(carry: Any, slices: Any) -> Any:
        scanned, step_probes = slices
        results, records = replay(
            parts.body, [*consts, *carry, *scanned], plan, hooks, step_probes
        )
        return results[: parts.num_carry], (results[parts.num_carry :], records)

    carry, (stacked, records) = lax.scan(
        body,
        operands[parts.num_consts : split],
        (operands[split:], probes),
        length=parts.length,
        reverse=parts.reverse,
        unroll=parts.unroll,
    )
    return [*carry, *stacked], records


def _while(
    equation: versions.Equation, operands: list[Any], plan: Plan, hooks: Hooks
) -> tuple[list[Any], Records]:
    parts = versions.while_parts(equation)
    split = parts.num_condition_consts + parts.num_body_consts
    condition_consts = operands[: parts.num_condition_consts]
    body_consts = operands[parts.num_condition_consts : split]

    def step(carry: list[Any]) -> tuple[list[Any], Records]:
        return replay(parts.body, [*body_consts, *carry], plan, hooks, {})

    def body(state: tuple[list[Any], Records]) -> tuple[list[Any], Records]:
        carry, earlier = state
        carry, later = step(carry)
        return carry, {tap: hooks.merge(earlier[tap], later[tap]) for tap in later}

    def condition(state: tuple[list[Any], Records]) -> Array:
        values = [*condition_consts, *state[0]]
        results, _ = replay(parts.condition, values, Plan(), hooks, {})
        go_on: Array = results[0]
        return go_on

    start = operands[split:]
    _, shapes = jax.eval_shape(step, start)
    empty = {tap: jnp.zeros(s.shape, s.dtype) for tap, s in shapes.items()}
    carry, records = lax.while_loop(condition, body, (start, empty))
    return list(carry), records


def _cond(
    equation: versions.Equation,
    operands: list[Any],
    plans: dict[int, Plan],
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """A branch that does not run leaves records of zeros."""

    def runner(number: int, branch: versions.Program) -> Callable[..., Any]:
        plan = plans.get(number, Plan())
        return lambda values: replay(branch, values, plan, hooks, probes)

    branches = [
        runner(number, branch)
        for number, branch in enumerate(versions.branch_programs(equation))
    ]
    index, *values = operands
    shapes: dict[Tap, Any] = {}
    for branch in branches:
        shapes.update(jax.eval_shape(branch, values)[1])

    def padded(branch: Callable[..., Any]) -> Callable[..., Any]:
        def run(values: list[Any]) -> tuple[list[Any], Records]:
            results, records = branch(values)
            empty = {tap: jnp.zeros(s.shape, s.dtype) for tap, s in shapes.items()}
            return results, {**empty, **records}

        return run

    results, records = lax.switch(index, [padded(b) for b in branches], values)
    return list(results), records


def _shard_map(
    equation: versions.Equation,
    operands: list[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """Records and probes get a leading axis over the devices."""
    parts = versions.shard_map_parts(equation)
    names = tuple(n for n in parts.mesh.axis_names if n in parts.manual_axes)
    spread = jax.sharding.PartitionSpec(names)

    def body(values: tuple[Any, ...], probes: Probes) -> Any:
        own = {number: probe[0] for number, probe in probes.items()}
        results, records = replay(parts.body, values, plan, hooks, own)
        spread_out = {
            tap: versions.vary(record, names)[None] for tap, record in records.items()
        }
        return tuple(results), spread_out

    run = jax.shard_map(
        body,
        mesh=parts.mesh,
        in_specs=(parts.in_specs, spread),
        out_specs=(parts.out_specs, spread),
        axis_names=parts.manual_axes,
        check_vma=parts.check_vma,
    )
    results, records = run(tuple(operands), probes)
    return list(results), records
