"""What a recurrence remembers at its last step of each step before.

Where every step is read out, the gradient at a step is that of its own output, and a
profile over time does not tell how far the recurrence itself reaches. The last step's
values do: their gradient with respect to those of each step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program.flow import CARRY, SLICE, STACK, Flow, Node
from jaxinit.program.paths import Path
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.signal.between import names_of

Array = jax.Array

Recall = Callable[[Sequence[Array], Array, Sequence[Array]], list[Array]]


class Remembering(NamedTuple):
    """A layer inside a recurrence of which each step is read out.

    Attributes:
      number: of its event.
      row: its name.
      reverse: whether the recurrence starts with the last step.
      again: whether each step takes the same data. What iterates forgets where it
        started, and need not remember.
    """

    number: int
    row: str
    reverse: bool
    again: bool


def find_remembering(network: Network) -> list[Remembering]:
    """The layers of recurrences that hand out all steps, or see the same data."""
    flow = network.anchors.flow
    stacked = {
        _inside(node)
        for node in flow.nodes
        if node.primitive == STACK
        and any(flow.users[v] or v in flow.outputs for v in node.results)
    }
    names = names_of(network)
    found = []
    for number, event in zip(network.sites.numbers, network.sites.events, strict=True):
        if event.kind != "layer" or [loop.kind for loop in event.loops] != ["steps"]:
            continue
        (loop,) = event.loops
        again = _iterates(flow, loop.path)
        if loop.path in stacked or again:
            found.append(Remembering(number, names[number], loop.reverse, again))
    return found


def _iterates(flow: Flow, loop: Path) -> bool:
    """Whether a loop's body takes data from outside, and none of it step by step."""
    outer = False
    for node in flow.nodes:
        data = [v for v in node.operands if flow.data[v]]
        if node.primitive == SLICE and _inside(node) == loop and data:
            return False
        if loop in node.loops and node.primitive != CARRY:
            makers = [flow.values[v].maker for v in data]
            outer |= any(
                maker is None or not _belongs(flow.nodes[maker], loop)
                for maker in makers
            )
    return outer


def _belongs(node: Node, loop: Path) -> bool:
    return loop in node.loops or (node.primitive == SLICE and _inside(node) == loop)


def recall(network: Network, layers: Sequence[Remembering]) -> Recall:
    """The function ``(variables, key, inputs) -> profiles`` of some layers.

    A profile is `(steps,)`: the rms of the gradient of the last step with respect to
    each step, in the order in which they run.
    """
    plan, events = Plan(), [network.event(one.number) for one in layers]
    for one, event in zip(layers, events, strict=True):
        plan.at(event.at, Tap(one.number, "output"))
    hooks = Hooks(
        lambda tap, value: value,
        lambda tap, value, probe: value if probe is None else value + probe,
        lambda earlier, later: later,
    )

    def run(
        variables: Sequence[Array], key: Array, inputs: Sequence[Array]
    ) -> list[Array]:
        def last(probes: dict[Any, Array]) -> list[Array]:
            values = [*variables, key, *inputs]
            _, records = replay(network.traced.forward, values, plan, hooks, probes)
            found = {tap.number: record for tap, record in records.items()}
            return [found[one.number][0 if one.reverse else -1] for one in layers]

        probes = {
            one.number: jnp.zeros((event.loops[0].length, *event.shape), event.dtype)
            for one, event in zip(layers, events, strict=True)
        }
        ends, back = jax.vjp(last, probes)
        keys = jax.random.split(key, len(layers))
        goals = [
            jax.random.normal(k, end.shape).astype(end.dtype)
            for k, end in zip(keys, ends, strict=True)
        ]
        (slopes,) = back(goals)
        return [_rms(slopes[one.number], one.reverse) for one in layers]

    return run


def remembered(
    layers: Sequence[Remembering], profiles: Sequence[Sequence[np.ndarray]]
) -> dict[str, dict[str, Any]]:
    """By row its profiles over seeds, of types that JSON knows.

    Args:
      layers: the layers.
      profiles: of each seed, those of the layers.
    """
    return {
        one.row: {
            "again": one.again,
            "profile": [np.asarray(seed[i], np.float64).tolist() for seed in profiles],
        }
        for i, one in enumerate(layers)
    }


def _rms(slope: Array, reverse: bool) -> Array:
    wide = jnp.abs(slope).astype(jnp.float32)
    squares = jnp.mean(jnp.square(wide), axis=tuple(range(1, wide.ndim)))
    return jnp.sqrt(squares[::-1] if reverse else squares)


def _inside(node: Node) -> Path:
    """The way in to the body of the loop whose step in or out this is."""
    return (*node.at.path, (node.at.equation, 0))
