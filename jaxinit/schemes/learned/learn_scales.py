"""The search of GradInit: one scale for each of some arrays, for any loss."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import DTypeLike

from jaxinit.schemes.learned._repeat import Step, repeat
from jaxinit.schemes.learned._scales import norms, scaled

Array = jax.Array
Algorithm = Literal["sgd", "normalized_sgd", "adam"]


class Settings(NamedTuple):
    """The numbers of ``gradinit``, under the names that they have there."""

    algorithm: Algorithm = "normalized_sgd"
    eta: float = 0.1
    gamma: float = 1.0
    iterations: int = 390
    learning_rate: float = 1e-2


_DEFAULTS = Settings()


def learn_scales(
    loss: Callable[..., Array],
    params: Sequence[Array],
    batches: Iterable[tuple[Any, Any]],
    key: Array,
    *,
    min_scales: Sequence[float],
    stacked: Sequence[Sequence[int]] | None = None,
    fixed: Sequence[bool] | None = None,
    extra: Sequence[Any] = (),
    settings: Settings = _DEFAULTS,
    progress: bool | None = None,
) -> list[Array]:
    """The scales that GradInit finds, for any function of some arrays.

    Args:
      loss: ``(params, batch, key, *extra) -> scalar``.
      params: the arrays to scale.
      batches: pairs of the batch that the gradient is taken on and the batch that the
        step is judged on.
      key: for random numbers in ``loss``; each step gets its own.
      min_scales: for each array, the smallest scale.
      stacked: for each array, the axes along which it is several tensors.
      fixed: for each array, whether its scale stays 1.
      extra: what else ``loss`` is given.
      settings: see ``gradinit``.
      progress: whether to show progress.

    Returns:
      For each array its scales, which multiply it by broadcasting.
    """
    params = list(params)
    stacked = [()] * len(params) if stacked is None else stacked
    fixed = [False] * len(params) if fixed is None else fixed
    sizes = norms(params, stacked)
    ones = [jnp.ones_like(size) for size in sizes]
    step, optimizer = _step(loss, tuple(min_scales), settings)
    start = _State(
        params,
        tuple(extra),
        [(size > 0) & (not f) for size, f in zip(sizes, fixed, strict=True)],
        ones,
        optimizer.init(ones),
        optimizer.init(ones),
    )
    found = repeat(
        step,
        start,
        settings.iterations,
        batches,
        key,
        label="gradinit",
        progress=progress,
    )
    return found.scales


class _State(NamedTuple):
    """Where the search is.

    Attributes:
      params: the arrays as they were.
      extra: what else the loss is given.
      movable: which scales may change.
      scales: one for each tensor.
      objective: Adam's state for steps that lower the objective.
      constraint: Adam's state for steps that lower the gradient's norm.
    """

    params: list[Array]
    extra: tuple[Any, ...]
    movable: list[Array]
    scales: list[Array]
    objective: optax.OptState
    constraint: optax.OptState


@functools.lru_cache(maxsize=16)
def _step(
    loss: Callable[..., Array], min_scales: tuple[float, ...], settings: Settings
) -> tuple[Step[_State], optax.GradientTransformation]:
    """One step of the search; kept, so that it is compiled once for many seeds."""
    optimizer = optax.chain(optax.clip(1.0), optax.adam(settings.learning_rate))

    def step(state: _State, pair: tuple[Any, Any], key: Array) -> tuple[_State, Array]:
        first, second = pair

        def gradient(scales: list[Array]) -> tuple[Array, list[Array]]:
            weights = scaled(state.params, scales)
            return jax.value_and_grad(loss)(weights, first, key, *state.extra)

        def norm(scales: list[Array]) -> Array:
            return _norm(gradient(scales)[1], settings.algorithm)

        value, slopes = gradient(state.scales)
        size = _norm(slopes, settings.algorithm)
        moves = _direction(slopes, settings.algorithm)

        def objective(scales: list[Array]) -> Array:
            after = [
                weight - (settings.eta * move.conj()).astype(weight.dtype)
                for weight, move in zip(
                    scaled(state.params, scales), moves, strict=True
                )
            ]
            return loss(after, second, key, *state.extra) / settings.eta

        def update(
            target: Callable[[list[Array]], Array], kept: optax.OptState
        ) -> tuple[list[Array], optax.OptState]:
            slopes = [
                jnp.where(moves, slope, jnp.zeros_like(slope))
                for moves, slope in zip(
                    state.movable, jax.grad(target)(state.scales), strict=True
                )
            ]
            changes, kept = optimizer.update(slopes, kept)
            scales = [
                jnp.maximum(scale + change, least)
                for scale, change, least in zip(
                    state.scales, changes, min_scales, strict=True
                )
            ]
            return scales, kept

        def constrain() -> _State:
            scales, kept = update(norm, state.constraint)
            return state._replace(scales=scales, constraint=kept)

        def improve() -> _State:
            scales, kept = update(objective, state.objective)
            return state._replace(scales=scales, objective=kept)

        after: _State = lax.cond(size > settings.gamma, constrain, improve)
        finite = jnp.isfinite(size)
        return after, jnp.where(finite, value, size.astype(value.dtype))

    return step, optimizer


def _norm(slopes: Sequence[Array], algorithm: Algorithm) -> Array:
    """The norm that the constraint is about, in float32 at least."""
    sizes = [jnp.abs(g).astype(_wide(g)) for g in slopes]
    if algorithm == "adam":
        return sum((size.sum() for size in sizes), jnp.zeros(()))
    squares = sum((jnp.square(size).sum() for size in sizes), jnp.zeros(()))
    return jnp.sqrt(squares)


def _wide(g: Array) -> DTypeLike:
    return jnp.promote_types(g.real.dtype, jnp.zeros(()).dtype)


def _direction(slopes: Sequence[Array], algorithm: Algorithm) -> list[Array]:
    """Where the simulated optimizer goes; a gradient of zeros is no direction."""
    if algorithm == "adam":
        return [jnp.sign(g) for g in slopes]
    if algorithm == "sgd":
        return list(slopes)
    size = _norm(slopes, algorithm)
    inverse = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0)
    return [g * inverse.astype(g.real.dtype) for g in slopes]
