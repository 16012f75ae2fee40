"""Draws a model's variables by its own init."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxinit._caches import cached
from jaxinit.draw.drawer import Drawer, drawer
from jaxinit.draw.repeats import Repeats, repeats
from jaxinit.models.arguments import zeros_like
from jaxinit.models.trace import Traced
from jaxinit.program import versions

Array = jax.Array


class Draw(Protocol):
    """Draws the leaves of parameters and state."""

    def repeats(self, inputs: Sequence[Any]) -> Repeats:
        """Whether all keys give the same parameters."""
        ...

    def __call__(self, key: Array, *inputs: Any) -> list[Array]:
        """The leaves for one key."""
        ...

    def compile(self, key: Any, *inputs: Any) -> None:
        """Compiles what that runs, as far as it is known, and draws nothing."""
        ...

    def batched(self, keys: Array, *inputs: Any) -> list[Array]:
        """The leaves for keys ``(n,)``, each with a leading axis ``n``."""
        ...


class OwnDraw:
    """A model's own init, or the part of it that makes some of the leaves.

    Args:
      traced: the model.
      wanted: the leaves to draw, by default all.
    """

    def __init__(self, traced: Traced, wanted: Sequence[int] | None = None) -> None:
        self._traced = traced
        self._wanted = wanted
        self._drawer: Drawer | None = None
        if traced.draws and traced.init is not None:
            program = traced.init
            if wanted is not None:
                program = versions.with_outputs(program, wanted)
            self._drawer = drawer(program)

    def repeats(self, inputs: Sequence[Any]) -> Repeats:
        count = len(self._traced.params)
        wanted = range(count) if self._wanted is None else self._wanted
        if self._drawer is not None:
            marks = zip(wanted, self._drawer.depends_on_key, strict=False)
            if any(mark for leaf, mark in marks if leaf < count):
                return "no"
        return repeats(self._traced, [i for i in wanted if i < count], inputs)

    @property
    def reads_inputs(self) -> bool:
        """Whether the leaves may depend on the values of the model's inputs."""
        return self._traced.draws if self._drawer is None else self._drawer.reads_inputs

    def __call__(self, key: Array, *inputs: Any) -> list[Array]:
        if self._drawer is not None:
            return self._drawer(key, *inputs)
        return self._chosen(self._traced.init_eagerly(key, *inputs))

    def compile(self, key: Any, *inputs: Any) -> None:
        if self._drawer is not None:
            self._drawer.compile(key, *inputs)

    def batched(self, keys: Array, *inputs: Any) -> list[Array]:
        if self._drawer is not None:
            return self._drawer.batched(keys, *inputs)
        return stacked(lambda key: self(key, *inputs), keys)

    def sharded(self, key: Array, inputs: Sequence[Any], to: list[Any]) -> list[Array]:
        """The leaves for one key, each born with its sharding, if it has one."""
        if self._drawer is None:
            drawn = self(key, *inputs)
            return [
                x if s is None else jax.device_put(x, s)
                for x, s in zip(drawn, to, strict=True)
            ]
        return list(jax.jit(self._drawer.pure, out_shardings=to)(key, *inputs))

    def _chosen(self, leaves: list[Array]) -> list[Array]:
        return leaves if self._wanted is None else [leaves[i] for i in self._wanted]


@cached(16)
def own_draw(traced: Traced) -> OwnDraw:
    """The draw of all variables by the model's own init."""
    return OwnDraw(traced)


def stacked(draw: Callable[[Any], list[Array]], keys: Any) -> list[Array]:
    each = [draw(key) for key in keys]
    return [jnp.stack(leaves) for leaves in zip(*each, strict=True)]


def is_shape(value: Any) -> bool:
    """Whether an input is a shape in place of an array."""
    return isinstance(value, jax.ShapeDtypeStruct)


def as_arrays(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The inputs with zeros in place of shapes."""
    return tuple(zeros_like(x) if is_shape(x) else jnp.asarray(x) for x in inputs)
