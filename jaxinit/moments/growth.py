"""Mean squares of gradients at layers and joins, by mean-field theory."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinit.moments.backward import Backward
from jaxinit.moments.batches import over_batches
from jaxinit.moments.law import Law
from jaxinit.moments.row_sizes import rows_of
from jaxinit.moments.slopes import Functions
from jaxinit.moments.trust import Trust
from jaxinit.moments.values import Context, Value
from jaxinit.program.flow import Flow
from jaxinit.program.paths import Location
from jaxinit.program.program import Node, Region
from jaxinit.roles.network import Network

Size = Mapping[int, float]
"""A mean square, as a sum of multiples of numbers that are not known, by their names.

That of the gradients at the outputs has the name 0.
"""


def gradients(
    network: Network,
    context: Context,
    trust: Trust,
    laws: Mapping[Location, Value],
    inputs: Sequence[Any],
    loss: bool,
) -> dict[int, Size]:
    """The mean squares of gradients, by the number of an event.

    Args:
      network: a network that was read.
      context: its layers' products.
      trust: where there is a law.
      laws: what is known of the result of each equation, outside of loops.
      inputs: the model's inputs.
      loss: whether gradients start from a loss, not from independent numbers.
    """
    own = _own_derivatives(network.traced.forward)
    if any(map(_leaves_no_trace, own)):
        return {}
    flow: Flow = network.anchors.flow
    places = {
        node.at._replace(result=i): value
        for node in flow.nodes
        if not node.loops
        for i, value in enumerate(node.results)
    }
    known: list[Law | None] = [None] * len(flow.values)
    for place, value in places.items():
        law = laws.get(place)
        known[value] = law if isinstance(law, Law) else None
    sites = network.sites
    events = {
        number: places[event.at]
        for number, event in zip(sites.numbers, sites.events, strict=True)
        if event.at in places and not (event.loops or event.conditional or event.masked)
    }
    law_of = known.__getitem__
    functions = Functions(flow, frozenset(events.values()), law_of)
    first = len(network.traced.forward.inputs) - len(inputs)
    given = {
        value: np.asarray(x, np.float64)
        for value, x in enumerate(inputs, first)
        if jnp.issubdtype(x.dtype, jnp.floating)
    }
    rows = rows_of(functions, trust, law_of, given)
    backward = Backward(
        flow,
        functions,
        trust,
        rows,
        over_batches(functions, trust, rows, law_of, given, context.batch),
        law_of,
        {p.at: p for p in context.products.values() if p.terms > 0},
        [node.inside() for node in own],
        context.batch,
        not loss,
    )
    return {
        number: backward.found[value].parts
        for number, value in events.items()
        if not trust.statistic[value]
    }


def ratio(one: Size | None, other: Size | None) -> float:
    """How large a mean square is in multiples of another; NaN if that is not known."""
    if not one or not other or one.keys() != other.keys():
        return math.nan
    found = [x / other[name] for name, x in one.items() if other[name] > 0]
    alike = len(found) == len(one) and np.allclose(found, found[0], rtol=1e-9, atol=0)
    return found[0] if alike else math.nan


def _own_derivatives(region: Region) -> list[Node]:
    """All functions that bring their derivative along."""
    found: list[Node] = []
    for node in region.nodes:
        if node.kind == "rule" and node.primitive != "custom_jvp_call":
            found.append(node)
        for body in node.bodies:
            found += _own_derivatives(body)
    return found


def _leaves_no_trace(node: Node) -> bool:
    """Whether a function gives an input as it is: the graph has no step for it."""
    return any(set(body.inputs) & set(body.outputs) for body in node.bodies)
