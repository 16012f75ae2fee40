"""Diagonal linear recurrences: the LRU and the gated RG-LRU."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice, check_number, shown
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import family

RingPart = Literal["nu_log", "theta_log"]

# Half the spacing of float32 uniforms: where u is 0 its logarithm would be infinite.
_SMALLEST = 2.0**-24


@family
def lru_ring(
    r_min: float = 0.0,
    r_max: float = 1.0,
    max_phase: float = 6.28,
    part: RingPart = "nu_log",
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Eigenvalues uniform on a ring of the complex plane, as the LRU stores them.

    :math:`\lambda = \exp(-e^{\nu} + i e^{\theta})` with

    .. math::
      \nu = \log(-\tfrac12 \log(u (r_{\max}^2 - r_{\min}^2) + r_{\min}^2)), \qquad
      \theta = \log(\phi_{\max} u'), \qquad u, u' \sim U[0, 1],

    so that :math:`E|\lambda|^2 = (r_{\min}^2 + r_{\max}^2)/2`. The layer's input
    kernel, real and imaginary part, is ``variance_scaling(0.5, "fan_in", "normal")``,
    its output kernel ``variance_scaling(1, "fan_in", "normal")``, its skip
    ``normal(1)`` and its input gain :func:`lru_gamma_log`.

    Args:
      r_min: the inner radius, at least 0.
      r_max: the outer radius, at most 1. Near 1 the memory is long.
      max_phase: the largest phase, in radians. A small one for long sequences.
      part: the parameter, ``"nu_log"`` (decay) or ``"theta_log"`` (phase).
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if a number is not one.
      ValueError: if not ``0 <= r_min < r_max <= 1``, ``max_phase`` is not in
        (0, 2 pi] or ``part`` is unknown.

    Examples:
      >>> nu = lru_ring(0.9, 0.99)(jax.random.key(0), (64,))
      >>> radius = jnp.exp(-jnp.exp(nu))
      >>> bool((radius > 0.899).all() and (radius < 0.991).all())
      True

    References:
      Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences",
      2023, lemma 3.2 and appendix A.
    """
    check_choice("part", part, ("nu_log", "theta_log"), "Use one for each parameter.")
    area = _area(r_min, r_max)
    advice = "It is the largest phase in radians: 6.28."
    max_phase = check_number(
        "max_phase", max_phase, advice, low=0, high=2 * math.pi, closed=True
    )
    if max_phase == 0:
        raise ValueError(
            f"`max_phase` must be above 0, got {max_phase:g}, whose logarithm is "
            f"stored. {advice}"
        )

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        u = _draw.uniform(key, shape, dtype, sharding=sharding)
        return _phase_log(u, max_phase) if part == "theta_log" else _nu_log(u, *area)

    law = f"{part} of eigenvalues uniform on a ring"
    return _draw.from_sampler(sampler, dtype, kinds="real", law=law)


def lru_gamma_log(nu_log: jax.Array) -> jax.Array:
    r"""The input gains :math:`\log\sqrt{1 - |\lambda|^2}` of given eigenvalues.

    They make up for the length of each memory, so that all states have the variance of
    the inputs. They follow from the eigenvalues, so this is no initializer: compute the
    parameter from the one that :func:`lru_ring` gave.

    Args:
      nu_log: the decays, ``(...)``, :math:`|\lambda| = \exp(-e^{\nu})`.

    Returns:
      The logarithms of the gains, of the same shape and dtype.

    Raises:
      TypeError: if ``nu_log`` is not an array of floats.

    Examples:
      >>> nu = jnp.log(-jnp.log(jnp.array([0.6])))
      >>> jnp.exp(lru_gamma_log(nu))
      Array([0.8], dtype=float32)

    References:
      Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences",
      2023, section 3.4.
    """
    dtype = getattr(nu_log, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"`nu_log` must be an array of floats, got {shown(nu_log)}. Pass the "
            "parameter that `lru_ring` gave."
        )
    wide = jnp.asarray(nu_log, _draw.compute_dtype(nu_log.dtype))
    gamma_log = jnp.log(-jnp.expm1(-2 * jnp.exp(wide))) / 2
    return gamma_log.astype(nu_log.dtype)


@family
def rg_lru(
    r_min: float = 0.9, r_max: float = 0.999, dtype: DTypeLike | None = None
) -> Initializer:
    r"""Decays of the RG-LRU, uniform by area between two radii.

    :math:`a = \tfrac12 \log(u (r_{\max}^2 - r_{\min}^2) + r_{\min}^2)` is the
    logarithm of the decay, and the parameter :math:`\log(e^{-a} - 1)`, whose softplus
    is :math:`-a`. The layer's gates are block-diagonal: wrap their initializer in
    :func:`stacked`, so that each block has its own fan-in.

    Args:
      r_min: the smallest decay, at least 0.
      r_max: the largest, below 1.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if a number is not one.
      ValueError: if not ``0 <= r_min < r_max <= 1``.

    Examples:
      >>> parameter = rg_lru()(jax.random.key(0), (64,))
      >>> decay = jnp.exp(-jax.nn.softplus(parameter))
      >>> bool((decay > 0.899).all() and (decay < 0.9991).all())
      True

    References:
      De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for
      Efficient Language Models", 2024, section 2.4 and appendix A.
    """
    area = _area(r_min, r_max)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        u = _draw.uniform(key, shape, dtype, sharding=sharding)
        return _decay_parameter(u, *area)

    law = f"decays uniform by area, {r_min:g} to {r_max:g}"
    return _draw.from_sampler(sampler, dtype, kinds="real", law=law)


def _area(r_min: float, r_max: float) -> tuple[float, float]:
    """The squares of the radii: the smallest, and the difference to the largest."""
    advice = "Radii satisfy 0 <= r_min < r_max <= 1."
    low = check_number("r_min", r_min, advice, low=0, high=1, closed=True)
    high = check_number("r_max", r_max, advice, low=0, high=1, closed=True)
    if low >= high:
        raise ValueError(
            f"`r_min` must be below `r_max`, got {low:g} and {high:g}. {advice}"
        )
    return low**2, high**2 - low**2


# Compiled, so that a call by itself rounds as one inside a compiled function.


@jit()
def _phase_log(u: jax.Array, max_phase: float) -> jax.Array:
    return jnp.log(max_phase * jnp.maximum(u, _SMALLEST))


@jit()
def _nu_log(u: jax.Array, low: float, width: float) -> jax.Array:
    return jnp.log(-_log_radius(u, low, width))


@jit()
def _decay_parameter(u: jax.Array, low: float, width: float) -> jax.Array:
    return jnp.log(jnp.expm1(-_log_radius(u, low, width)))


def _log_radius(u: jax.Array, low: float, width: float) -> jax.Array:
    """The logarithm of a radius whose square is uniform; always below 0."""
    squared = jnp.maximum(u, _SMALLEST) * width + low
    return jnp.log(jnp.minimum(squared, 1 - _SMALLEST)) / 2
