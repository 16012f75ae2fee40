"""The laws that other frameworks initialize by, for ports that start alike."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxinit._typing import Initializer
from jaxinit.initializers import (
    constant,
    embedding,
    fan_in_uniform_bias,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    scale,
    truncated_normal,
    variance_scaling,
    zeros,
)
from jaxinit.initializers._call import call
from jaxinit.initializers._check import check_choice
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._value import law_of, with_fans
from jaxinit.initializers.fans import Fans
from jaxinit.initializers.normal import truncated_std
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import by_part, kernels_of
from jaxinit.schemes.presets._of_layers import Layers, norms, shape_fan_in
from jaxinit.schemes.presets.cells import Cell, find_cells
from jaxinit.schemes.scheme import Assignment, Scheme, drawn

FrameworkName = Literal["flax", "torch", "keras", "equinox", "haiku"]


def framework(name: FrameworkName) -> Scheme:
    r"""The default initialization of another framework's layers.

    ===========  ========================  ==================  ================
    name         kernels                   biases              lookup tables
    ===========  ========================  ==================  ================
    ``flax``     ``lecun_normal()``        0                   :math:`N(0, 1/d)`
    ``torch``    :math:`U(\pm n^{-1/2})`   as kernels          :math:`N(0, 1)`
    ``keras``    ``glorot_uniform()``      0                   :math:`U(\pm 1/20)`
    ``equinox``  :math:`U(\pm n^{-1/2})`   as kernels          :math:`N(0, 1)`
    ``haiku``    :math:`T(0, 1/n)`         0                   :math:`T(0, 1)`
    ===========  ========================  ==================  ================

    :math:`n` is the fan-in of the kernel, also for its bias; :math:`d` is the number
    of features. :math:`T` is a normal law cut at two of its standard deviations, which
    leaves 0.8796 of them. Scales of norms are 1, their biases 0.

    Kernels of recurrent cells, and their biases:

    - ``flax``: orthogonal on the state, as they are stored, fused or not;
    - ``torch``, ``equinox``: all are :math:`U(\pm 1/\sqrt{h})`, :math:`h` the size of
      the state;
    - ``keras``: as if the gates were fused, which they are there. On the state,
      orthogonal rows across the gates: each gate's block has the standard deviation
      :math:`1/\sqrt{gh}` for :math:`g` gates. Gates in kernels of their own are drawn
      apart. The forget gate of an LSTM has bias 1;
    - ``haiku``: as other kernels, each by itself, as in ``hk.VanillaRNN``.

    Kernels that lie side by side in one array (packed queries, keys and values, gated
    layers) are drawn each by itself; those of cells as the framework has them.

    Keras counts fans by the shape of a kernel: attention kernels ``(d, heads, size)``
    have a fan-in of ``d * heads`` and a fan-out of ``d * size``, and a convolution's
    fan-out does not know of groups. So it is done here.

    Positions, class tokens, gains, and biases that belong to no kernel keep what the
    model draws. torch's ``nn.MultiheadAttention`` draws its packed input projections
    by a law of their own: add rules for it, as in the example.

    Args:
      name: one of the names above.

    Returns:
      A scheme.

    Raises:
      ValueError: if ``name`` is unknown.

    Examples:
      >>> from jaxinit.schemes.rules import override, role
      >>> scheme = framework("torch")
      >>> packed = variance_scaling(0.5, "fan_in", "uniform")  # of (3 d, d)
      >>> attention = role("query") | role("key") | role("value")
      >>> scheme = override(scheme, [(attention, packed)])

    References:
      The sources of Flax 0.12, PyTorch 2 (``nn/modules/{linear,conv,rnn,sparse}.py``),
      Keras 3, Equinox 0.13 and Haiku 0.0.16.
    """
    check_choice(
        "name", name, get_args(FrameworkName), "vit_jax() and efficientnet() are apart."
    )
    return _Framework(name, *_LAWS[name])


class _Laws(NamedTuple):
    kernel: Initializer
    table: Initializer


_TORCH = _Laws(variance_scaling(1 / 3, "fan_in", "uniform"), embedding("torch"))
_LAWS: dict[str, _Laws] = {
    "flax": _Laws(lecun_normal(), embedding("flax")),
    "torch": _TORCH,
    "keras": _Laws(glorot_uniform(), embedding("keras")),
    "equinox": _TORCH,
    "haiku": _Laws(
        scale(lecun_normal(), truncated_std(-2.0, 2.0)), truncated_normal(1.0)
    ),
}


@dataclass(frozen=True)
class _Framework(Scheme):
    name: str
    kernel: Initializer
    table: Initializer

    def assign(self, network: Network) -> list[Assignment]:
        layers = Layers(network)
        found = dict(norms(network))
        for weight in network.having("weight", "embedding"):
            if "embedding" in weight.roles:
                found[weight.leaf] = drawn(weight, self.table, "tables")
            elif self.name == "keras":
                found[weight.leaf] = self._glorot(weight, "kernels")
            else:
                found[weight.leaf] = drawn(weight, self.kernel, "kernels")
        for bias in layers.biases():
            init = zeros
            if self.name in ("torch", "equinox"):
                init = fan_in_uniform_bias(layers.fan_in(bias))
            found[bias.leaf] = drawn(bias, init, "biases")
        free = {p.leaf for p in network.free}
        for cell in find_cells(network):
            for assignment in self._in_cell(cell, network):
                if assignment.leaf in free:
                    found[assignment.leaf] = assignment
        return list(found.values())

    def _glorot(
        self, weight: Parameter, rule: str, fans: Fans | None = None
    ) -> Assignment:
        def drawn_as(one: Parameter) -> Initializer:
            init = with_fans(self.kernel, fans or _keras_fans(one))
            assert init is not None
            return init

        if fans is not None:
            weight = weight._replace(parts=())
        init = by_part(weight, [drawn_as(one) for one in kernels_of(weight)])
        return Assignment(weight.leaf, init, rule, law_of(self.kernel))

    def _in_cell(self, cell: Cell, network: Network) -> Iterator[Assignment]:
        if self.name == "flax":
            for kernel in cell.recurrent:
                whole = kernel._replace(parts=())
                yield drawn(whole, orthogonal(), "kernels on a state")
        elif self.name in ("torch", "equinox"):
            bound = fan_in_uniform_bias(cell.state)
            for p in (*cell.recurrent, *cell.inputs, *cell.biases):
                yield Assignment(p.leaf, bound, "a cell", "uniform, 1/sqrt(state)")
        elif self.name == "keras":
            total = sum(_columns(kernel) for kernel in cell.recurrent)
            for kernel in cell.recurrent:
                init = _first_columns(orthogonal(), total)
                whole = kernel._replace(parts=())
                yield drawn(whole, init, "kernels on a state", "orthogonal")
            total = sum(_columns(kernel) for kernel in cell.inputs)
            for kernel in cell.inputs:
                fans = Fans(shape_fan_in(kernel), total)
                yield self._glorot(kernel, "kernels on an input", fans)
            if cell.has_output_gate:
                yield from _unit_forget_biases(cell, network)


def _unit_forget_biases(cell: Cell, network: Network) -> Iterator[Assignment]:
    for bias in cell.biases:
        values = np.zeros(bias.shape[-1])
        for gate in network.structure.gates.get(bias.leaf, ()):
            if gate.kind == "forget":
                values[gate.start : gate.stop] = 1.0
        if values.any():
            law = "1 for the forget gate"
            yield Assignment(bias.leaf, constant(values), "gate biases", law)


def _keras_fans(weight: Parameter) -> Fans:
    """The fans that Keras reads off the shape of one layer's kernel."""
    use = weight.use
    assert use is not None
    rows, columns = shape_fan_in(weight), _columns(weight)
    if use.groups > 1:
        channels = math.prod(weight.shape[axis] for axis in use.in_axis)
        taps = rows / channels
        if channels == 1:  # a depthwise kernel is stored (*taps, channels, multiplier)
            return Fans(taps * use.groups, taps * columns / use.groups)
        return Fans(rows, taps * columns)
    if math.prod(weight.shape[axis] for axis in use.in_axis) == rows:
        inner = [weight.shape[axis] for axis in (*use.in_axis, *use.out_axis)]
        if len(inner) > 2:
            rest = math.prod(inner[:-2])
            return Fans(rest * inner[-2], rest * inner[-1])
        return Fans(rows, columns)
    return Fans(rows, rows / math.prod(weight.shape[i] for i in use.in_axis) * columns)


def _columns(weight: Parameter) -> int:
    """How many outputs a kernel has, taps apart."""
    use = weight.use
    assert use is not None
    return math.prod(weight.shape[axis] for axis in use.out_axis) or use.fan_out


def _first_columns(base: Initializer, total: int) -> Initializer:
    """The first columns of a kernel that ``base`` draws with ``total`` of them."""

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        whole = call(base, key, (*shape[:-1], total), dtype, sharding)
        return whole[..., : shape[-1]]

    return from_sampler(sampler)
