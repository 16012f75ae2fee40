"""Stacks of dense layers, and what their nonlinearities are as functions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.layers.event import Event
from jaxinit.program import versions
from jaxinit.program.plan import Hooks, Plan, Probes, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.schemes.pretrain._elementwise import NotElementwise, elementwise
from jaxinit.schemes.pretrain.denoising import Hidden

Array = jax.Array

# Two ways to compute one value agree within this share of its size: more than the
# rounding of products on devices that round their factors to 10 bits.
AGREEMENT = 0.02

_KEEP = Hooks(
    record=lambda tap, value: value,
    passes=lambda tap, value, probe: value if probe is None else probe,
    merge=jnp.maximum,
)


class DenseLayer(NamedTuple):
    """A layer ``x @ W + b``.

    Attributes:
      name: its name in messages.
      number: its event.
      event: the event.
      kernel: the leaf that is ``W``.
      bias: the leaf that is ``b``, if there is one.
      transposed: whether the leaf's first axis is that of the outputs.
    """

    name: str
    number: int
    event: Event
    kernel: int
    bias: int | None
    transposed: bool

    def kernel_of(self, params: Sequence[Array]) -> Array:
        """``W`` as `(in, out)`."""
        kernel = params[self.kernel]
        return kernel.T if self.transposed else kernel


@dataclass(frozen=True)
class Stack:
    """A network of dense layers, each fed by the activation of the one before.

    Attributes:
      network: the network.
      layers: its layers, the first one first.
    """

    network: Network
    layers: tuple[DenseLayer, ...]

    def data(
        self,
        layer: DenseLayer,
        params: Sequence[Array],
        state: Sequence[Array],
        key: Array,
        inputs: Sequence[Array],
    ) -> Array:
        """What a layer sees, `(samples, in)`, whatever the model does before it.

        With columns of the unit matrix for a kernel and no bias, a dense layer's
        output is its input.
        """
        changed = list(params)
        kernel = params[layer.kernel]
        size, width = layer.kernel_of(params).shape
        if layer.bias is not None:
            changed[layer.bias] = jnp.zeros_like(params[layer.bias])
        plan = Plan()
        tap = Tap(layer.number, "output")
        plan.at(layer.event.at, tap)
        blocks = []
        for first in range(0, size, width):
            unit = jnp.eye(size, width, k=-first, dtype=kernel.dtype)
            changed[layer.kernel] = unit.T if layer.transposed else unit
            records = self._run([*changed, *state, key, *inputs], plan, {})
            blocks.append(_rows(records[tap], layer.event))
        return jnp.concatenate(blocks, axis=1)[:, :size]

    def hidden(self, layer: DenseLayer) -> Hidden:
        """The layer's nonlinearity, as the model computes it, for any shape.

        Raises:
          NotElementwise: if it is no elementwise function.
        """
        event = layer.event
        if event.activation is None:
            return lambda values: values
        plan = Plan()
        tap = Tap(layer.number, "activation")
        plan.at(event.at, Tap(layer.number, "output"))
        plan.at(event.activation.at, tap)
        avals = [v.aval for v in self.network.traced.apply.jaxpr.invars]

        def from_output(output: Array) -> Array:
            blank = [_blank(aval) for aval in avals]
            return self._run(blank, plan, {layer.number: output})[tap]

        shape = jax.ShapeDtypeStruct(event.shape, jnp.dtype(event.dtype))
        program, made = versions.trace(from_output, shape)
        if made.shape != event.shape:
            raise NotElementwise(f"{event.shape} becomes {made.shape}")
        function = elementwise(program)
        return lambda values: function(values.astype(shape.dtype)).astype(values.dtype)

    def _run(self, values: list[Any], plan: Plan, probes: Probes) -> dict[Tap, Array]:
        return replay(self.network.traced.forward, values, plan, _KEEP, probes)[1]


def dense_stack(network: Network) -> Stack:
    """Reads a network as a stack of dense layers.

    Raises:
      ValueError: if it is none; it says where not, and what to do.
    """
    layers: list[DenseLayer] = []
    before: frozenset[int] = frozenset()
    for number, event in zip(network.sites.numbers, network.sites.events, strict=True):
        if event.kind == "tap":
            continue
        reason = _unlike_dense(network, event)
        if reason is None and layers and _parents(network, event) != before:
            reason = f"is not fed by {layers[-1].name} alone"
        if reason is not None:
            raise _no_stack(network, _name(network, event), reason)
        layers.append(_dense(network, number, event))
        before = frozenset({number})
    if not layers:
        raise _no_stack(network, "nothing", "is a dense layer")
    kernels = [layer.kernel for layer in layers]
    for layer in layers:
        if kernels.count(layer.kernel) > 1:
            raise _no_stack(network, layer.name, "shares its kernel with another layer")
    stack = Stack(network, tuple(layers))
    with jax.ensure_compile_time_eval():
        _check_elementwise(stack)
    return stack


def _unlike_dense(network: Network, event: Event) -> str | None:
    """What keeps an event from being a dense layer, if anything does."""
    if event.kind == "join":
        return "adds two paths"
    if event.loops:
        return "lies in a loop"
    if event.conditional:
        return "may not run"
    if event.operation != "dot_general" or not event.uses:
        return f"is no product with a kernel ({event.operation})"
    use, rest = event.uses[0], set(event.params) - {event.uses[0].leaf}
    axes = (use.in_axis, use.out_axis)
    if len(event.uses) > 1 or axes not in (((0,), (1,)), ((1,), (0,))):
        return "has no kernel of two axes, inputs and outputs"
    if len(network.params[use.leaf].shape) != 2 or len(event.channels) != 1:
        return "has no kernel of two axes, inputs and outputs"
    if len(rest) > 1 or any("bias" not in network.params[n].roles for n in rest):
        names = ", ".join(network.params[n].name for n in sorted(rest))
        return f"has other parameters than a kernel and a bias ({names})"
    return None


def _dense(network: Network, number: int, event: Event) -> DenseLayer:
    use = event.uses[0]
    rest = [leaf for leaf in event.params if leaf != use.leaf]
    name = _name(network, event)
    bias = rest[0] if rest else None
    return DenseLayer(name, number, event, use.leaf, bias, use.in_axis == (1,))


def _name(network: Network, event: Event) -> str:
    if not event.params:
        return "the model"
    path = network.params[event.params[0]].path
    return "/".join(path[:-1] or path)


def _parents(network: Network, event: Event) -> frozenset[int]:
    """The events that feed one; taps are looked through."""
    found: set[int] = set()
    for number in event.parents:
        parent = network.event(number)
        found |= _parents(network, parent) if parent.kind == "tap" else {number}
    return frozenset(found)


def _no_stack(network: Network, name: str, reason: str) -> ValueError:
    return ValueError(
        "`greedy_pretrain` needs a stack of dense layers, each fed by the activation "
        f"of the one before, and in {network.traced.name} {name} {reason}. Pre-train "
        "the dense part as a model of its own and copy its weights with load_partial."
    )


def _check_elementwise(stack: Stack) -> None:
    """Raises unless each layer sees the nonlinearity of the one before.

    Tried on random weights and data.
    """
    network = stack.network
    avals = [v.aval for v in network.traced.apply.jaxpr.invars]
    values = [
        _random(aval, jax.random.key(n))
        if n in network.traced.param_positions or n in network.traced.input_positions
        else _blank(aval)
        for n, aval in enumerate(avals)
    ]
    first = len(network.params)
    params, rest = values[:first], values[first:]
    split = network.traced.num_state
    others = (rest[:split], rest[split], rest[split + 1 :])
    seen = jax.jit(
        lambda params, *others: [
            stack.data(layer, params, *others) for layer in stack.layers
        ]
    )(params, *others)
    for (layer, x), (following, wanted) in itertools.pairwise(
        zip(stack.layers, seen, strict=True)
    ):
        bias = 0 if layer.bias is None else params[layer.bias]
        try:
            found = stack.hidden(layer)(x @ layer.kernel_of(params) + bias)
        except NotElementwise:
            found = jnp.zeros(())
        scale = jnp.abs(wanted).max()
        if found.shape != wanted.shape or not bool(
            (jnp.abs(found - wanted) <= AGREEMENT * scale).all()
        ):
            raise _no_stack(
                network,
                following.name,
                f"does not see an elementwise function of {layer.name}: there is "
                "dropout (call the model with deterministic=True), a reduction, or a "
                "factor in between",
            )


def _random(aval: Any, key: Array) -> Array:
    if not jnp.issubdtype(aval.dtype, jnp.inexact):
        return _blank(aval)
    fan = aval.shape[0] if len(aval.shape) == 2 else 1
    return jax.random.normal(key, aval.shape, aval.dtype) / math.sqrt(max(fan, 1))


def _blank(aval: Any) -> Array:
    if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), aval.shape)
    return jnp.zeros(aval.shape, aval.dtype)


def _rows(value: Array, event: Event) -> Array:
    """A layer's output as `(samples, channels)`."""
    moved = jnp.moveaxis(value, event.channels[0], -1)
    return moved.reshape(-1, moved.shape[-1])
