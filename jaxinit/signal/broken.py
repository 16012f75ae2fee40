"""The operation that makes a NaN or an infinity out of finite numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.draw.compiling import quick_options
from jaxinit.program.flow import Flow, Node
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.signal.between import names_of

Array = jax.Array

# What can make one, and which share of its output tells: of NaN, of infinity, of
# zero, where a root has no slope.
_PRODUCTS = {"dot_general", "conv_general_dilated"}
_NAN = frozenset("sub exp sqrt log div pow acos asin log1p".split()) | _PRODUCTS
_INF = frozenset("exp log div pow rsqrt integer_pow log1p".split()) | _PRODUCTS
_ROOT = frozenset({"sqrt"})
_RISKY = _NAN | _INF | _ROOT
_LAYOUT = frozenset({"broadcast_in_dim", "reshape", "convert_element_type", "max"})

Find = Callable[[Sequence[Array], Array, Sequence[Array]], dict[str, Any] | None]


def find_broken(network: Network) -> Find:
    """Finds the first operation that breaks, forward if one does, else backward.

    Args:
      network: the model, read.

    Returns:
      A function of variables, a key and inputs, compiled when it first runs. It gives
      ``primitive``; ``row``, the nearest layer before it; ``how``: ``"nan"``,
      ``"inf"``, or ``"zero"`` for a root without a slope; ``share`` of its entries;
      ``root``: whether it divides by a root. None if no operation was found.
    """
    flow = network.anchors.flow
    nodes = [
        node
        for node in flow.nodes
        if node.primitive in _RISKY and flow.data[node.results[0]]
    ]
    options = quick_options(network.sites, 1)
    look = jax.jit(records_of(network, nodes, _shares), compiler_options=options)

    def find(
        variables: Sequence[Array], key: Array, inputs: Sequence[Array]
    ) -> dict[str, Any] | None:
        return _first(network, nodes, look(variables, key, inputs))

    return find


def _first(
    network: Network, nodes: Sequence[Node], looked: dict[int, Array]
) -> dict[str, Any] | None:
    shares = {n: np.nanmean(np.asarray(r).reshape(-1, 3), 0) for n, r in looked.items()}
    tests = (("nan", 0, _NAN), ("inf", 1, _INF)), (("zero", 2, _ROOT),)
    for together in tests:  # a root of 0 breaks nothing but gradients
        for number, share in sorted(shares.items()):
            node = nodes[number]
            for how, column, among in together:
                if node.primitive in among and share[column] > 0:
                    return describe(network, node, how, float(share[column]))
    return None


def describe(network: Network, node: Node, how: str, share: float) -> dict[str, Any]:
    """An operation that breaks, as the evidence keeps it."""
    anchors, names = network.anchors, names_of(network)
    number = anchors.weights.get(anchors.flow.values[node.results[0]].maker or 0)
    near = anchors.nearest_weights(node.operands) if number is None else [number]
    known = [names[n] for n in near if n in names]
    return {
        "primitive": node.primitive,
        "row": known[-1] if known else None,
        "how": how,
        "share": share,
        "root": node.primitive == "div" and _is_root(anchors.flow, node),
    }


def records_of(
    network: Network, nodes: Sequence[Node], record: Callable[[Sequence[Any]], Array]
) -> Callable[[Sequence[Array], Array, Sequence[Array]], dict[int, Array]]:
    """The function ``(variables, key, inputs) -> records``, by the node's place.

    Args:
      network: the model, read.
      nodes: the nodes that are looked at.
      record: a summary of a node's operands, followed by its result.
    """
    plan = Plan()
    for number, node in enumerate(nodes):
        plan.at(node.at, Tap(number, "operands"))
    hooks = Hooks(
        lambda tap, value: record(value),
        lambda tap, value, probe: value[-1],
        lambda earlier, later: later,
    )

    def run(variables: Sequence[Array], key: Array, inputs: Sequence[Array]) -> Any:
        values = [*variables, key, *inputs]
        records = replay(network.traced.forward, values, plan, hooks, {})[1]
        return {tap.number: record for tap, record in records.items()}

    return run


def _shares(values: Sequence[Any]) -> Array:
    wide = values[-1].astype(jnp.float32)
    return jnp.stack(
        [jnp.mean(test(wide)) for test in (jnp.isnan, jnp.isinf, lambda y: y == 0)]
    )


def _is_root(flow: Flow, node: Node) -> bool:
    maker = flow.values[node.operands[1]].maker
    while maker is not None and flow.nodes[maker].primitive in _LAYOUT:
        maker = flow.values[flow.nodes[maker].operands[0]].maker
    return maker is not None and flow.nodes[maker].primitive == "sqrt"
