"""Time steps of state-space layers, and the other parameters of Mamba."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice, check_number
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import family
from jaxinit.initializers.state_space import s4d_real
from jaxinit.initializers.variance_scaling import variance_scaling

Stored = Literal["log", "value", "inverse_softplus"]


@family
def log_uniform_timestep(
    low: float = 1e-3,
    high: float = 1e-1,
    stored: Stored = "log",
    floor: float = 0.0,
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Time steps :math:`\Delta` with :math:`\log \Delta` uniform.

    Args:
      low: the smallest time step, above 0.
      high: the largest.
      stored: what the parameter is: ``"log"`` for :math:`\log\Delta`, ``"value"`` for
        :math:`\Delta`, ``"inverse_softplus"`` for
        :math:`\Delta + \log(1 - e^{-\Delta})`, whose softplus is :math:`\Delta`.
      floor: smaller time steps are raised to it.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if a number is not one.
      ValueError: if not ``0 < low <= high``, ``floor`` is negative or ``stored`` is
        unknown.

    Examples:
      >>> log_dt = log_uniform_timestep()(jax.random.key(0), (64,))
      >>> bool((jnp.exp(log_dt) > 0.00099).all() and (jnp.exp(log_dt) < 0.101).all())
      True

    References:
      Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces",
      2022, appendix D.
    """
    low = check_number("low", low, "It is the smallest time step: 0.001.", low=0)
    high = check_number("high", high, "It is the largest time step: 0.1.", low=0)
    if low > high:
        raise ValueError(
            f"`low` must not exceed `high`, got {low:g} and {high:g}. They bound the "
            "time steps: 0.001 and 0.1."
        )
    advice = "Smaller time steps are raised to it."
    floor = check_number("floor", floor, advice, low=0, closed=True)
    choices = ("log", "value", "inverse_softplus")
    check_choice("stored", stored, choices, "It says what the parameter is.")
    log_low, log_high = math.log(low), math.log(high)
    log_floor = math.log(floor) if floor > 0 else -math.inf

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        u = _draw.uniform(key, shape, dtype, sharding=sharding)
        return _timestep(u, log_low, log_high - log_low, log_floor, stored)

    law = f"log-uniform time steps, {low:g} to {high:g}, stored as {stored}"
    return _draw.from_sampler(sampler, dtype, kinds="real", law=law)


@family
def mamba_timestep_bias(
    low: float = 1e-3,
    high: float = 1e-1,
    floor: float = 1e-4,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Biases whose softplus is a log-uniform time step, for Mamba's step projection.

    Args:
      low: the smallest time step, above 0.
      high: the largest.
      floor: smaller time steps are raised to it.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if a number is not one.
      ValueError: if not ``0 < low <= high``, or ``floor`` is negative.

    Examples:
      >>> b = mamba_timestep_bias(0.1, 0.1)(jax.random.key(0), (1,))
      >>> round(float(b[0]), 5), round(float(jax.nn.softplus(b)[0]), 5)
      (-2.25217, 0.1)

    References:
      Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
      2023, section 3.6.
    """
    return log_uniform_timestep(low, high, "inverse_softplus", floor, dtype)


@family
def mamba_timestep_kernel(dtype: DTypeLike | None = None) -> Initializer:
    r"""Samples of :math:`U(\pm r^{-1/2})` for the ``(r, channels)`` step projection.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      ValueError: when called, if the shape has fewer than two axes.

    Examples:
      >>> w = mamba_timestep_kernel()(jax.random.key(0), (4, 64))
      >>> bool(abs(w).max() <= 0.5)
      True

    References:
      Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
      2023, section 3.6 and its reference code.
    """
    return variance_scaling(1 / 3, "fan_in", "uniform", dtype=dtype)


@family
def mamba_a_log(dtype: DTypeLike | None = None) -> Initializer:
    r"""The logarithms :math:`\log(1), \dots, \log(N)` in every channel.

    The layer uses :math:`A = -e^{\text{this}}`, the spectrum of :func:`s4d_real`. Its
    skip ``D`` is ``ones``.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(channels, N)``. It does not use its key.

    Raises:
      ValueError: when called, if the shape is ``()``.

    Examples:
      >>> mamba_a_log()(jax.random.key(0), (1, 3))
      Array([[0.       , 0.6931472, 1.0986123]], dtype=float32)

    References:
      Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
      2023, section 3.6.
    """
    return s4d_real(log=True, dtype=dtype)


@jit("stored")
def _timestep(
    u: jax.Array, low: float, width: float, floor: float, stored: str
) -> jax.Array:
    """The parameter of a time step whose logarithm is ``low + width * u``."""
    log_step = jnp.maximum(low + width * u, floor)
    if stored == "log":
        return log_step
    step = jnp.exp(log_step)
    if stored == "value":
        return step
    return step + jnp.log(-jnp.expm1(-step))
