"""What a coordinate check looks at: layers, attention scores, outputs, parameters."""

from typing import NamedTuple

from jaxinit.layers.names import row_names
from jaxinit.program.flow import Node
from jaxinit.program.paths import Location
from jaxinit.program.plan import Plan, Tap
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.network import Network

# What a score goes through on its way to the softmax, besides a factor.
_PASSED = ("mul", "div", "transpose", "reshape", "convert_element_type")


class Watched(NamedTuple):
    """Values that are watched in a forward pass.

    Attributes:
      plan: where they are.
      names: by tap, what they are called.
      roles: by tap, the roles of the parameters that act there; ``"scores"`` for
        attention scores, ``"join"`` where paths are added.
    """

    plan: Plan
    names: dict[Tap, str]
    roles: dict[Tap, frozenset[str]]


def watch(network: Network) -> Watched:
    """The outputs of all layers, joins and taps, and all attention scores.

    Values inside a loop of unknown length, or a branch that may not run, are left out.
    """
    sites, plan = network.sites, Plan()
    names: dict[Tap, str] = {}
    roles: dict[Tap, frozenset[str]] = {}
    labels = row_names(sites, network.traced.params)
    for name, number, event in zip(labels, sites.numbers, sites.events, strict=True):
        unknown = any(loop.kind in ("while", "shards") for loop in event.loops)
        if unknown or event.conditional:
            continue
        tap = Tap(number, "output")
        plan.at(event.at, tap)
        names[tap] = name
        found = frozenset[str]()
        for leaf in event.params:
            found |= network.params[leaf].roles
        roles[tap] = found | {"join"} if event.kind == "join" else found
    for i, at in enumerate(score_locations(network.anchors), 1):
        tap = Tap(-i, "output")
        plan.at(at, tap)
        names[tap] = "attention scores" + (f"#{i}" if i > 1 else "")
        roles[tap] = frozenset({"scores"})
    return Watched(plan, names, roles)


def param_roles(network: Network) -> list[frozenset[str]]:
    """What each parameter does; the biases of keys count as keys.

    They add the same to all scores of a query, so that their gradient is rounding.
    """
    roles = [p.roles for p in network.params]
    for attention in network.structure.attentions:
        for number in attention.key - attention.query - attention.value:
            for leaf in network.event(number).params:
                roles[leaf] |= {"key"}
    return roles


def score_locations(anchors: Anchors) -> list[Location]:
    """Where attention scores are, with the factors that they are multiplied by.

    A score is a product of data with data on the way to another such product that no
    weight is between.
    """
    flow = anchors.flow
    products = [
        index
        for index, node in enumerate(flow.nodes)
        if node.primitive == "dot_general"
        and index not in anchors.weights
        and all(flow.data[value] for value in node.operands)
    ]
    scores: set[int] = set()
    for index in products:

        def passes(node: Node, position: int) -> bool:
            del position
            maker = flow.values[node.results[0]].maker
            return maker not in anchors.weights and maker not in products

        above = flow.upstream(flow.nodes[index].operands, passes)
        scores |= {n for n in above if n in products}
    return [_scaled(anchors, index) for index in sorted(scores)]


def _scaled(anchors: Anchors, index: int) -> Location:
    """The last place where the scores are still the product times constants."""
    flow = anchors.flow
    node = flow.nodes[index]
    while True:
        users = [flow.nodes[n] for n, _ in flow.users[node.results[0]]]
        following = [u for u in users if u.primitive in _PASSED]
        if len(users) != 1 or not following or following[0].loops != node.loops:
            return node.at
        others = [v for v in following[0].operands if v != node.results[0]]
        if any(flow.data[v] for v in others):
            return node.at
        (node,) = following
