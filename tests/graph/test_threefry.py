import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.graph.threefry import threefry, threefry_bits


@pytest.mark.internals
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_bits_are_those_of_jax(size):
    keys = jax.random.split(jax.random.key(5), (2, 3))

    bits = threefry_bits(keys, size)

    draw = jax.vmap(jax.vmap(lambda key: jax.random.bits(key, (size,))))
    np.testing.assert_array_equal(bits, draw(keys))


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ],
)
def test_hash_gives_the_known_answers(key, counter, words):
    """From the test vectors that the authors of Threefry publish with Random123."""
    got = threefry(*(jnp.full((1,), word, jnp.uint32) for word in (*key, *counter)))

    assert [int(word[0]) for word in got] == list(words)
