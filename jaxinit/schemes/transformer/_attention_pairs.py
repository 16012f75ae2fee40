"""The pairs of kernels that attention multiplies, head by head."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import Attention
from jaxinit.schemes.transformer._attention_kernels import Kernel
from jaxinit.schemes.transformer._head_size import HeadSizes

Array = jax.Array
_ROLES = ("query", "key", "value", "attention_output")


class Pair(NamedTuple):
    """Two kernels whose product, over the channels they share, is drawn.

    Attributes:
      left: makes queries, or values.
      right: makes keys, or takes what the values give.
      width: the number of channels of the stream.
      heads: of keys, or of values.
      size: the number of channels of one head.
      group: how many heads of queries share one of keys and values.
    """

    left: Kernel
    right: Kernel
    width: int
    heads: int
    size: int
    group: int

    @property
    def is_output(self) -> bool:
        """Whether the product of value and output, which is over all heads.

        That of query and key is for each head of the keys.
        """
        return self.left.role == "value"

    @property
    def rank(self) -> int:
        """The number of channels that one product is over."""
        return self.heads * self.size if self.is_output else self.size

    @property
    def num_products(self) -> int:
        """How many products the arrays hold, over heads and layers of a scan."""
        return self.left.num_layers * (1 if self.is_output else self.heads)

    @property
    def num_targets(self) -> int:
        """How many matrices one product is to come near: those of a group's heads."""
        return 1 if self.is_output else self.group

    def stored(
        self, left: Array, right: Array, old_left: Array, old_right: Array
    ) -> tuple[Array, Array]:
        """Both kernels in the layouts that they are stored in.

        A group's heads take what its values give in equal parts, and all kernels of a
        pair have the same size head by head.

        Args:
          left: ``(num_products, num_targets, width, rank)``: a group's heads, the
            stream's channels, then those that are shared.
          right: ``(num_products, width, rank)``.
          old_left: the array that holds the left kernel, before.
          old_right: likewise for the right one.
        """
        layers, even = self.left.num_layers, self.group**0.25
        if self.is_output:
            by_head = (layers, self.width, self.heads, self.size)
            left, right = left.reshape(by_head) / even, right.reshape(by_head)
            right = jnp.repeat(right * (even / self.group), self.group, 2)
        else:
            heads = self.heads * self.group
            left = left.reshape(layers, heads, self.width, self.size) * even
            right = right.reshape(layers, self.heads, self.width, self.size) / even
            left, right = jnp.swapaxes(left, 1, 2), jnp.swapaxes(right, 1, 2)
        new = self.left.stored(left, old_left)
        if self.right.parameter.leaf == self.left.parameter.leaf:
            new = self.right.stored(right, new)
            return new, new
        return new, self.right.stored(right, old_right)


def find_pairs(network: Network) -> list[Pair]:
    """The pairs of a network's self-attentions, in the order of data.

    Raises:
      ValueError: if there is no self-attention, or one whose kernels do not fit two by
        two.
    """
    own = [a for a in network.structure.attentions if not a.cross]
    if not own:
        raise ValueError(
            f"mimetic() is for self-attention, and {network.traced.name} has none."
        )
    sizes = HeadSizes(network)
    pairs: dict[str, Pair] = {}  # blocks may share their weights
    troubles: list[_NoPair] = []
    for attention in own:
        for pair in _pairs_of(network, attention, sizes):
            if isinstance(pair, _NoPair):
                troubles.append(pair)
            else:
                pairs.setdefault(pair.left.name, pair)
    if troubles:
        raise ValueError(_refused(troubles))
    return list(pairs.values())


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
    held = [
        _array(network, events, role)
        for role, events in zip(_ROLES, (*attention[:3], attention.output), strict=True)
    ]
    leaves = [parameter.leaf for parameter in held]
    kernels: list[Kernel] = []
    for role, parameter in zip(_ROLES, held, strict=True):
        outputs = _outputs(parameter, role)
        several = leaves.count(parameter.leaf) > 1 and not outputs
        if several and parameter.leaf not in network.taken:
            yield _NoPair(
                f"mimetic() draws queries, keys, values and outputs as two pairs of "
                f"kernels, and {parameter.name} of shape {parameter.shape} is several "
                "of them, in an order that the program does not tell. Make them layers "
                "of their own in the model.",
                tuple(held),
            )
            return
        kernels.append(Kernel(parameter, role, outputs))
    (event,) = attention.query
    size = sizes.of(event)
    for left, right, make in (
        (kernels[0], kernels[1], _of_heads),
        (kernels[2], kernels[3], _of_all),
    ):
        both = left.parameter, right.parameter
        taken = [p for p in both if p.leaf in network.taken]
        if len(taken) == 2:
            continue
        if taken:
            raise ValueError(
                f"mimetic() draws {both[0].name} and {both[1].name} together, and a "
                f"rule takes only {taken[0].name}. Give rules for both of them, or for "
                "none."
            )
        yield make(left, right, size, kernels)


def _outputs(parameter: Parameter, role: str) -> tuple[int, ...] | None:
    """Which outputs of a fused array have the role; ``None`` if it is not told."""
    parts = [part for part in parameter.parts if role in part.roles]
    if not parts or any(part.roles.intersection(_ROLES) != {role} for part in parts):
        return None
    return tuple(number for part in parts for number in part.outputs)


def _of_heads(
    query: Kernel, key: Kernel, size: int, kernels: Sequence[Kernel]
) -> Pair | _NoPair:
    del kernels
    (width, inner), (key_width, shared) = query.sizes, key.sizes
    if not size or width != key_width or shared % size or inner % shared:
        return _NoPair(
            f"mimetic() needs as many keys as queries, or heads of keys that groups of "
            f"queries share, got {inner} queries of {query.parameter.name} and "
            f"{shared} keys of {key.parameter.name}, for heads of size {size}.",
            (query.parameter, key.parameter),
        )
    if size > width:
        return _no_room(query, key, size, width)
    return Pair(query, key, width, shared // size, size, inner // shared)


def _of_all(
    value: Kernel, output: Kernel, size: int, kernels: Sequence[Kernel]
) -> Pair | _NoPair:
    (width, inner), (taken, out_width) = value.sizes, output.sizes
    heads = kernels[1].sizes[1] // size if size else 0
    group = taken // inner
    if (
        taken % inner
        or width != out_width
        or (group > 1 and (not heads or inner % heads))
    ):
        return _NoPair(
            f"mimetic() needs values as many as the output takes, or as many for each "
            f"head of a group, and an output as wide as what they are made of, got "
            f"{value.parameter.name} of {width} to {inner} channels and "
            f"{output.parameter.name} of {taken} to {out_width}.",
            (value.parameter, output.parameter),
        )
    if inner > width:
        return _no_room(value, output, inner, width)
    if group > 1:
        size = inner // heads
    elif not size or inner % size:  # values of another size than keys
        size = inner
    return Pair(value, output, width, inner // size, size, group)


def _no_room(left: Kernel, right: Kernel, inner: int, width: int) -> _NoPair:
    return _NoPair(
        f"mimetic() factors a {width} x {width} matrix into {left.parameter.name} and "
        f"{right.parameter.name}, which share {inner} channels: at most {width} are "
        "possible.",
        (left.parameter, right.parameter),
    )


def _array(network: Network, events: frozenset[int], role: str) -> Parameter:
    """The one array that holds a kernel of an attention."""
    uses = [use for number in events for use in network.event(number).uses]
    if len(uses) != 1:
        names = sorted(network.params[use.leaf].name for use in uses)
        raise ValueError(
            f"mimetic() needs one layer for each {role}, and an attention of "
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
