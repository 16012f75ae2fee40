"""What lies in front of each weight layer: which layers, how deep, which operations."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxinit.layers.names import row_names
from jaxinit.program import primitives
from jaxinit.program.bits import members, union
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Flow, Node
from jaxinit.program.paths import Location
from jaxinit.roles.network import Network

# Steps into and out of loops are at the place of the loop, not at one of their own.
NOWHERE = frozenset({CARRY, CHOICE, SLICE, STACK})
# What moves values and changes none.
_MOVES = frozenset(
    "reshape transpose broadcast_in_dim convert_element_type squeeze concatenate copy "
    "rev slice".split()
) | {SLICE}
# What adds no other data, and changes no size by much: a bias.
_PASSES = _MOVES - {"concatenate"} | {"add"}
_COMPARISONS = frozenset({"lt", "le", "gt", "ge"})
_ARITHMETIC: dict[str, Callable[..., float]] = {
    "sqrt": lambda x: math.sqrt(max(x, 0.0)),
    "rsqrt": lambda x: 1 / math.sqrt(x) if x > 0 else 1.0,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y if y else 1.0,
    "convert_element_type": float,
    "broadcast_in_dim": float,
}


@dataclasses.dataclass(frozen=True)
class Front:
    """What a weight layer takes.

    Attributes:
      row: its name.
      source: where its data operand is computed; None for one of the model's inputs
        and for what a loop hands on.
      facts: of types that JSON knows: ``depth`` counts the weight layers on the
        longest way from the inputs, this one included; ``after`` names the nearest
        of them; ``by`` lists the primitives in between; ``random`` and ``state``
        say whether coin flips and running statistics are among them, ``branch``
        whether the layer is on a residual branch; ``factor`` is the largest constant
        that multiplies on the way; ``behind`` the constants that what leaves the
        layer is multiplied by; ``normed`` says whether the layer's weight is divided
        by what the model's state holds, as in spectral normalization; ``product``
        says what the data is multiplied with as a matrix on the way: a ``"constant"``,
        an ``"input"`` of the model, other ``"data"``, or nothing (``""``); ``inputs``
        numbers the floating-point inputs of the model that the layer takes as they
        are.
    """

    row: str
    source: Location | None
    facts: dict[str, Any]


def fronts(network: Network) -> list[Front]:
    """One for each row that multiplies data by a weight, in the order of data."""
    anchors, flow = network.anchors, network.anchors.flow
    names = names_of(network)
    on_branch = {n for b in network.structure.branches for n in b.layers}
    depth: dict[int, int] = {}
    ways, found = _Ways(network), []
    for index, number in anchors.weights.items():
        node = flow.nodes[index]
        data = [v for v in node.operands if flow.data[v]]
        before, between = ways.to(data)
        deep = 1 + max((depth.get(n, 0) for n in before), default=0)
        depth[number] = max(depth.get(number, 0), deep)
        if len(data) != 1 or number not in names:
            continue
        maker = flow.values[data[0]].maker
        source = None
        if maker is not None and flow.nodes[maker].primitive not in NOWHERE:
            made = flow.nodes[maker]
            place = made.results.index(data[0])
            source = made.at._replace(result=place)
        facts = {
            "depth": depth[number],
            "after": [names[n] for n in before if n in names],
            "by": sorted({trait.primitive for trait in between}),
            "random": any(trait.random for trait in between),
            "state": any(trait.state for trait in between),
            "branch": number in on_branch,
            "product": max(
                (trait.product for trait in between), key=_TELLING.index, default=""
            ),
            "factor": max((trait.factor for trait in between), default=1.0),
            "behind": _behind(network.anchors.flow, node.results[0]),
            "normed": any(flow.state[v] and flow.leaves[v] for v in node.operands),
            "inputs": _inputs(network, data[0]),
        }
        found.append(Front(names[number], source, facts))
    return found


def names_of(network: Network) -> dict[int, str]:
    """The rows' names by the number of their event."""
    sites = network.sites
    names = row_names(sites, network.traced.params)
    return dict(zip(sites.numbers, names, strict=True))


class _Trait(NamedTuple):
    """What is told of an operation on the way to a layer; see ``Front.facts``."""

    primitive: str
    random: bool
    state: bool
    product: str
    factor: float


class _Ways:
    """From the nearest weight layers to each value, found in one pass.

    Sets are the bits of an integer: first the weight layers by when they run, then
    what is told of operations, one bit for all of which the same is told.
    """

    def __init__(self, network: Network) -> None:
        anchors, flow = network.anchors, network.anchors.flow
        self._layers = anchors.in_order(set(anchors.weights.values()))
        place = {number: i for i, number in enumerate(self._layers)}
        marks = {index: 1 << place[n] for index, n in anchors.weights.items()}
        traits: dict[_Trait, int] = {}
        for index, node in enumerate(flow.nodes):
            if index not in marks and any(flow.data[v] for v in node.results):
                bit = traits.setdefault(_trait(network, node), len(traits))
                marks[index] = 1 << len(place) + bit
        self._traits = list(traits)

        def passes(node: Node, position: int) -> bool:
            maker = flow.values[node.results[0]].maker
            return maker not in anchors.weights and flow.data[node.operands[position]]

        self._found = flow.gathered(marks, passes)

    def to(self, values: Sequence[int]) -> tuple[list[int], list[_Trait]]:
        """The layers nearest upstream in their order, and what lies in between."""
        found, count = union(self._found[v] for v in values), len(self._layers)
        layers = [self._layers[i] for i in members(found & ((1 << count) - 1))]
        return layers, [self._traits[i] for i in members(found >> count)]


def _trait(network: Network, node: Node) -> _Trait:
    return _Trait(
        node.primitive,
        _is_random(network, node),
        _is_state(network, node),
        _product(network, node),
        _factor(network, node),
    )


def _inputs(network: Network, value: int) -> list[int]:
    """Which of the model's floating-point inputs a value holds as they are."""
    flow = network.anchors.flow
    seen, todo = set[int](), [value]
    while todo:
        number = todo.pop()
        maker = flow.values[number].maker
        if number in seen:
            continue
        seen.add(number)
        if maker is not None and flow.nodes[maker].primitive in _MOVES:
            todo += [v for v in flow.nodes[maker].operands if flow.data[v]]
    invars = network.traced.apply.jaxpr.invars
    floats = [
        i
        for i in network.traced.input_positions
        if jnp.issubdtype(invars[i].aval.dtype, jnp.floating)
    ]
    return [n for n, position in enumerate(floats) if position in seen]


def _is_random(network: Network, node: Node) -> bool:
    """Whether a node chooses by, or multiplies by, coin flips, as dropout does.

    Noise that is drawn otherwise is a source by itself, of a size of its own.
    """
    if node.primitive not in ("select_n", "mul"):
        return False
    flow = network.anchors.flow
    still = [v for v in node.operands if not flow.data[v]]
    above = flow.upstream(still, lambda node, position: True)
    made = {flow.nodes[index].primitive for index in above}
    return bool(made & _COMPARISONS) and any(map(primitives.is_random, made))


def _is_state(network: Network, node: Node) -> bool:
    """Whether a node combines data with nothing but the model's state."""
    flow = network.anchors.flow
    return any(
        flow.state[v] and not flow.data[v] and not flow.leaves[v] for v in node.operands
    )


# What a product with may be, from what tells least.
_TELLING = ("", "data", "input", "constant")


def _product(network: Network, node: Node) -> str:
    """What a matrix product between two layers multiplies data with, if it is one."""
    anchors, flow = network.anchors, network.anchors.flow
    if node.primitive != "dot_general":
        return ""
    if not all(flow.data[v] for v in node.operands):
        return "constant"
    fed = [v for v in node.operands if not anchors.nearest_weights([v])]
    return "input" if fed else "data"


def _factor(network: Network, node: Node) -> float:
    """The constant that a node multiplies by, 1 if none."""
    if node.primitive != "mul":
        return 1.0
    literals = [network.anchors.flow.values[v].literal for v in node.operands]
    known = [float(abs(x)) for x in literals if x is not None and not _shape(x)]
    return max(known, default=1.0)


def _behind(flow: Flow, value: int) -> float:
    """The constants that multiply a value, up to where it meets other data."""
    product = 1.0
    while value not in flow.outputs and len(flow.users[value]) == 1:
        ((number, position),) = flow.users[value]
        node = flow.nodes[number]
        others = [v for p, v in enumerate(node.operands) if p != position]
        if node.primitive == "mul" or (node.primitive == "div" and position == 0):
            factor = constant(flow, others[0])
            if factor is None:
                break
            product *= factor if node.primitive == "mul" else 1 / (factor or 1.0)
        elif any(flow.data[v] for v in others) or node.primitive not in _PASSES:
            break
        (value,) = node.results
    return abs(product)


def constant(flow: Flow, value: int) -> float | None:
    """A number that the program holds or computes from others; None if it is none."""
    known = flow.values[value]
    if known.literal is not None:
        return None if _shape(known.literal) else float(known.literal)
    if known.maker is None or flow.data[value] or flow.leaves[value]:
        return None
    node = flow.nodes[known.maker]
    compute = _ARITHMETIC.get(node.primitive)
    operands = [constant(flow, v) for v in node.operands]
    if compute is None or None in operands:
        return None
    found: float = compute(*operands)
    return found


def _shape(literal: Any) -> tuple[int, ...]:
    return tuple(getattr(literal, "shape", ()))
