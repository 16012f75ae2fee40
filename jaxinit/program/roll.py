"""Runs a block that repeats as a loop over its times."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.program.plan import Probes, Records
from jaxinit.program.program import Node
from jaxinit.program.repeats import Carried, Inside, Outside, Repeat, Stacked

Step = Callable[[Node, list[Any], Probes], tuple[list[Any], Records]]
"""Runs one node, with what is to be done at its results."""


def roll(
    repeat: Repeat, operands: Sequence[Any], probes: Probes, step: Step
) -> tuple[list[Any], Records]:
    """Runs a repeat.

    Args:
      repeat: the repeat.
      operands: what it reads, in the order of ``Rolled``.
      probes: those of the first block's taps, each with a leading axis over the times.
      step: runs one node.

    Returns:
      What it gives, in the order of ``Rolled``; and the records of the first block's
      taps, each with a leading axis over the times.
    """
    given = iter(operands)
    start = [next(given) for _ in repeat.carried]
    stacks = [jnp.stack([next(given) for _ in each]) for each in repeat.stacked]
    outside = list(given)
    last = repeat.times - 1
    carried = [inside for inside, _ in repeat.carried]
    wanted = [
        inside
        for inside, later in repeat.kept
        if inside not in carried or any(time != last for time, _ in later)
    ]

    def body(carry: list[Any], slices: Any) -> Any:
        stacked, step_probes = slices
        results, records = _block(
            repeat,
            (carry, stacked, outside),
            lambda node, operands: step(node, operands, step_probes),
        )
        carry, kept = ([results[i][j] for i, j in made] for made in (carried, wanted))
        return carry, (kept, records)

    carry, (kept, records) = lax.scan(
        jax.checkpoint(body, policy=_products, prevent_cse=False),
        start,
        (stacks, probes),
        length=repeat.times,
    )
    values = [
        carry[carried.index(inside)]
        if inside in carried and time == last
        else kept[wanted.index(inside)][time]
        for inside, later in repeat.kept
        for time, _ in later
    ]
    return values, records


def _block(
    repeat: Repeat,
    given: tuple[Sequence[Any], Sequence[Any], Sequence[Any]],
    step: Callable[[Node, list[Any]], tuple[list[Any], Records]],
) -> tuple[list[list[Any]], Records]:
    """One time: the results of each node, and the records.

    What is given is what the block before carried over, what differs from time to
    time, and what stays the same.
    """
    carry, stacked, outside = given
    results: list[list[Any]] = []
    records: Records = {}

    def value(operand: Inside | Carried | Stacked | Outside) -> Any:
        match operand:
            case Inside(number, result):
                return results[number][result]
            case Carried(place):
                return carry[place]
            case Stacked(place):
                return stacked[place]
            case Outside(place):
                return outside[place]

    for node, row in zip(repeat.block, repeat.operands, strict=True):
        made, found = step(node, list(map(value, row)))
        results.append(made)
        records.update(found)
    return results, records


def _products(primitive: Any, *_: Any, **__: Any) -> bool:
    """What a gradient keeps of each block; all else is computed anew.

    To write every value of every block into a stack and to read it again took half as
    long as the whole gradient of a GPT on CPU; to compute them anew takes a fifteenth.
    """
    return str(primitive.name) in ("dot_general", "conv_general_dilated")
