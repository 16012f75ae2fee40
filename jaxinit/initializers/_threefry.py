"""The random bits of jax's default generator, in a form a CPU compiles and runs fast.

On a CPU jax runs the rounds of the hash as a loop over whole arrays. Written out, they
are one pass over memory, which compiles in a third of the time or less, as
`benchmarks/compiler.py` prints. The bits are the same, since integers leave no choice.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import define_prng_impl, threefry_prng_impl

from jaxinit._configuration import keys_count_apart

# Rotations of the rounds, in fours, and the word that completes the key schedule.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def fast_key(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A key that draws the same bits, faster where there is a way.

    There is on a CPU, for keys of the default kind in partitionable mode; otherwise it
    is ``key`` itself. It serves for draws of ``shape`` and must not be split.
    """
    if (
        keys_count_apart()
        and jax.default_backend() == "cpu"
        and jax.random.key_impl(key) == "threefry2x32"
        and math.prod(shape) < 2**32
    ):
        data = jax.random.key_data(key)
        key = jax.random.wrap_key_data(data, impl=_WRITTEN_OUT)  # type: ignore[no-untyped-call,unused-ignore]
    return key


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    """What `jax.random.bits` gives in partitionable mode.

    Number ``i`` in row-major order comes from the two words of the hash of the counter
    ``(0, i)``: Threefry-2x32 with 20 rounds.

    References:
      Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
      2011, section 4.
    """
    high, low = _hash(key[0], key[1], _counter(shape))
    if bit_width == 64:
        high, low = high.astype(jnp.uint64), low.astype(jnp.uint64)
        bits = lax.shift_left(high, lax.full_like(high, 32)) | low
    else:
        bits = (high ^ low).astype(f"uint{bit_width}")
    # Computed once, not again for each reader among the operations that follow.
    computed: jax.Array = lax.optimization_barrier(bits)
    return computed


def _counter(shape: tuple[int, ...]) -> jax.Array:
    """The place of each element in row-major order."""
    place = lax.full(shape, 0, jnp.uint32)
    for axis, length in enumerate(shape):
        if length > 1:
            step = lax.full(shape, math.prod(shape[axis + 1 :]), jnp.uint32)
            index = lax.broadcasted_iota(jnp.uint32, shape, axis)
            place = lax.add(place, lax.mul(index, step))
    return place


def _hash(
    first: jax.Array, second: jax.Array, low: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two words of the hash of ``(0, low)`` under the key ``(first, second)``."""
    schedule = (first, second, first ^ second ^ _PARITY)
    fill = functools.cache(functools.partial(lax.full_like, low))
    x, y = lax.broadcast(first, low.shape), low + second
    for step in range(5):
        for bits in _ROTATIONS[step % 2]:
            x = lax.add(x, y)
            left = lax.shift_left(y, fill(bits))
            y = left | lax.shift_right_logical(y, fill(32 - bits))
            y = lax.bitwise_xor(x, y)
        x = x + schedule[(step + 1) % 3]
        y = y + (schedule[(step + 2) % 3] + np.uint32(step + 1))
    return x, y


# The tag is that of jax's own, since the keys mean the same to whoever prints one.
_WRITTEN_OUT = define_prng_impl(
    key_shape=threefry_prng_impl.key_shape,
    seed=threefry_prng_impl.seed,
    split=threefry_prng_impl.split,
    fold_in=threefry_prng_impl.fold_in,
    random_bits=_random_bits,
    name="threefry2x32_written_out",
    tag="fry",
)
