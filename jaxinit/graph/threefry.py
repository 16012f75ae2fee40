"""The random bits of jax's default generator, in a form a CPU compiles and runs fast.

On a CPU jax runs the rounds of the hash as a loop over whole arrays. Written out, they
are one pass over memory: half the time to draw normal numbers, a third of the time to
compile, and the same bits, since integers leave no choice.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Rotations of the rounds, in fours, and the word that completes the key schedule.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry_bits(keys: jax.Array, size: int) -> jax.Array:
    """What `jax.random.bits` gives for each key, in partitionable mode.

    Number ``i`` of key ``k`` is the exclusive or of the two words of the hash of the
    counter ``(0, i)`` under ``k``: Threefry-2x32 with 20 rounds.

    Args:
      keys: typed keys of the default kind, ``(...)``.
      size: how many numbers for each key, below ``2**32``.

    Returns:
      The bits as ``uint32``, ``(..., size)``.

    References:
      Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011,
      section 4.
    """
    data = jax.random.key_data(keys)
    shape = (*keys.shape, size)
    places = tuple(range(keys.ndim))
    first, second = (
        lax.broadcast_in_dim(data[..., word], shape, places) for word in (0, 1)
    )
    words = threefry(first, second, jnp.zeros_like(first), _counter(shape))
    # Computed once, not again for each reader among the operations that follow.
    bits: jax.Array = lax.optimization_barrier(words[0] ^ words[1])
    return bits


def threefry(
    first: jax.Array, second: jax.Array, high: jax.Array, low: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two words of the hash of ``(high, low)`` under the key ``(first, second)``.

    All are ``uint32`` and of one shape.
    """
    schedule = (first, second, first ^ second ^ _PARITY)
    x, y = high + first, low + second
    for step in range(5):
        for bits in _ROTATIONS[step % 2]:
            x = x + y
            y = lax.shift_left(y, jnp.full_like(y, bits)) | lax.shift_right_logical(
                y, jnp.full_like(y, 32 - bits)
            )
            y = x ^ y
        x = x + schedule[(step + 1) % 3]
        y = y + schedule[(step + 2) % 3] + np.uint32(step + 1)
    return x, y


def _counter(shape: tuple[int, ...]) -> jax.Array:
    return lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1)
