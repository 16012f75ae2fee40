"""Metrics at places between layers: joins, attentions, routers; one function a place.

What is watched is the equation where values meet, whatever module wrote it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.program.flow import Node
from jaxinit.program.paths import Location
from jaxinit.roles.network import Network
from jaxinit.signal.curves import softmax_axis
from jaxinit.signal.records import MASK, unit_of

Array = jax.Array

JOIN = ("branch_ratio", "branch_cos", "branch_share")
ATTENTION = ("attn_logit_max", "attn_logit_std", "attn_entropy", "attn_one_hot")
ROUTER = ("router_load", "router_entropy", "router_unused")
ONE_HOT = 0.99
"""The weight from which on a row of attention looks at one key alone."""


class Place(NamedTuple):
    """An equation to watch.

    Attributes:
      number: the event whose row the numbers are of.
      at: the equation.
      compute: takes its operands and its result; the numbers.
    """

    number: int
    at: Location
    compute: Callable[[Sequence[Any]], list[Array]]


def joins(network: Network) -> list[Place]:
    """Where a branch is added to a skip."""
    return [
        Place(number, event.start, partial(_join, event.shortcut))
        for number, event in _events(network)
        if event.kind == "join" and event.start and event.shortcut is not None
    ]


def _join(shortcut: int, values: Sequence[Array]) -> list[Array]:
    """Size of the branch over that of the skip, their cosine, and the branch's share.

    The share is cov(branch, sum) / var(sum) over all entries; that of the skip is
    what is left of one.
    """
    skip, branch = values[shortcut], values[1 - shortcut]
    (s, s_rms, s_unit), (b, b_rms, b_unit) = _scaled(skip), _scaled(branch)
    cos = jnp.mean(s * b) / (s_rms * b_rms)
    larger = jnp.maximum(s_unit, b_unit)
    s, b = s * (s_unit / larger), b * (b_unit / larger)
    total = s + b
    away = total - jnp.mean(total)
    share = jnp.mean((b - jnp.mean(b)) * away) / jnp.mean(away * away)
    return [b_rms * (b_unit / s_unit) / s_rms, jnp.clip(cos, -1, 1), share]


def _scaled(x: Array) -> tuple[Array, Array, Array]:
    """An array in a unit near its largest entry, its rms in it, and the unit."""
    wide = jax.lax.optimization_barrier(x).astype(jnp.float32)
    exponent, inverse = unit_of(jnp.max(jnp.abs(wide)))
    wide = wide * inverse
    return wide, jnp.sqrt(jnp.mean(wide * wide)), jnp.exp2(exponent)


def attentions(network: Network) -> list[Place]:
    """Where the scores of an attention enter its softmax; the row is the query's."""
    anchors, flow = network.anchors, network.anchors.flow
    queries = {
        number: min(attention.query or attention.key)
        for attention in network.structure.attentions
        for number in attention.query | attention.key
    }
    found: dict[int, Place] = {}
    for node in flow.nodes:
        axis = softmax_axis(flow, node)
        if axis is None:
            continue
        rows = [
            queries[n] for n in anchors.nearest_weights(node.operands) if n in queries
        ]
        scores = _before_exp(network, node)
        if rows and scores is not None and _same_loops(network, rows[0], scores):
            found[rows[0]] = Place(rows[0], scores.at, partial(_attention, axis))
    return list(found.values())


def _before_exp(network: Network, softmax: Node) -> Node | None:
    """The equation that subtracts the largest score, or the exponential itself."""
    flow = network.anchors.flow
    exponential = flow.values[softmax.operands[0]].maker
    if exponential is None:
        return None
    node = flow.nodes[exponential]
    before = flow.values[node.operands[0]].maker
    subtracts = before is not None and flow.nodes[before].primitive == "sub"
    return flow.nodes[before] if subtracts and before is not None else node


def _attention(axis: int, values: Sequence[Array]) -> list[Array]:
    """The largest and the deviation of the scores, entropy, share of one-hot rows.

    Masked scores do not count, nor rows with fewer than two others; a row's entropy
    is in units of that of equal weights on the keys that it may see.
    """
    scores = jnp.moveaxis(values[0].astype(jnp.float32), axis, -1)
    seen = scores > MASK
    number = jnp.sum(seen, -1)
    several = (number > 1).astype(jnp.float32)
    rows = jnp.maximum(jnp.sum(several), 1)
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    inside = jnp.where(weights > 0, weights * jnp.log(weights), 0)
    entropy = -jnp.sum(inside, -1) / jnp.log(jnp.maximum(number, 2))
    one_hot = (jnp.max(weights, -1) > ONE_HOT).astype(jnp.float32)
    total = jnp.sum(seen)
    mean = jnp.sum(jnp.where(seen, scores, 0)) / total
    var = jnp.sum(jnp.where(seen, jnp.square(scores - mean), 0)) / total
    return [
        jnp.max(jnp.where(seen, jnp.abs(scores), 0)),
        jnp.sqrt(var),
        jnp.sum(several * jnp.nan_to_num(entropy)) / rows,
        jnp.sum(several * jnp.nan_to_num(one_hot)) / rows,
    ]


def routers(network: Network) -> list[Place]:
    """Where a router's logits are made."""
    leaves = {p.leaf for p in network.having("router")}
    return [
        Place(number, event.at, partial(_router, _choices(network, number)))
        for number, event in _events(network)
        if event.at and leaves & {use.leaf for use in event.uses}
    ]


def _choices(network: Network, number: int) -> int:
    """To how many experts a router sends a token: the k of its top-k, else one."""
    anchors, flow = network.anchors, network.anchors.flow
    for node in flow.nodes:
        if node.primitive in ("top_k", "approx_top_k") and number in (
            anchors.nearest_weights(node.operands)
        ):
            return flow.values[node.results[0]].shape[-1]
    return 1


def _router(choices: int, values: Sequence[Array]) -> list[Array]:
    """The largest load over the mean, the loads' entropy, the share of idle experts.

    Loads are shares of the choices that the logits alone make, noise left out.
    """
    logits = values[-1].reshape(-1, values[-1].shape[-1]).astype(jnp.float32)
    experts = logits.shape[-1]
    _, chosen = jax.lax.top_k(logits, choices)
    load = jnp.mean(jax.nn.one_hot(chosen.reshape(-1), experts), axis=0)
    inside = jnp.where(load > 0, load * jnp.log(load), 0)
    entropy = -jnp.sum(inside) / jnp.log(max(experts, 2))
    idle = jnp.mean((load == 0).astype(jnp.float32))
    return [experts * jnp.max(load), entropy, idle]


def _events(network: Network) -> list[tuple[int, Any]]:
    sites = network.sites
    return list(zip(sites.numbers, sites.events, strict=True))


def _same_loops(network: Network, number: int, node: Node) -> bool:
    """Whether a row and an equation run equally often."""
    paths = [loop.path for loop in network.event(number).loops]
    return paths == list(node.loops)


FAMILIES: dict[tuple[str, ...], Callable[[Network], list[Place]]] = {
    JOIN: joins,
    ATTENTION: attentions,
    ROUTER: routers,
}
"""The metrics of each kind of place."""
