"""Slopes of squashing functions, spread of softmaxes, alike tokens, sizes of inputs."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.moments.functions import Function, Shape, find_functions, shape_of
from jaxinit.program.find_repeats import find_repeats
from jaxinit.program.flow import Flow, Node
from jaxinit.program.paths import Location, Path
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.repeats import rolled
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.signal.between import NOWHERE, Front, names_of
from jaxinit.signal.bundle import may_loop
from jaxinit.signal.cells import suffix
from jaxinit.signal.records import size_record
from jaxinit.signal.scores import Scores, find_scores
from jaxinit.signal.squashing import maker_of, multiplied, record_slopes

Array = jax.Array

What = Literal["tanh", "logistic", "squashing", "softmax", "tokens", "input"]

FIELDS = {
    "tanh": ("slope", "low", "high", "mean", "std"),
    "logistic": ("slope", "low", "high", "mean", "std"),
    "squashing": ("slope", "low", "high", "mean", "std"),
    "softmax": ("spread", "largest", "keys", "unused", "unused"),
    "tokens": ("cos", "unused", "unused", "unused", "unused"),
    "input": ("mean_square", "zeros", "exponent", "unused", "unused"),
}


class Curve(NamedTuple):
    """A value to look at.

    Attributes:
      what: what it is.
      row: name of the layer nearest upstream that causes it.
      at: where it is computed.
      axis: of a softmax, the axis that its weights add up to one along.
      gate: whether data is multiplied by it.
      layers: lengths of the loops around it, where these are over layers that are
        stacked in its row.
      function: one that squashes the value, with its shape.
      scores: of a softmax over products of queries and keys, what is known of these.
    """

    what: What
    row: str
    at: Location
    axis: int = -1
    gate: bool = False
    layers: tuple[int, ...] = ()
    function: tuple[Function, Shape] | None = None
    scores: Scores | None = None


def find_curves(network: Network, before: Sequence[Front]) -> list[Curve]:
    """The squashing functions, softmaxes, streams and layers' inputs of a model.

    Args:
      network: the model, read.
      before: what lies in front of each of its layers.
    """
    names = names_of(network)
    anchors, flow = network.anchors, network.anchors.flow
    functions = find_functions(flow)
    shapes: dict[Hashable, Shape | None] = {}
    for function in functions:
        if function.name not in shapes:
            shapes[function.name] = shape_of(function)
    found = _squashed(network, functions, shapes)
    straight = _values_in(f for f in functions if shapes[f.name] is None)
    straight -= _values_in(f for f in functions if shapes[f.name] is not None)
    for node in flow.nodes:
        if not node.results or not flow.data[node.results[0]]:
            continue
        axis, gate = -1, False
        if node.primitive in ("tanh", "logistic"):
            partner = multiplied(flow, node.operands[0], node.results[0])
            if partner == "itself" or node.results[0] in straight:
                continue
            what: What = "tanh" if node.primitive == "tanh" else "logistic"
            gate = partner == "data"
        elif (summed := softmax_axis(flow, node)) is not None:
            what, axis = "softmax", summed
        else:
            continue
        sources = anchors.nearest_weights(node.operands[:1])
        if sources and sources[0] in names:
            layers = _stacked(network.event(sources[0]), node.loops)
            row = names[sources[0]]
            scores = find_scores(flow, node) if what == "softmax" else None
            found.append(Curve(what, row, node.at, axis, gate, layers, scores=scores))
    if network.structure.attentions or any(_mixes(front) for front in before):
        for number, event in zip(
            network.sites.numbers, network.sites.events, strict=True
        ):
            tokens = len(event.shape) == 3 and event.shape[1] > 2
            if tokens and event.kind in ("layer", "join"):
                layers = _stacked(event, [loop.path for loop in event.loops])
                found.append(Curve("tokens", names[number], event.at, layers=layers))
    found += [
        Curve("input", front.row, front.source)
        for front in before
        if front.source is not None
    ]
    return found


def _mixes(front: Front) -> bool:
    """Whether positions are mixed in front of a layer, as over a graph."""
    given = front.facts["product"] in ("constant", "input")
    return given or any(name.startswith("scatter") for name in front.facts["by"])


def _squashed(
    network: Network,
    functions: Sequence[Function],
    shapes: dict[Hashable, Shape | None],
) -> list[Curve]:
    """Functions that squash a layer's output, but those made of tanh and logistic.

    Of these a record is taken at that step itself.
    """
    names = names_of(network)
    anchors, flow = network.anchors, network.anchors.flow
    found = []
    for function in functions:
        shape = shapes[function.name]
        maker = flow.values[function.argument].maker
        named = any(n.primitive in ("tanh", "logistic") for n in function.nodes)
        if shape is None or named or maker is None:
            continue
        made = flow.nodes[maker]
        sources = anchors.nearest_weights([function.argument])
        partner = multiplied(flow, function.argument, function.end)
        if made.primitive in NOWHERE or partner == "itself":
            continue
        if sources and sources[0] in names:
            at = made.at._replace(result=made.results.index(function.argument))
            layers = _stacked(network.event(sources[0]), made.loops)
            gate = partner == "data"
            row = names[sources[0]]
            found.append(
                Curve("squashing", row, at, -1, gate, layers, (function, shape))
            )
    return found


def _values_in(functions: Iterable[Function]) -> set[int]:
    return {v for f in functions for node in f.nodes for v in node.results}


def _usual(shape: Shape) -> dict[str, float]:
    return {"usual": shape.usual, "width": shape.width}


def look(
    network: Network, curves: Sequence[Curve], roll: bool
) -> Callable[..., tuple[list[Array], dict[tuple[int, ...], Array]]]:
    """The function ``(variables, key, inputs) -> outputs, records``.

    The records are by the curve's number, those of blocks that repeat by all of theirs,
    with a leading axis over them: ``in_order`` takes them apart.

    Args:
      network: the model, read.
      curves: what is looked at inside it.
      roll: whether blocks that repeat are run as loops.
    """
    plan = Plan()
    for number, curve in enumerate(curves):
        plan.at(curve.at, Tap(number, "output"))
    program = network.traced.forward
    if roll:
        kinds = [_kind(curve) for curve in curves]
        program = rolled(
            program,
            find_repeats(
                program,
                lambda node: plan.mark(node.at.equation, kinds.__getitem__),
                may_loop,
            ),
        )
    hooks = Hooks(
        lambda tap, value: _record(curves[tap.number], value),
        lambda tap, value, probe: value,
        lambda earlier, later: later,
    )

    def run(variables: Sequence[Any], key: Array, inputs: Sequence[Any]) -> Any:
        values = [*variables, key, *inputs]
        outputs, records = replay(program, values, plan, hooks, {})
        return outputs, {_numbers(taps): x for taps, x in records.items()}

    return run


def _numbers(taps: Tap | tuple[Tap, ...]) -> tuple[int, ...]:
    return (taps.number,) if isinstance(taps, Tap) else tuple(t.number for t in taps)


def _kind(curve: Curve) -> Hashable:
    """What is recorded of a curve, whichever layer it is of."""
    function = None if curve.function is None else curve.function[0].name
    return curve.what, curve.axis, function


def in_order(records: Mapping[tuple[int, ...], np.ndarray]) -> list[np.ndarray]:
    """The records of curves, in the order of the curves."""
    found: dict[int, np.ndarray] = {}
    for numbers, record in records.items():
        parts = [record] if len(numbers) == 1 else record
        found.update(zip(numbers, parts, strict=True))
    return [found[number] for number in range(len(found))]


def _stacked(event: Event, loops: Sequence[Path]) -> tuple[int, ...]:
    """Lengths of the loops around a value, if they are those over an event's layers."""
    over_layers = all(loop.kind == "layers" for loop in event.loops)
    same = [loop.path for loop in event.loops] == list(loops)
    return tuple(loop.length for loop in event.loops) if over_layers and same else ()


def by_layer(curve: Curve, records: np.ndarray) -> list[dict[str, Any]]:
    """What is known of a curve, of each of the layers that are stacked in its row.

    Args:
      curve: the curve.
      records: `(seeds, ..., fields)`, with the axes of the loops around it.
    """
    return [
        {
            "what": curve.what,
            "row": curve.row + suffix(index),
            "gate": curve.gate,
            **({} if curve.function is None else _usual(curve.function[1])),
            **({} if curve.scores is None else curve.scores._asdict()),
            **_fields(curve, records[(slice(None), *index)]),
        }
        for index in np.ndindex(*curve.layers)
    ]


def _fields(curve: Curve, records: np.ndarray) -> dict[str, float]:
    """The statistics of a curve, the mean over seeds and steps of loops."""
    flat = np.array(records, np.float64).reshape(-1, records.shape[-1])
    if curve.what == "input":  # a square leaves float32 where what is squared does not
        flat[:, 0] *= np.exp2(2 * flat[:, 2])
    known = ~np.isnan(flat)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(known, flat, 0.0).sum(axis=0) / known.sum(axis=0)
    means[~np.isfinite(flat).any(axis=0)] = np.nan
    return {
        name: value
        for name, value in zip(FIELDS[curve.what], means.tolist(), strict=True)
        if name not in ("unused", "exponent")
    }


def _record(curve: Curve, value: Array) -> Array:
    if curve.function is not None:
        return record_slopes(*curve.function, value)
    x = value.astype(jnp.float32)
    if curve.what == "softmax":
        number = x.shape[curve.axis]
        left = 1 - jnp.sum(x * x, axis=curve.axis)
        spread = jnp.nanmean(left) / (1 - 1 / number)
        largest = jnp.nanmean(jnp.max(x, axis=curve.axis))
        return jnp.stack([spread, largest, jnp.float32(number), *jnp.zeros(2)])
    if curve.what == "input":
        _, exponent, square = size_record(x)
        zeros = jnp.mean((x == 0).astype(jnp.float32))
        return jnp.stack([square, zeros, exponent, *jnp.zeros(2)])
    if curve.what == "tokens":
        size = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))
        unit = x / jnp.where(size > 0, size, 1.0)
        number = x.shape[1]
        squared = jnp.sum(jnp.square(unit.sum(axis=1)), axis=-1)
        cos = jnp.mean((squared - number) / (number * (number - 1)))
        return jnp.stack([cos, *jnp.zeros(4)])
    if curve.what == "logistic":
        x = 2 * x - 1
    slope = 1 - x * x
    flat = slope < 0.05
    return jnp.stack(
        [
            jnp.mean(slope * slope),
            jnp.mean((flat & (x < 0)).astype(jnp.float32)),
            jnp.mean((flat & (x > 0)).astype(jnp.float32)),
            jnp.mean(x),
            jnp.std(x),
        ]
    )


def softmax_axis(flow: Flow, node: Node) -> int | None:
    """The axis of a softmax whose last step this is: exp(z) over its sum."""
    if node.primitive != "div" or len(node.operands) != 2:
        return None
    top = maker_of(flow, node.operands[0])
    below = maker_of(flow, node.operands[1])
    while below is not None and below.primitive in (
        "broadcast_in_dim",
        "reshape",
        "convert_element_type",
        "stop_gradient",
    ):
        below = maker_of(flow, below.operands[0])
    if top is None or below is None or below.primitive != "reduce_sum":
        return None
    summed = maker_of(flow, below.operands[0])
    while summed is not None and summed.primitive == "convert_element_type":
        summed = maker_of(flow, summed.operands[0])
    axes = below.params.get("axes", ())
    shape = flow.values[node.results[0]].shape
    if summed is not top or top.primitive != "exp" or len(axes) != 1:
        return None
    return int(axes[0]) if shape[axes[0]] > 3 else None
