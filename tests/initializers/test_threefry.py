"""The written-out generator draws what jax's own draws."""

import jax
import numpy as np
import pytest

from jaxinit.initializers import _draw, normal
from jaxinit.initializers._threefry import fast_key

KEY = jax.random.key(5)


def is_other(key: jax.Array) -> bool:
    return jax.random.key_impl(key) != jax.random.key_impl(KEY)


@pytest.mark.internals
@pytest.mark.parametrize("shape", [(), (0,), (1000,), (3, 1, 7), (2, 3, 4)])
@pytest.mark.parametrize("width", [8, 16, 32])
def test_bits_are_those_of_jax(shape, width):
    fast = fast_key(KEY, shape)

    assert is_other(fast)
    bits = jax.random.bits(fast, shape, f"uint{width}")
    np.testing.assert_array_equal(bits, jax.random.bits(KEY, shape, f"uint{width}"))


@pytest.mark.internals
def test_long_bits_are_those_of_jax():
    with jax.enable_x64(True):
        bits = jax.random.bits(fast_key(KEY, (5, 3)), (5, 3), "uint64")

        np.testing.assert_array_equal(bits, jax.random.bits(KEY, (5, 3), "uint64"))


@pytest.mark.internals
def test_many_keys_at_once_draw_the_same():
    keys = jax.random.split(KEY, (2, 3))

    def draw(key):
        return jax.random.bits(fast_key(key, (10,)), (10,))

    together = jax.vmap(jax.vmap(draw))(keys)

    alone = [[jax.random.bits(key, (10,)) for key in row] for row in keys]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.internals
def test_raw_keys_are_of_the_default_kind():
    raw = jax.random.key_data(KEY)

    bits = jax.random.bits(fast_key(raw, (10,)), (10,))

    np.testing.assert_array_equal(bits, jax.random.bits(raw, (10,)))


def test_a_draw_is_the_flat_draw_of_jax():
    # The promise under partitionable keys: any shape, and sharded or not.
    z = _draw.uniform(KEY, (4, 3, 5), np.float32)

    flat = jax.random.uniform(KEY, (60,))
    np.testing.assert_array_equal(z.ravel(), flat)


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_keys_of_other_kinds_are_left_alone(kind):
    key = jax.random.key(0, impl=kind)

    assert fast_key(key, (4,)) is key
    assert normal(1.0)(key, (4, 3)).shape == (4, 3)


def test_other_modes_and_sizes_are_left_to_jax():
    assert fast_key(KEY, (2**16, 2**16)) is KEY
    with jax.threefry_partitionable(False):
        assert fast_key(KEY, (4,)) is KEY
