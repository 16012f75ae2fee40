"""How jax is configured here: what a trace depends on, and threads alike."""

import contextlib
import functools
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import jax

# What a context manager of jax's sets for one thread alone.
_SCOPED: dict[str, Callable[[Any], Any]] = {
    "jax_enable_x64": jax.enable_x64,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_default_device": jax.default_device,
    "jax_default_prng_impl": jax.default_prng_impl,
    "jax_threefry_partitionable": jax.threefry_partitionable,
    "jax_debug_nans": jax.debug_nans,
    "jax_debug_infs": jax.debug_infs,
    "jax_disable_jit": jax.disable_jit,
    "jax_transfer_guard_host_to_device": jax.transfer_guard_host_to_device,
    "jax_transfer_guard_device_to_host": jax.transfer_guard_device_to_host,
    "jax_transfer_guard_device_to_device": jax.transfer_guard_device_to_device,
}


def configuration() -> tuple[Hashable, ...]:
    """All that a traced or compiled program depends on besides its arguments."""
    options = (str(getattr(jax.config, name)) for name in _SCOPED)
    return (*options, _mesh(), jax.sharding.get_abstract_mesh())


def keys_count_apart() -> bool:
    """Whether a draw can be cut over devices: the same program draws other numbers."""
    return bool(getattr(jax.config, "jax_threefry_partitionable"))  # noqa: B009


def _mesh() -> jax.sharding.Mesh | None:
    """The mesh in use; within a trace only an abstract one is known."""
    try:
        return jax.sharding.get_mesh()
    except ValueError:
        return None


P = ParamSpec("P")
R = TypeVar("R")


def measuring(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which moves arrays of its own and looks at NaN on purpose.

    Guards against either are for the user's program: they do not hold inside, nor does
    ``jax.disable_jit``, as what is measured is a compiled program.
    """

    @functools.wraps(function)
    def unguarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with (
            jax.transfer_guard("allow"),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.disable_jit(False),
        ):
            return function(*args, **kwargs)

    return unguarded


def thread_pool(workers: int | None) -> ThreadPoolExecutor:
    """Threads in which jax is configured as in the thread that calls this."""
    found = {name: getattr(jax.config, name) for name in _SCOPED}
    mesh = _mesh()

    def enter() -> None:
        scopes = contextlib.ExitStack()
        for name, scope in _SCOPED.items():
            if found[name] != getattr(jax.config, name):
                scopes.enter_context(scope(found[name]))
        if mesh is not None and not mesh.empty:
            scopes.enter_context(jax.set_mesh(mesh))
        _held.append(scopes)  # they last as long as the thread

    _held: list[contextlib.ExitStack] = []
    return ThreadPoolExecutor(workers, initializer=enter)
