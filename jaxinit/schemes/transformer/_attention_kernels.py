"""The kernels of an attention, alone or inside a fused one: their layouts."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.event import Use
from jaxinit.roles.network import Parameter

Array = jax.Array


class Kernel(NamedTuple):
    """What makes queries, keys or values, or takes what an attention gives.

    Attributes:
      parameter: the array that holds it.
      role: ``"query"``, ``"key"``, ``"value"`` or ``"attention_output"``.
      outputs: which of a fused array's outputs are its own; ``None`` for all.
    """

    parameter: Parameter
    role: str
    outputs: tuple[int, ...] | None = None

    @property
    def use(self) -> Use:
        assert self.parameter.use is not None
        return self.parameter.use

    @property
    def sizes(self) -> tuple[int, int]:
        """How many inputs and outputs it has."""
        inputs, outputs = (
            math.prod(self.parameter.shape[axis] for axis in axes)
            for axes in (self.use.in_axis, self.use.out_axis)
        )
        return inputs, outputs if self.outputs is None else len(self.outputs)

    @property
    def num_layers(self) -> int:
        """How many layers of a scan the array holds."""
        return math.prod(self.parameter.shape[axis] for axis in self.use.batch_axis)

    @property
    def name(self) -> str:
        """Its path, and what it is of a fused array."""
        path = "/".join(self.parameter.path)
        return path if self.outputs is None else f"{path}:{self.role}"

    def stored(self, drawn: Array, old: Array) -> Array:
        """The array with this kernel in it.

        Args:
          drawn: ``(layers, width, heads, size)``: the stream's channels, then those
            that heads have.
          old: the array before.
        """
        heads, size = drawn.shape[-2:]
        use, shape = self.use, self.parameter.shape
        takes = self.role == "attention_output"
        # An equation may list the axes that it sums over in any order.
        shared = tuple(sorted(use.in_axis)) if takes else use.out_axis
        if self._shared_sizes(shared) == (size, heads) and size != heads:
            drawn = jnp.swapaxes(drawn, 2, 3)
        x = drawn.reshape(*drawn.shape[:2], heads * size).astype(old.dtype)
        order = (*use.batch_axis, *use.in_axis, *use.out_axis)
        if takes:
            x = jnp.swapaxes(x, 1, 2)
            order = (*use.batch_axis, *shared, *use.out_axis)
        ordered = jnp.transpose(old, order)
        if self.outputs is not None:
            whole = ordered.reshape(*x.shape[:2], -1)
            x = whole.at[..., np.asarray(self.outputs)].set(x)
        x = x.reshape([shape[axis] for axis in order])
        return jnp.transpose(x, np.argsort(order).tolist())

    def _shared_sizes(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the axes over heads and their channels, of its own outputs."""
        sizes = tuple(self.parameter.shape[axis] for axis in axes)
        if self.outputs is None:
            return sizes
        places = np.unravel_index(np.asarray(self.outputs), sizes)
        counts = (len(np.unique(place)) for place in places)
        return tuple(count for count in counts if count > 1)
