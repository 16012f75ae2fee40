"""One forward pass that rescales the weights of every layer on its way."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.program.run import Hooks, Plan, Tap, replay, sees
from jaxinit.roles.network import Network, Parameter

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
        alone has an effect where they are normalized. None where nothing has.
      biases: leaves that are multiplied along, and shifted where channels are centered.
      leader: the layer whose factor holds here, another one if the kernel is its.
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
    def handle(self) -> int:
        """A leaf that stands for the layer: what is scaled, or the weight."""
        return (*self.scaled, *self.weights)[0]

    @property
    def follows(self) -> bool:
        return self.leader != self.number


class Found(NamedTuple):
    """What one pass returns.

    Attributes:
      params: the parameters, rescaled.
      error: the largest distance from 1 of a variance that one pass does not settle,
        as it was in this pass.
      idle: by message, whether the output of a layer does not vary.
    """

    params: list[Array]
    error: Array
    idle: dict[str, Array]


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
        leader = next((first[leaf] for leaf in layer.scaled if leaf in first), number)
        for leaf in layer.scaled:
            first.setdefault(leaf, number)
        if leader != number:
            layer = layer._replace(leader=leader)
            ahead = layers[leader]
            assert ahead.event.at is not None
            assert event.at is not None
            if not sees(network.traced.apply, ahead.event.at, event.at):
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
    effective = tuple(w for w in weights if network.anchors.has_effect(number, w))
    scaled = gains or effective
    if not (scaled or weights) or (event.uses and not weights):
        return None
    biases = having("bias", others)
    exact = (
        bool(scaled)
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


@dataclass(frozen=True)
class Pass:
    """Scales on the spot; ``network`` and ``layers`` as above.

    Attributes:
      network: the model.
      layers: what to scale.
      point: whose variance is to be 1.
      per_channel: whether each channel is scaled, and centered by the bias.
    """

    network: Network
    layers: list[Layer]
    point: Point
    per_channel: bool

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
    ) -> Found:
        layers = {layer.number: layer for layer in self.layers}
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
            return self._moved(value, seen[layer.leader], layer)

        hooks = Hooks(record, passes, lambda earlier, later: later)
        records = self._run([*params, *state, key, *inputs], hooks)
        return self._scaled(params, records)

    def off(
        self,
        params: list[Array],
        state: list[Array],
        key: Array,
        inputs: Sequence[Array],
        tolerance: float,
    ) -> dict[str, Array]:
        """One more pass: by message, whether a layer is not where it should be."""
        layers = {layer.number: layer for layer in self.layers}
        hooks = Hooks(
            lambda tap, value: self._measured(value, layers[tap.number]),
            lambda tap, value, probe: value,
            lambda earlier, later: later,
        )
        records = self._run([*params, *state, key, *inputs], hooks)
        found = {}
        for layer in self.layers:
            if layer.follows or layer.event.conditional:
                continue
            variance = self._over_steps(records[layer.number], layer)[..., 1, :]
            name = self.network.params[layer.handle].name
            why = (
                "took more passes than allowed"
                if layer.scaled
                else "does not depend on the size of its weights: the model normalizes "
                "them. Give it a gain, or scale what comes before it"
            )
            message = (
                f"the output of the layer with {name} is more than {tolerance:g} away "
                f"from variance 1; it {why}."
            )
            far = (jnp.abs(variance - 1) > tolerance) & (variance > 0)
            found[message] = jnp.any(far)
        return found

    def _run(self, values: list[Any], hooks: Hooks) -> dict[int, Array]:
        plan = Plan()
        for layer in self.layers:
            event = layer.event
            assert event.at is not None
            if self._behind(layer) and event.activation is not None:
                plan.at(event.activation.at, Tap(layer.number, "activation"))
            else:
                plan.at(event.at, Tap(layer.number, "output"))
        program = self.network.traced.apply
        _, records = replay(program, values, plan, hooks, {})
        return {tap.number: record for tap, record in records.items()}

    def _behind(self, layer: Layer) -> bool:
        return self.point == "activation" and layer.event.activation is not None

    def _measured(self, value: Array, layer: Layer) -> Array:
        """Mean and variance of all entries, or of each channel, in full precision."""
        wide = value.astype(jnp.promote_types(value.dtype, jnp.float32))
        kept = layer.event.channels if self.per_channel else ()
        axes = tuple(axis for axis in range(value.ndim) if axis not in kept)
        mean = wide.mean(axes, keepdims=True)
        variance = jnp.square(jnp.abs(wide - mean)).mean(axes)
        return jnp.stack([mean.reshape(variance.shape).real, variance])

    def _moved(self, value: Array, measured: Array, layer: Layer) -> Array:
        kept = layer.event.channels if self.per_channel else ()
        shape = [n if axis in kept else 1 for axis, n in enumerate(value.shape)]
        mean, factor = measured[0], _factor(measured[1])
        wide = value.astype(jnp.promote_types(value.dtype, jnp.float32))
        if self.per_channel:
            wide = wide - mean.reshape(shape)
        return (wide * factor.reshape(shape)).astype(value.dtype)

    def _scaled(self, params: list[Array], records: dict[int, Array]) -> Found:
        params = list(params)
        error, idle = jnp.zeros(()), {}
        for layer in self.layers:
            if layer.follows or not layer.scaled:
                continue
            measured = self._over_steps(records[layer.number], layer)
            mean, variance = measured[..., 0, :], measured[..., 1, :]
            factor = _factor(variance)
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
            if not layer.exact or self.point == "activation":
                far = jnp.where(variance > 0, jnp.abs(variance - 1), 0)
                error = jnp.maximum(error, far.max())
            if not layer.event.conditional:
                name = self.network.params[layer.scaled[0]].name
                message = (
                    f"the output of the layer with {name} does not vary on the data "
                    "given; its weights were not scaled."
                )
                idle[message] = jnp.any(variance == 0)
        return Found(params, error, idle)

    def _over_steps(self, record: Array, layer: Layer) -> Array:
        """Mean and variance, ``(*stacked layers, 2, channels)``, over all steps."""
        lead = len([lp for lp in layer.event.loops if lp.kind != "while"])
        record = record.reshape(*record.shape[:lead], 2, -1)
        if layer.exact:
            return record
        stacked = len(self.network.params[layer.handle].layers)
        layered = [i for i, lp in enumerate(layer.event.loops) if lp.kind == "layers"]
        kept = layered[:stacked] if len(layered) == stacked else []
        steps = tuple(axis for axis in range(lead) if axis not in kept)
        mean, variance = record[..., 0, :], record[..., 1, :]
        return jnp.stack(
            [mean.mean(steps), variance.mean(steps) + mean.var(steps)], axis=-2
        )


def _channel_axes(parameter: Parameter) -> tuple[int, ...]:
    """The axes along which a parameter has one entry for each channel."""
    if parameter.use is not None:
        return parameter.use.out_axis
    rank = len(parameter.shape)
    return tuple(axis for axis in range(rank) if axis not in parameter.layer_axes)


def _factor(variance: Array) -> Array:
    return jnp.where(variance > 0, jax.lax.rsqrt(jnp.maximum(variance, 1e-37)), 1.0)


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
        name = network.params[layer.scaled[0]].name
        raise ValueError(
            f"the layer with {name} has no bias of {count} entries that could center "
            "its channels. Give it one, or use lsuv()."
        )
