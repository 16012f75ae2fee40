"""The search of MetaInit: the norms of some arrays, for any loss."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.schemes.learned._repeat import Step, repeat
from jaxinit.schemes.learned._scales import norms, scaled

Array = jax.Array

# A norm is not let below this share of what it was: the sign of a slope moves it by
# up to 1 a step, more than the norm of a small tensor.
LEAST_SHARE = 0.01


class Settings(NamedTuple):
    """The numbers of ``metainit``, under the names that they have there."""

    steps: int = 500
    learning_rate: float = 0.1
    momentum: float = 0.9
    eps: float = 1e-5


_DEFAULTS = Settings()


def gradient_quotient(
    loss: Callable[[Any], Array], params: Any, eps: float = 1e-5
) -> Array:
    r"""How much the gradient changes over a step along itself.

    Args:
      loss: a scalar function of ``params``.
      params: a pytree of arrays.
      eps: keeps the quotient finite where a gradient is 0.

    Returns:
      :math:`\mathrm{mean}_i |(g - Hg)_i / (g_i + \epsilon\,\mathrm{sgn}(g_i)) - 1|`.

    Examples:
      >>> import jax.numpy as jnp
      >>> gradient_quotient(lambda x: 0.5 * jnp.sum(x * x), jnp.array([1.0, -2.0]))
      Array(1., dtype=float32)

    References:
      Dauphin and Schoenholz, "MetaInit: Initializing learning by learning to
      initialize", 2019, equation 2.
    """
    gradient = jax.grad(loss)
    slopes = gradient(params)
    _, products = jax.jvp(gradient, (params,), (slopes,))
    total, count = jnp.zeros(()), 0
    for g, hg in zip(jax.tree.leaves(slopes), jax.tree.leaves(products), strict=True):
        wide = jnp.promote_types(g.dtype, total.dtype)
        g, hg = g.astype(wide), hg.astype(wide)
        signs = jnp.where(g >= 0, eps, -eps).astype(wide)
        total += jnp.sum(jnp.abs((g - hg) / (g + signs) - 1))
        count += g.size
    return total / max(count, 1)


def learn_norms(
    loss: Callable[..., Array],
    params: Sequence[Array],
    batches: Iterable[Any],
    key: Array,
    *,
    tuned: Sequence[bool],
    stacked: Sequence[Sequence[int]] | None = None,
    extra: Sequence[Any] = (),
    settings: Settings = _DEFAULTS,
    progress: bool | None = None,
) -> list[Array]:
    """The norms that MetaInit finds, for any function of some arrays.

    Args:
      loss: ``(params, batch, key, *extra) -> scalar``.
      params: arrays.
      batches: what ``loss`` is given, in turn.
      key: for random numbers in ``loss``; each step gets its own.
      tuned: for each array, whether its norm is changed.
      stacked: for each array, the axes along which it is several tensors.
      extra: what else ``loss`` is given.
      settings: see ``metainit``.
      progress: whether to show progress.

    Returns:
      For each array its new norm as a share of the old one, which multiplies it by
      broadcasting.
    """
    params = list(params)
    stacked = [()] * len(params) if stacked is None else stacked
    before = norms(params, stacked)
    start = _State(
        params,
        tuple(extra),
        before,
        [(size > 0) & t for size, t in zip(before, tuned, strict=True)],
        [jnp.ones_like(size) for size in before],
        [jnp.zeros_like(size) for size in before],
    )
    found = repeat(
        _step(loss, settings),
        start,
        settings.steps,
        batches,
        key,
        label="metainit",
        progress=progress,
    )
    return found.scales


class _State(NamedTuple):
    """Where the search is.

    Attributes:
      params: the arrays as they were.
      extra: what else the loss is given.
      before: the norms that they had.
      movable: which norms may change.
      scales: the norms, as shares of what they were.
      momenta: of the norms.
    """

    params: list[Array]
    extra: tuple[Any, ...]
    before: list[Array]
    movable: list[Array]
    scales: list[Array]
    momenta: list[Array]


@functools.lru_cache(maxsize=16)
def _step(loss: Callable[..., Array], settings: Settings) -> Step[_State]:
    """One step of the search; kept, so that it is compiled once for many seeds."""

    def step(state: _State, batch: Any, key: Array) -> tuple[_State, Array]:
        def quotient(scales: list[Array]) -> Array:
            return gradient_quotient(
                lambda weights: loss(weights, batch, key, *state.extra),
                scaled(state.params, scales),
                settings.eps,
            )

        value, slopes = jax.value_and_grad(quotient)(state.scales)
        momenta = [
            settings.momentum * momentum - settings.learning_rate * jnp.sign(slope)
            for momentum, slope in zip(state.momenta, slopes, strict=True)
        ]
        scales = [
            jnp.where(
                moves,
                jnp.maximum(scale + momentum / jnp.where(moves, norm, 1), LEAST_SHARE),
                scale,
            )
            for moves, scale, momentum, norm in zip(
                state.movable, state.scales, momenta, state.before, strict=True
            )
        ]
        return state._replace(scales=scales, momenta=momenta), value

    return step
