"""What is known of a program's inputs before it is read."""

from collections.abc import Container
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.draw.one_sided import one_sided
from jaxinit.draw.own_init import OwnDraw
from jaxinit.moments.integers import use_of_integers
from jaxinit.moments.law import discrete, normal
from jaxinit.moments.values import (
    KEY,
    Context,
    Known,
    Value,
    Weight,
    known,
)
from jaxinit.program import primitives
from jaxinit.roles.network import Network

_GATES = frozenset({"gate_bias", "forget_gate_bias"})


def own_draw(
    network: Network, weights: frozenset[int], drawn: Container[int]
) -> dict[int, Value]:
    """What the model's own init makes of the leaves that nothing is chosen for."""
    traced = network.traced
    count = len(traced.params) + traced.num_state
    chosen = weights | zero_biases(network)
    own = [i for i in range(count) if i not in chosen and i not in drawn]
    if not own:
        return {}
    with jax.ensure_compile_time_eval():
        zeros = [jnp.zeros(s.shape, s.dtype) for s in network.given.shapes]
        arrays = OwnDraw(traced, own)(jax.random.key(0), *zeros)
        return {i: known(x) for i, x in zip(own, arrays, strict=True)}


def zero_biases(network: Network) -> frozenset[int]:
    """The biases that become 0: no gate's, and none that its own init sets off 0."""
    found = [
        p.leaf for p in network.having("bias", "readout_bias") if not p.roles & _GATES
    ]
    special = one_sided(network.traced, found, network.given.shapes)
    return frozenset(found) - special


def entry_values(
    network: Network,
    context: Context,
    weights: frozenset[int],
    own: dict[int, Value],
    mean: float,
    variance: float,
) -> list[Value]:
    """What is known of the program's inputs."""
    count = len(network.traced.params) + network.traced.num_state
    entry: list[Value] = [KEY] * (count + 1)
    for leaf, value in own.items():
        entry[leaf] = value
    for leaf in weights:
        entry[leaf] = Weight(((leaf, ()),), 1.0, network.params[leaf].shape)
    for leaf in zero_biases(network) - weights:
        shape = network.params[leaf].shape
        entry[leaf] = Known(np.broadcast_to(np.float32(0), shape))
    shapes = network.given.shapes
    sizes = {lookup.source: lookup.size for lookup in network.sites.lookups}
    for number, (given, name) in enumerate(
        zip(shapes, network.given.names, strict=True)
    ):
        size = sizes.get(number)
        if size is None and np.issubdtype(given.dtype, np.integer):
            position = network.traced.input_positions[number]
            use = use_of_integers(network.anchors.flow, position)
            if use == "mask":
                entry.append(Known(np.ones(given.shape, given.dtype)))
                continue
            if use == "positions":
                entry.append(_counted(given))
                continue
            size = use
        entry.append(_input(given, name, size, mean, variance, context))
    return entry


def _counted(given: Any) -> Known:
    """Positions: 0, 1, 2, ... along the last axis."""
    count = np.arange(given.shape[-1] if given.shape else 1, dtype=given.dtype)
    return Known(np.broadcast_to(count if given.shape else count[0], given.shape))


def _input(
    shape: Any,
    name: str,
    size: int | None,
    mean: float,
    variance: float,
    context: Context,
) -> Value:
    if primitives.is_key(shape):
        return KEY
    if primitives.is_float(shape) and not np.issubdtype(
        shape.dtype, np.complexfloating
    ):
        return normal(mean, variance, shape.shape)
    if np.issubdtype(shape.dtype, np.bool_):  # a mask that lets everything through
        return Known(np.broadcast_to(np.True_, shape.shape))
    if np.issubdtype(shape.dtype, np.integer):
        top = max(size or 2, 2)
        values = np.unique(np.linspace(0, top - 1, min(top, 1024)).astype(np.int64))
        law = discrete(values, np.full(len(values), 1 / len(values)), shape.shape)
        if size is None:
            context.unknown[law.sources[0].key] = name
        return law
    raise ValueError(
        f"autoinit knows no moments of {name}, of dtype {shape.dtype}. It takes models "
        "with real, integer and boolean inputs."
    )
