"""Runs a model's program again with a hand on the values that matter.

Only equations on the way to a tapped value are opened; all others run as they are. So
an instrumented program returns what the plain one returns.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.program import versions
from jaxinit.program.paths import Location
from jaxinit.program.plan import Hooks, Plan, Probes, Records, Tap
from jaxinit.program.program import Constant, Node, Region
from jaxinit.program.read import read
from jaxinit.program.repeats import Rolled
from jaxinit.program.roll import roll

Array = jax.Array


def sees(program: Region, first: Location, second: Location) -> bool:
    """Whether a value made at ``first`` during a replay may be used at ``second``.

    Calls are opened in place; a loop, a branch or a checkpoint keeps its values.
    """
    kept: tuple[tuple[int, int], ...] = ()
    for depth, (index, which) in enumerate(first.path, 1):
        node = next(n for n in program.nodes if n.at.equation == index)
        if node.kind not in ("call", "rule"):
            kept = first.path[:depth]
        program = node.bodies[which]
    return second.path[: len(kept)] == kept


def replay(
    program: Region,
    values: Sequence[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """Evaluates ``program`` with hooks at the taps of ``plan``.

    Args:
      program: the program, with repeats as one node each or without; the taps of a
        repeat's times must be alike.
      values: its inputs.
      plan: where the taps are.
      hooks: what to do there.
      probes: for each tapped event an array with one leading axis for each loop of
        known length around it; inside, its entry for the step goes to the hooks.

    Returns:
      The program's outputs, ``None`` for one that is not wanted; and the records by
      tap, with the same leading axes; those of a repeat under a tuple of taps, with
      one more in front.
    """
    run = _Run(plan, hooks, probes)
    outputs = read(program, values, run)
    for position, operand in enumerate(program.outputs):
        if isinstance(operand, Constant) and operand.literal:  # no array yet
            outputs[position] = jnp.asarray(operand.value, operand.aval.dtype)
    return outputs, run.records


class _Run:
    """The values themselves, with what is to be done at some; keeps the records."""

    def __init__(self, plan: Plan, hooks: Hooks, probes: Probes) -> None:
        self._plan, self._hooks, self._probes = plan, hooks, probes
        self.records: Records = {}

    def constant(self, constant: Constant | None) -> Any:
        return None if constant is None else versions.as_traced(constant.value)

    def node(self, node: Node, operands: list[Any]) -> Sequence[Any]:
        how = self._plan, self._hooks, self._probes
        if isinstance(node, Rolled):
            results, found = _repeat(node, operands, *how)
        else:
            results, found = _step(node, operands, *how)
        self.records.update(found)
        return results


def _step(
    node: Node, operands: list[Any], plan: Plan, hooks: Hooks, probes: Probes
) -> tuple[list[Any], Records]:
    """One node of a program, with what is to be done at its results."""
    records: Records = {}
    inner = plan.inner.get(node.at.equation)
    if inner is None:
        results = versions.bind(node.equation, operands)
    else:
        results, found = _open(node, operands, inner, hooks, probes)
        records.update(found)
    for position, tap in plan.taps.get(node.at.equation, ()):
        value = results[position]
        if tap.point == "operands":
            value = (*operands, value)
        records[tap] = hooks.record(tap, value)
        probe = probes.get(tap.number) if tap.point != "activation" else None
        results[position] = hooks.passes(tap, value, probe)
    return results, records


def _open(
    node: Node,
    operands: list[Any],
    plans: dict[int, Plan],
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """Runs a node whose bodies hold taps."""
    wanted = {tap.number for plan in plans.values() for tap in plan.all_taps}
    mine = {number: probes[number] for number in sorted(wanted) if number in probes}
    match node.kind:
        case "scan":
            return _scan(node, operands, plans[0], hooks, mine)
        case "while":
            return _while(node, operands, plans[0], hooks)
        case "cond":
            return _cond(node, operands, plans, hooks, mine)
        case "shards":
            return _shard_map(node, operands, plans[0], hooks, mine)
    (body,) = node.bodies
    if node.kind == "remat":
        run = jax.checkpoint(
            lambda values, probes: replay(body, values, plans[0], hooks, probes),
            policy=node.equation.params["policy"],
            prevent_cse=node.equation.params["prevent_cse"],
        )
        results, records = run(operands, mine)
        return list(results), records
    return replay(body, operands, plans[0], hooks, mine)


def _scan(
    node: Node,
    operands: list[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    parts = versions.scan_parts(node.equation)
    (inner,) = node.bodies
    split = parts.num_consts + parts.num_carry
    consts = operands[: parts.num_consts]

    def body(carry: Any, slices: Any) -> Any:
        scanned, step_probes = slices
        results, records = replay(
            inner, [*consts, *carry, *scanned], plan, hooks, step_probes
        )
        return results[: parts.num_carry], (results[parts.num_carry :], records)

    start = [  # what no step reads is not carried on
        None if out is None else value
        for value, out in zip(
            operands[parts.num_consts : split], inner.outputs, strict=False
        )
    ]
    carry, (stacked, records) = lax.scan(
        body,
        start,
        (operands[split:], probes),
        length=parts.length,
        reverse=parts.reverse,
        unroll=parts.unroll,
    )
    return [*carry, *stacked], records


def _while(
    node: Node, operands: list[Any], plan: Plan, hooks: Hooks
) -> tuple[list[Any], Records]:
    parts = versions.while_parts(node.equation)
    inner, asked = node.bodies
    split = parts.num_condition_consts + parts.num_body_consts
    condition_consts = operands[: parts.num_condition_consts]
    body_consts = operands[parts.num_condition_consts : split]

    def step(carry: list[Any]) -> tuple[list[Any], Records]:
        return replay(inner, [*body_consts, *carry], plan, hooks, {})

    def body(state: tuple[list[Any], Records]) -> tuple[list[Any], Records]:
        carry, earlier = state
        carry, later = step(carry)
        return carry, {tap: hooks.merge(earlier[tap], later[tap]) for tap in later}

    def condition(state: tuple[list[Any], Records]) -> Array:
        values = [*condition_consts, *state[0]]
        results, _ = replay(asked, values, Plan(), hooks, {})
        go_on: Array = results[0]
        return go_on

    start = operands[split:]
    _, shapes = jax.eval_shape(step, start)
    empty = {tap: jnp.zeros(s.shape, s.dtype) for tap, s in shapes.items()}
    carry, records = lax.while_loop(condition, body, (start, empty))
    return list(carry), records


def _cond(
    node: Node,
    operands: list[Any],
    plans: dict[int, Plan],
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """A branch that does not run leaves records of zeros."""

    def runner(number: int, branch: Region) -> Callable[..., Any]:
        plan = plans.get(number, Plan())
        return lambda values: replay(branch, values, plan, hooks, probes)

    branches = [runner(number, branch) for number, branch in enumerate(node.bodies)]
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
    node: Node,
    operands: list[Any],
    plan: Plan,
    hooks: Hooks,
    probes: Probes,
) -> tuple[list[Any], Records]:
    """Records and probes get a leading axis over the devices."""
    parts = versions.shard_map_parts(node.equation)
    (inner,) = node.bodies
    names = tuple(n for n in parts.mesh.axis_names if n in parts.manual_axes)
    spread = jax.sharding.PartitionSpec(names)

    def body(values: tuple[Any, ...], probes: Probes) -> Any:
        own = {number: probe[0] for number, probe in probes.items()}
        results, records = replay(inner, values, plan, hooks, own)
        spread_out = {
            tap: versions.vary(record, names)[None] for tap, record in records.items()
        }
        return tuple(results), spread_out

    out_specs = tuple(
        None if out is None else spec
        for out, spec in zip(inner.outputs, parts.out_specs, strict=True)
    )
    run = jax.shard_map(
        body,
        mesh=parts.mesh,
        in_specs=(parts.in_specs, spread),
        out_specs=(out_specs, spread),
        axis_names=parts.manual_axes,
        check_vma=parts.check_vma,
    )
    results, records = run(tuple(operands), probes)
    return list(results), records


def _repeat(
    node: Rolled, operands: list[Any], plan: Plan, hooks: Hooks, probes: Probes
) -> tuple[list[Any], Records]:
    """The records of all times are one array with a leading axis, under all their taps.

    Probes come alike, under all their numbers.
    """
    together = plan.columns(node.repeat)
    own = {}
    for column in together:
        numbers = tuple(tap.number for tap in column)
        if column[0].point == "output" and numbers in probes:
            own[column[0].number] = probes[numbers]
    results, records = roll(
        node.repeat,
        operands,
        own,
        lambda node, operands, probes: _step(node, operands, plan, hooks, probes),
    )
    return results, {column: records[column[0]] for column in together}
