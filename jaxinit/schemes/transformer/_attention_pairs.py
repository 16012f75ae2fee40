"""The pairs of kernels that attention multiplies: its layouts, head by head."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import Attention
from jaxinit.schemes.transformer._head_size import HeadSizes

Array = jax.Array
_NAMES = ("query", "key", "value", "attention_output")


class Pair(NamedTuple):
    """Two kernels whose product, over the channels they share, is drawn.

    Attributes:
      left: makes queries, or values.
      right: makes keys, or takes what the values give.
      width: the number of channels of the stream.
      heads: into how many heads the shared channels are divided.
      size: the number of shared channels of one head.
      is_output: whether this is a pair of value and output, whose product is over all
        heads; that of query and key is for each.
    """

    left: Parameter
    right: Parameter
    width: int
    heads: int
    size: int
    is_output: bool

    @property
    def rank(self) -> int:
        """The number of channels that one product is over."""
        return self.heads * self.size if self.is_output else self.size

    @property
    def num_products(self) -> int:
        """How many products the arrays hold, over heads and layers of a scan."""
        return self._num_layers * (1 if self.is_output else self.heads)

    @property
    def _num_layers(self) -> int:
        assert self.left.use is not None
        return math.prod(self.left.shape[a] for a in self.left.use.batch_axis)

    def stored(self, drawn: Array, parameter: Parameter) -> Array:
        """A kernel of a pair in the layout that it is stored in.

        Args:
          drawn: ``(num_products, width, rank)``: the stream's channels, then those
            that are shared.
          parameter: one of the two.

        Returns:
          The array for the parameter.
        """
        use = parameter.use
        assert use is not None
        takes = self.is_output and parameter is self.right
        shape: tuple[int, ...] = (self._num_layers, self.heads, self.width, self.size)
        if self.is_output:
            shape = (self._num_layers, self.width, self.heads, self.size)
            x = drawn.reshape(shape)
        else:
            x = jnp.swapaxes(drawn.reshape(shape), 1, 2)
        # An equation may list the axes that it sums over in any order.
        shared = tuple(sorted(use.in_axis)) if takes else use.out_axis
        sizes = tuple(parameter.shape[axis] for axis in shared)
        if sizes == (self.size, self.heads) and self.size != self.heads:
            x = jnp.swapaxes(x, 2, 3)
        x = x.reshape(self._num_layers, self.width, self.heads * self.size)
        order = (*use.batch_axis, *use.in_axis, *use.out_axis)
        if takes:
            x = jnp.swapaxes(x, 1, 2)
            order = (*use.batch_axis, *shared, *use.out_axis)
        x = x.reshape([parameter.shape[axis] for axis in order])
        return jnp.transpose(x, np.argsort(order).tolist()).astype(parameter.dtype)


def find_pairs(network: Network) -> list[Pair]:
    """The pairs of a network's self-attentions, in the order of data.

    Raises:
      ValueError: if there is no self-attention, or one whose kernels are not two by
        two of one shape.
    """
    own = [a for a in network.structure.attentions if not a.cross]
    if not own:
        raise ValueError(
            f"mimetic() is for self-attention, and {network.traced.name} has none."
        )
    sizes = HeadSizes(network)
    pairs: list[Pair] = []
    seen = set[int]()
    troubles: list[_NoPair] = []
    for attention in own:
        for pair in _pairs_of(network, attention, sizes):
            if isinstance(pair, _NoPair):
                troubles.append(pair)
            elif pair.left.leaf not in seen:  # blocks may share their weights
                seen.add(pair.left.leaf)
                pairs.append(pair)
    if troubles:
        raise ValueError(_refused(troubles))
    return pairs


class _NoPair(NamedTuple):
    """Kernels that cannot be drawn together, and why."""

    why: str
    kernels: tuple[Parameter, ...]


def _refused(troubles: Sequence[_NoPair]) -> str:
    """What is wrong with the first, and rules for all of them as a user writes them."""
    names = dict.fromkeys(p.name for t in troubles for p in t.kernels)
    rules = ", ".join(f"({name!r}, jaxinit.lecun_normal())" for name in names)
    return (
        f"{troubles[0].why} Else give all such kernels rules of their own: "
        f"override(mimetic(), [{rules}])."
    )


def _pairs_of(
    network: Network, attention: Attention, sizes: HeadSizes
) -> Iterator[Pair | _NoPair]:
    found = {
        name: _kernel(network, events, name)
        for name, events in zip(_NAMES, (*attention[:3], attention.output), strict=True)
    }
    query, key, value, output = (found[name] for name in _NAMES)
    leaves = [parameter.leaf for parameter in found.values()]
    for left, right, names in ((query, key, _NAMES[:2]), (value, output, _NAMES[2:])):
        taken = [p for p in (left, right) if p.leaf in network.taken]
        if len(taken) == 2:
            continue
        several = [p for p in found.values() if leaves.count(p.leaf) > 1]
        if several:
            yield _NoPair(
                f"mimetic() draws queries, keys, values and outputs as two pairs of "
                f"kernels, and {several[0].name} of shape {several[0].shape} is "
                "several of them. Make them layers of their own in the model.",
                tuple(found.values()),
            )
            return
        if taken:
            raise ValueError(
                f"mimetic() draws {left.name} and {right.name} together, and a rule "
                f"takes only {taken[0].name}. Give rules for both of them, or for none."
            )
        (event,) = attention.query
        if names[0] == "query":
            yield _of_heads(left, right, sizes.of(event))
        else:
            yield _of_all(left, right, sizes.of(event))


def _of_heads(query: Parameter, key: Parameter, size: int) -> Pair | _NoPair:
    width, inner = _sizes(query)
    if not size or inner % size or (width, inner) != _sizes(key):
        return _NoPair(
            f"mimetic() needs as many keys as queries, got {query.name} of shape "
            f"{query.shape} and {key.name} of shape {key.shape}, for heads of size "
            f"{size}.",
            (query, key),
        )
    if size > width:
        return _no_room(query, key, size, width)
    return Pair(query, key, width, inner // size, size, False)


def _of_all(value: Parameter, output: Parameter, size: int) -> Pair | _NoPair:
    width, inner = _sizes(value)
    if (inner, width) != _sizes(output):
        return _NoPair(
            f"mimetic() needs values as many as the output takes, and an output as "
            f"wide as what they are made of, got {value.name} of shape {value.shape} "
            f"and {output.name} of shape {output.shape}.",
            (value, output),
        )
    if inner > width:
        return _no_room(value, output, inner, width)
    if not size or inner % size:  # values of another size than keys
        size = inner
    return Pair(value, output, width, inner // size, size, True)


def _no_room(left: Parameter, right: Parameter, inner: int, width: int) -> _NoPair:
    return _NoPair(
        f"mimetic() factors a {width} x {width} matrix into {left.name} and "
        f"{right.name}, which share {inner} channels: at most {width} are possible.",
        (left, right),
    )


def _kernel(network: Network, events: frozenset[int], name: str) -> Parameter:
    """The one kernel of a part of an attention."""
    uses = [use for number in events for use in network.event(number).uses]
    if len(uses) != 1:
        names = sorted(network.params[use.leaf].name for use in uses)
        raise ValueError(
            f"mimetic() needs one layer for each {name}, and an attention of "
            f"{network.traced.name} has {len(uses)}: {', '.join(names) or 'none'}."
        )
    (use,) = uses
    parameter = network.params[use.leaf]
    if not use.in_axis or not use.out_axis:
        raise ValueError(
            f"the program does not tell which axes of {parameter.name}, of shape "
            f"{parameter.shape}, are inputs and outputs: the model rearranges it. "
            f"mimetic() cannot draw it."
        )
    return parameter


def _sizes(parameter: Parameter) -> tuple[int, int]:
    use = parameter.use
    assert use is not None
    return (
        math.prod(parameter.shape[axis] for axis in use.in_axis),
        math.prod(parameter.shape[axis] for axis in use.out_axis),
    )
