"""Runs a model's program again with a hand on the values that matter.

Only equations on the way to a tapped value are opened; all others run as they are. So
an instrumented program returns what the plain one returns.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.program import versions
from jaxinit.program.bodies import run_bodies
from jaxinit.program.paths import Location
from jaxinit.program.plan import Hooks, Plan, Probes, Records
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

    def run(which: int, values: Sequence[Any], probes: Probes) -> Any:
        plan = plans.get(which, Plan())
        return replay(node.bodies[which], values, plan, hooks, probes)

    return run_bodies(node, operands, mine, run, hooks.merge)


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
