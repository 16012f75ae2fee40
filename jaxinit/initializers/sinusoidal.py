"""Kernels of sines, without randomness."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_kernel
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import family

# Products of two numbers below it fit into 32 bits.
_MAX_FAN_IN = 65536


@family
def sinusoidal(dealiased: bool = False, dtype: DTypeLike | None = None) -> Initializer:
    r"""Sines of rising frequency along the inputs, one for each output.

    Output :math:`i` has the weights :math:`\sin((i+1)(2\pi j/n + 2\pi/m))` on the
    flattened inputs :math:`j < n`, :math:`m` outputs; all are divided by their standard
    deviation and multiplied by Glorot's :math:`\sqrt{2/(n+m)}`.

    Frequencies above :math:`n/2` repeat lower ones, so a kernel with :math:`m > n/2`
    may have a rank below :math:`\min(n, m)`. With ``dealiased``, which departs from the
    paper, frequencies run from 1 to :math:`\lceil n/2 \rceil - 1` again and again, and
    each round starts at another phase between 0 and :math:`\pi`; the rank is then
    that of all usable sines, :math:`\min(m, 2(\lceil n/2 \rceil - 1))`.

    Args:
      dealiased: whether to reuse low frequencies with another phase.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for shapes ``(*spatial, in, out)``. It does not use its key.

    Raises:
      ValueError: when called, if the shape has fewer than two axes, or a fan-in below
        3 or above 65535.

    Examples:
      >>> w = sinusoidal()(jax.random.key(0), (64, 16))
      >>> bool(jnp.allclose(w.std(), jnp.sqrt(2 / 80)))
      True

    References:
      Fernandez-Hernandez et al., "Sinusoidal Initialization, Time for a New Start",
      2025, section 3.
    """

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        n, m = math.prod(shape[:-1]), shape[-1]
        i = np.arange(m)
        if dealiased:
            usable = (n - 1) // 2
            frequency = i % usable + 1
            phase = (i // usable) / math.ceil(m / usable) / 2
        else:
            frequency = i + 1
            phase = (i + 1) / m % 1
        w = _sines(jnp.asarray(frequency % n, np.uint32), jnp.asarray(phase, dtype), n)
        return (w * math.sqrt(2 / (n + m))).reshape(shape)

    def check_shape(shape: tuple[int, ...]) -> None:
        check_kernel(shape)
        fan_in = math.prod(shape[:-1])
        if 0 not in shape and not 3 <= fan_in < _MAX_FAN_IN:
            raise ValueError(
                f"`shape` must have a fan-in from 3 to {_MAX_FAN_IN - 1}, got {fan_in} "
                f"in {shape}. Use `glorot_normal`, which has the same variance."
            )

    law = "sines, variance 1/fan_avg"
    return from_sampler(sampler, dtype, check_shape=check_shape, kinds="real", law=law)


@jit("n")
def _sines(frequency: jax.Array, phase: jax.Array, n: int) -> jax.Array:
    """Columns ``sin(2 pi (frequency j / n + phase))``, all over their deviation."""
    # Whole turns are dropped in integers, so that float32 keeps its digits.
    j = jnp.arange(n, dtype=np.uint32)[:, None]
    turns = (j * frequency[None, :]) % np.uint32(n)
    w = jnp.sin(2 * math.pi * (turns.astype(phase.dtype) / n + phase[None, :]))
    return jnp.asarray(w / jnp.std(w))
