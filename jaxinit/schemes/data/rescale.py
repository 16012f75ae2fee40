"""One forward pass that rescales the weights of every layer on its way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Event
from jaxinit.program.paths import Location
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.data.behind import activation_end
from jaxinit.schemes.data.scaled_layers import Layer

Array = jax.Array
Point = Literal["output", "activation"]
POINTS = get_args(Point)


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
