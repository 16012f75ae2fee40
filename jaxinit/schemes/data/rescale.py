"""One forward pass that rescales the weights of every layer on its way."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.program.flow import Flow
from jaxinit.program.paths import Location
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay, sees
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.data.behind import activation_end
from jaxinit.schemes.data.degree import degrees, is_linear

Array = jax.Array
Point = Literal["output", "activation"]
POINTS = get_args(Point)


class Layer(NamedTuple):
    """One layer whose output is to be scaled.

    Attributes:
      number: its event.
      event: the event.
      weights: its weights.
      scaled: the leaves that are multiplied: the weights, or a gain on them, which
        alone has an effect where they are normalized.
      biases: leaves that are multiplied along, and shifted where channels are centered.
      leader: the layer whose factor holds here, another one if the kernel is its.
        None where the kernel is normalized and has no gain: such a layer is
        measured, and named if it is off.
      exact: whether one pass gives the right factor, as the kernel acts once (or once
        in each of several stacked layers).
    """

    number: int
    event: Event
    weights: tuple[int, ...]
    scaled: tuple[int, ...]
    biases: tuple[int, ...]
    leader: int
    exact: bool

    @property
    def handles(self) -> tuple[int, ...]:
        """What stands for the layer: the leaves that are scaled, else its weights."""
        return self.scaled or self.weights

    @property
    def follows(self) -> bool:
        return self.leader != self.number


class Found(NamedTuple):
    """What one pass returns.

    Attributes:
      params: the parameters, rescaled.
      error: the largest distance from 1 of a variance that one pass does not settle,
        as it was in this pass.
      complaints: by message, whether the output of a layer did not vary, or was not
        finite, or had another variance than 1, as it was in this pass.
    """

    params: list[Array]
    error: Array
    complaints: dict[str, Array]


def layers_to_scale(network: Network, *, gains: bool = False) -> list[Layer]:
    """The layers that a scheme may scale: what no rule of the user's has taken.

    Args:
      network: the model.
      gains: layers that are a gain and a shift alone, in place of those with weights.
        Tables that are looked up are left alone, also where they are the readout.

    Returns:
      The layers, in the order in which data meets them.
    """
    layers: dict[int, Layer] = {}
    first: dict[int, int] = {}
    for number, event in zip(network.sites.numbers, network.sites.events, strict=True):
        if event.kind != "layer" or event.operation == "gather":
            continue
        if bool(event.uses) == gains:
            continue
        layer = _layer(network, number, event)
        if layer is None:
            continue
        if not layer.scaled:
            layers[number] = layer
            continue
        leader = next((first[leaf] for leaf in layer.scaled if leaf in first), number)
        for leaf in layer.scaled:
            first.setdefault(leaf, number)
        if leader != number:
            layer = layer._replace(leader=leader)
            ahead = layers[leader]
            if not sees(network.traced.forward, ahead.event.at, event.at):
                layers[leader] = ahead._replace(exact=False)
        layers[number] = layer
    return list(layers.values())


def _layer(network: Network, number: int, event: Event) -> Layer | None:
    """The layer of an event, or ``None`` if nothing in it is free to be scaled."""
    used = dict.fromkeys(use.leaf for use in event.uses)
    free = {p.leaf for p in network.free}

    def having(role: str, leaves: Iterable[int]) -> tuple[int, ...]:
        return tuple(leaf for leaf in leaves if role in network.params[leaf].roles)

    others = [leaf for leaf in event.params if leaf not in used]
    tables = having("embedding", used)
    weights = tuple(
        leaf for leaf in having("weight", used) if leaf in free and leaf not in tables
    )
    gains = tuple(leaf for leaf in having("gain", others) if leaf in free)
    if not (gains or weights) or (event.uses and not weights):
        return None
    biases = having("bias", others)
    flow = network.anchors.flow
    # What is normalized does not change as it is scaled.
    behind = {use.leaf for use in event.uses if use.behind}
    first = tuple(leaf for leaf in weights if leaf not in behind)
    scaled = next((s for s in (first, gains) if s and _grows(flow, s)), ())
    linear = all(is_linear(flow, leaf) for leaf in scaled)
    exact = (
        bool(scaled)
        and linear
        and free.issuperset(biases)
        and all(loop.kind == "layers" for loop in event.loops)
        and all(len(network.params[leaf].layers) == len(event.loops) for leaf in scaled)
    )
    return Layer(
        number,
        event,
        weights,
        scaled,
        tuple(leaf for leaf in biases if leaf in free),
        number,
        exact,
    )


def _grows(flow: Flow, leaves: Sequence[int]) -> bool:
    found = {degree for leaf in leaves for degree in degrees(flow, leaf)}
    return all(degree is not None and abs(degree) > 0.01 for degree in found)


@dataclass(frozen=True)
class Pass:
    """Scales on the spot; ``network`` and ``layers`` as above.

    Attributes:
      network: the model.
      layers: what to scale.
      point: whose variance is to be 1.
      per_channel: whether each channel is scaled, and centered by the bias.
      tolerance: how far from 1 a variance may be without being named.
    """

    network: Network
    layers: list[Layer]
    point: Point
    per_channel: bool
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if self.per_channel:
            for layer in self.layers:
                _check_channels(layer, self.network)

    @property
    def needs_more(self) -> bool:
        """Whether one pass may leave variances other than 1."""
        behind = self.point == "activation"
        return behind or not all(layer.exact for layer in self.layers if layer.scaled)

    def __call__(
        self,
        params: list[Array],
        state: list[Array],
        key: Array,
        inputs: Sequence[Array],
        power: Array | float = 1.0,
    ) -> Found:
        layers = {layer.number: layer for layer in self.layers}
        plan = Plan()
        for layer in self.layers:
            end = self._behind(layer)
            if end is not None:
                plan.at(end, Tap(layer.number, "activation"))
            else:
                plan.at(layer.event.at, Tap(layer.number, "output"))
        seen: dict[int, Array] = {}

        def record(tap: Tap, value: Array) -> Array:
            layer = layers[tap.number]
            seen[tap.number] = self._measured(value, layer)
            return seen[tap.number]

        def passes(tap: Tap, value: Array, probe: Array | None) -> Array:
            del probe
            layer = layers[tap.number]
            if not layers[layer.leader].exact:
                return value
            return self._moved(value, seen[layer.leader], layer, power)

        values = [*params, *state, key, *inputs]
        hooks = Hooks(record, passes, lambda earlier, later: later)
        program = self.network.traced.forward
        _, records = replay(program, values, plan, hooks, {})
        by_number = {tap.number: r for tap, r in records.items()}
        return self._scaled(params, by_number, power)

    def _behind(self, layer: Layer) -> Location | None:
        """Where the layer's activation ends, if its variance is what counts."""
        if self.point == "output":
            return None
        end = activation_end(self.network, layer.number)
        known = layer.event.activation
        return known.at if end is None and known is not None else end

    def _measured(self, value: Array, layer: Layer) -> Array:
        """Mean and variance of all entries, or of each channel, in full precision."""
        wide = value.astype(jnp.promote_types(value.dtype, jnp.float32))
        kept = layer.event.channels if self.per_channel else ()
        axes = tuple(axis for axis in range(value.ndim) if axis not in kept)
        mean = wide.mean(axes, keepdims=True)
        variance = jnp.square(jnp.abs(wide - mean)).mean(axes)
        return jnp.stack([mean.reshape(variance.shape).real, variance])

    def _moved(
        self, value: Array, measured: Array, layer: Layer, power: Array | float
    ) -> Array:
        kept = layer.event.channels if self.per_channel else ()
        shape = [n if axis in kept else 1 for axis, n in enumerate(value.shape)]
        mean, factor = measured[0], _factor(measured[1], power)
        wide = value.astype(jnp.promote_types(value.dtype, jnp.float32))
        if self.per_channel:
            wide = wide - mean.reshape(shape)
        return (wide * factor.reshape(shape)).astype(value.dtype)

    def _scaled(
        self, params: list[Array], records: dict[int, Array], power: Array | float
    ) -> Found:
        params = list(params)
        error = jnp.zeros(())
        complaints: dict[str, Array] = {}
        for layer in self.layers:
            measured = self._over_steps(records[layer.number], layer)
            mean, variance = measured[..., 0, :], measured[..., 1, :]
            far = jnp.where(variance > 0, jnp.abs(variance - 1), 0)
            if not layer.event.conditional:
                for message, holds in self._complaints(layer, variance, far).items():
                    complaints[message] = complaints.get(message, False) | holds
            if layer.follows or not layer.scaled:
                continue
            if not layer.exact or self.point == "activation":
                error = jnp.maximum(error, far.max())
            self._rescale(params, layer, mean, _factor(variance, power))
        return Found(params, error, complaints)

    def _rescale(
        self, params: list[Array], layer: Layer, mean: Array, factor: Array
    ) -> None:
        """Multiplies a layer's parameters where they are in ``params``."""
        for leaf in layer.scaled:
            scaled = self.network.params[leaf]
            axes = _channel_axes(scaled) if self.per_channel else ()
            params[leaf] = _times(params[leaf], factor, scaled, axes)
        for leaf in layer.biases:
            bias = self.network.params[leaf]
            axes = _channel_axes(bias) if self.per_channel else ()
            moved = params[leaf]
            if self.per_channel:
                moved = moved - _spread(mean, bias, axes).astype(moved.dtype)
            params[leaf] = _times(moved, factor, bias, axes)

    def _complaints(
        self, layer: Layer, variance: Array, far: Array
    ) -> dict[str, Array]:
        """What may be wrong with a layer, and whether it is."""
        name = self.network.params[layer.handles[0]].name
        if layer.follows:
            again = (
                f"the {self.point} of the layer with {name} is off where the kernel is "
                f"used again: its variance is not within {self.tolerance:g} of 1. "
                "A kernel has one scale, and its first use sets it."
            )
            # The other way round it is a decoder's, or a derivative's: not for data.
            alike = _alike(self.network.event(layer.leader), layer)
            return {again: jnp.any(far > self.tolerance)} if alike else {}
        off = (
            f"the {self.point} of the layer with {name} is off: its variance is not "
            f"within {self.tolerance:g} of 1 after all passes. "
        )
        if not layer.scaled:
            off += (
                "The model computes its kernel from it in a way in which its scale has "
                "no effect, or none that is known, and no gain follows. Give the layer "
                "a gain, or a norm behind it."
            )
        else:
            off += "Raise max_iterations, or give the layer a gain of its own."
        return {
            f"the output of the layer with {name} does not vary on the data "
            "given; its weights were not scaled.": jnp.any(variance == 0),
            f"the output of the layer with {name} is not finite on the data "
            "given. Scale the inputs.": ~jnp.all(jnp.isfinite(variance)),
            off: jnp.any(far > self.tolerance),
        }

    def _over_steps(self, record: Array, layer: Layer) -> Array:
        """Mean and variance, ``(*stacked layers, 2, channels)``, over all steps."""
        lead = len([lp for lp in layer.event.loops if lp.kind != "while"])
        record = record.reshape(*record.shape[:lead], 2, -1)
        if layer.exact:
            return record
        stacked = len(self.network.params[layer.handles[0]].layers)
        layered = [i for i, lp in enumerate(layer.event.loops) if lp.kind == "layers"]
        kept = layered[:stacked] if len(layered) == stacked else []
        steps = tuple(axis for axis in range(lead) if axis not in kept)
        mean, variance = record[..., 0, :], record[..., 1, :]
        return jnp.stack(
            [mean.mean(steps), variance.mean(steps) + mean.var(steps)], axis=-2
        )


def _alike(ahead: Event, layer: Layer) -> bool:
    """Whether a layer uses a kernel in the direction in which an earlier one does."""
    first = {(use.leaf, use.in_axis) for use in ahead.uses}
    return any((use.leaf, use.in_axis) in first for use in layer.event.uses)


def _channel_axes(parameter: Parameter) -> tuple[int, ...]:
    """The axes along which a parameter has one entry for each channel."""
    if parameter.use is not None:
        return parameter.use.out_axis
    rank = len(parameter.shape)
    return tuple(axis for axis in range(rank) if axis not in parameter.layer_axes)


def _factor(variance: Array, power: Array | float = 1.0) -> Array:
    full = jax.lax.rsqrt(jnp.maximum(variance, 1e-37))
    if not isinstance(power, float):
        full = full**power
    return jnp.where(variance > 0, full, 1.0)


def _times(
    value: Array, factor: Array, parameter: Parameter, axes: Sequence[int]
) -> Array:
    spread = _spread(factor, parameter, axes)
    return (value.astype(jnp.result_type(value, spread)) * spread).astype(value.dtype)


def _spread(values: Array, parameter: Parameter, axes: Sequence[int]) -> Array:
    """``(*stacked layers, channels)`` so that it broadcasts to the parameter.

    Without ``axes`` there is one channel, which stands for all.
    """
    order = (*parameter.layer_axes, *axes)
    sizes = [parameter.shape[axis] for axis in order]
    shaped = jnp.transpose(values.reshape(sizes), np.argsort(order).tolist())
    return shaped.reshape(
        [n if axis in order else 1 for axis, n in enumerate(parameter.shape)]
    )


def _check_channels(layer: Layer, network: Network) -> None:
    """Raises unless each channel has a column (or a gain) and a bias."""
    event = layer.event
    count = math.prod(event.shape[axis] for axis in event.channels)
    for leaf in (*layer.scaled, *layer.biases):
        parameter = network.params[leaf]
        axes = _channel_axes(parameter)
        if math.prod(parameter.shape[axis] for axis in axes) != count or not axes:
            raise ValueError(
                f"the layer with {parameter.name}, of shape {parameter.shape}, has "
                f"{count} channels, which are not its columns. Take it out: "
                f"override(scheme, [({parameter.name!r}, initializer)])."
            )
    if not layer.biases:
        name = network.params[layer.handles[0]].name
        raise ValueError(
            f"the layer with {name} has no bias of {count} entries that could center "
            "its channels. Give it one, or use lsuv()."
        )
