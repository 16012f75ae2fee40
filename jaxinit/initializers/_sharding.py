"""Runs a draw so that its result is born with the sharding that was asked for."""

from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    auto_axes,
    get_abstract_mesh,
)

from jaxinit._typing import OutSharding
from jaxinit.initializers._jit import jit

Make = Callable[[jax.Array, tuple[int, ...], np.dtype, NamedSharding | None], jax.Array]
"""``(key, shape, dtype, sharding) -> array``; the sharding is what it may constrain
its intermediates to."""


class Drawer(Protocol):
    """What draws. Programs are kept by its equality: one a law, not one an object."""

    @property
    def is_traced(self) -> bool:
        """Whether it holds values of a trace, so that no program may be kept."""
        ...

    def draw(
        self,
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None = None,
    ) -> jax.Array:
        """The array, as ``Make`` has it."""
        ...


def place(
    drawer: Drawer,
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    out_sharding: OutSharding,
) -> jax.Array:
    """Draws under a compiled program whose output has ``out_sharding``.

    Meshes with automatic and with explicit axes both work, eagerly and inside
    ``jax.jit``; the drawer always sees automatic axes, so it can be ordinary code.
    """
    sharding = _named(out_sharding, shape)
    run = _placed if drawer.is_traced else _kept
    if _is_automatic(sharding) or not get_abstract_mesh().empty:
        return run(key, drawer, shape, dtype, sharding)
    # An explicit mesh that is not the context: draw on its automatic twin. The
    # shards are already where they belong, so `device_put` moves nothing.
    twin = NamedSharding(_automatic_twin(sharding), sharding.spec)
    placed: jax.Array = jax.device_put(run(key, drawer, shape, dtype, twin), sharding)
    return placed


def merge_axes(
    shape: tuple[int, ...], sharding: NamedSharding | None
) -> tuple[tuple[int, ...], NamedSharding | None]:
    """The shape with the fewest axes that can still carry the sharding.

    A sampler over many axes is slow to compile, and a flat one has the same values.
    Every sharded axis begins a new merged axis and takes along the unsharded axes
    behind it; so ``(3, 3, 64, 128)`` becomes ``(73728,)`` without a sharding and
    ``(576, 128)`` when its last axis is sharded.
    """
    size = int(np.prod(shape, dtype=object)) if shape else 1
    if sharding is None:
        # jax counts along one axis in 32 bits.
        return ((size,) if size < 2**31 else shape), None
    parts = (*sharding.spec, *([None] * (len(shape) - len(sharding.spec))))
    sizes: list[int] = []
    spec: list[object] = []
    for length, part in zip(shape, parts, strict=True):
        if part is None and sizes and sizes[-1] * length < 2**31:
            sizes[-1] *= length
        else:
            sizes.append(length)
            spec.append(part)
    return tuple(sizes), NamedSharding(sharding.mesh, PartitionSpec(*spec))


def constrain(x: jax.Array, sharding: NamedSharding | None) -> jax.Array:
    """``x`` with the sharding, or ``x`` where there is none."""
    if sharding is None:
        return x
    constrained: jax.Array = jax.lax.with_sharding_constraint(x, sharding)
    return constrained


def _placed(
    key: jax.Array,
    drawer: Drawer,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding,
) -> jax.Array:
    if _is_automatic(sharding):
        return constrain(drawer.draw(key, shape, dtype, sharding), sharding)

    def body(key: jax.Array) -> jax.Array:
        inner = NamedSharding(get_abstract_mesh(), sharding.spec)
        return constrain(drawer.draw(key, shape, dtype, inner), inner)

    placed: jax.Array = auto_axes(body, out_sharding=sharding)(key)
    return placed


_kept = jit("drawer", "shape", "dtype", "sharding")(_placed)


def _named(out_sharding: OutSharding, shape: tuple[int, ...]) -> NamedSharding:
    """The sharding with its mesh, checked against the shape."""
    if isinstance(out_sharding, PartitionSpec):
        mesh = get_abstract_mesh()
        if mesh.empty:
            raise ValueError(
                f"`out_sharding` is {out_sharding}, which names axes of a mesh, but "
                "no mesh is set. Pass a `NamedSharding`, or enter `jax.set_mesh(mesh)`."
            )
        out_sharding = NamedSharding(mesh, out_sharding)
    if not isinstance(out_sharding, NamedSharding):
        raise TypeError(
            "`out_sharding` must be a `NamedSharding`, a `PartitionSpec` or None, got "
            f"{out_sharding!r} of type {type(out_sharding).__name__}."
        )
    if len(out_sharding.spec) > len(shape):
        raise ValueError(
            f"`out_sharding` has a spec for {len(out_sharding.spec)} axes, "
            f"{out_sharding.spec}, but the shape {shape} has only {len(shape)}. "
            "Give at most one entry an axis."
        )
    return out_sharding


def _is_automatic(sharding: NamedSharding) -> bool:
    return AxisType.Explicit not in sharding.mesh.axis_types


def _automatic_twin(sharding: NamedSharding) -> Mesh:
    mesh = sharding.mesh
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"`out_sharding` is on the abstract mesh {mesh}, which has no devices. "
            "Enter `jax.set_mesh(mesh)`, or pass a sharding on a concrete mesh."
        )
    return Mesh(mesh.devices, mesh.axis_names)
