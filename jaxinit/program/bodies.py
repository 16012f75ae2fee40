"""Runs a loop, a branch or a program for each device anew, from its bodies.

What a body keeps of a step (its records) leaves the loop as one array, with a leading
axis for the steps where their number is known.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.program import versions
from jaxinit.program.plan import Probes, Records
from jaxinit.program.program import Node

Made = tuple[list[Any], Records]
Merge = Callable[[jax.Array, jax.Array], jax.Array]


class Run(Protocol):
    """Runs one of a node's bodies."""

    def __call__(self, which: int, values: Sequence[Any], probes: Probes) -> Made:
        """Its outputs, ``None`` for those that nobody wants, and its records."""


def run_bodies(
    node: Node, operands: Sequence[Any], probes: Probes, run: Run, merge: Merge
) -> Made:
    """Runs a node from its bodies.

    Args:
      node: the node.
      operands: what it reads.
      probes: for what is in the bodies, arrays with a leading axis for each loop of
        known length.
      run: runs one of the bodies.
      merge: joins the records of two steps of a loop of unknown length; it is first
        called with zeros as the earlier ones.
    """
    match node.kind:
        case "scan":
            return _scan(node, operands, probes, run)
        case "while":
            return _while(node, operands, run, merge)
        case "cond":
            return _cond(node, operands, probes, run)
        case "shards":
            return _shard_map(node, operands, probes, run)
        case "remat":
            again = jax.checkpoint(
                lambda values, probes: run(0, values, probes),
                policy=node.equation.params["policy"],
                prevent_cse=node.equation.params["prevent_cse"],
            )
            results, records = again(operands, probes)
            return list(results), records
    return run(0, operands, probes)


def _scan(node: Node, operands: Sequence[Any], probes: Probes, run: Run) -> Made:
    parts = versions.scan_parts(node.equation)
    split = parts.num_consts + parts.num_carry
    consts = operands[: parts.num_consts]

    def body(carry: Any, slices: Any) -> Any:
        scanned, step_probes = slices
        results, records = run(0, [*consts, *carry, *scanned], step_probes)
        return results[: parts.num_carry], (results[parts.num_carry :], records)

    start = [  # what no step reads is not carried on
        None if out is None else value
        for value, out in zip(
            operands[parts.num_consts : split], node.bodies[0].outputs, strict=False
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


def _while(node: Node, operands: Sequence[Any], run: Run, merge: Merge) -> Made:
    parts = versions.while_parts(node.equation)
    split = parts.num_condition_consts + parts.num_body_consts
    condition_consts = operands[: parts.num_condition_consts]
    body_consts = operands[parts.num_condition_consts : split]

    def step(carry: list[Any]) -> Made:
        return run(0, [*body_consts, *carry], {})

    def body(state: Made) -> Made:
        carry, earlier = state
        carry, later = step(carry)
        return carry, {tap: merge(earlier[tap], later[tap]) for tap in later}

    def condition(state: Made) -> Any:
        results, _ = run(1, [*condition_consts, *state[0]], {})
        return results[0]

    start = list(operands[split:])
    _, shapes = jax.eval_shape(step, start)
    empty = {tap: jnp.zeros(s.shape, s.dtype) for tap, s in shapes.items()}
    carry, records = lax.while_loop(condition, body, (start, empty))
    return list(carry), records


def _cond(node: Node, operands: Sequence[Any], probes: Probes, run: Run) -> Made:
    """A branch that does not run leaves records of zeros."""
    numbers = range(len(node.bodies))
    branches = [functools.partial(run, which, probes=probes) for which in numbers]
    index, *values = operands
    shapes: dict[Any, Any] = {}
    for branch in branches:
        shapes.update(jax.eval_shape(branch, values)[1])

    def padded(branch: Callable[..., Any]) -> Callable[..., Any]:
        def pad(values: list[Any]) -> Made:
            results, records = branch(values)
            empty = {tap: jnp.zeros(s.shape, s.dtype) for tap, s in shapes.items()}
            return results, {**empty, **records}

        return pad

    results, records = lax.switch(index, [padded(b) for b in branches], values)
    return list(results), records


def _shard_map(node: Node, operands: Sequence[Any], probes: Probes, run: Run) -> Made:
    """Records and probes get a leading axis over the devices."""
    parts = versions.shard_map_parts(node.equation)
    names = tuple(n for n in parts.mesh.axis_names if n in parts.manual_axes)
    spread = jax.sharding.PartitionSpec(names)

    def body(values: tuple[Any, ...], probes: Probes) -> Any:
        own = {number: probe[0] for number, probe in probes.items()}
        results, records = run(0, values, own)
        spread_out = {
            tap: versions.vary(record, names)[None] for tap, record in records.items()
        }
        return tuple(results), spread_out

    out_specs = tuple(
        None if out is None else spec
        for out, spec in zip(node.bodies[0].outputs, parts.out_specs, strict=True)
    )
    on_each = jax.shard_map(
        body,
        mesh=parts.mesh,
        in_specs=(parts.in_specs, spread),
        out_specs=(out_specs, spread),
        axis_names=parts.manual_axes,
        check_vma=parts.check_vma,
    )
    results, records = on_each(tuple(operands), probes)
    return list(results), records
