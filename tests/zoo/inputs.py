"""Inputs that the zoo's models share, so that few shapes compile."""

import jax
import jax.numpy as jnp

VOCAB = 32


def vectors() -> tuple[jax.Array]:
    """Standard normal vectors, ``(4, 16)``."""
    return (jax.random.normal(jax.random.key(10), (4, 16)),)


def sequences() -> tuple[jax.Array]:
    """Standard normal sequences, ``(4, 8, 16)``: batch, time, features."""
    return (jax.random.normal(jax.random.key(11), (4, 8, 16)),)


def images() -> tuple[jax.Array]:
    """Standard normal images, ``(4, 8, 8, 3)``."""
    return (jax.random.normal(jax.random.key(12), (4, 8, 8, 3)),)


def tokens() -> tuple[jax.Array]:
    """Tokens below ``VOCAB``, ``(4, 8)``."""
    return (jax.random.randint(jax.random.key(13), (4, 8), 0, VOCAB),)


def token_pairs() -> tuple[jax.Array, jax.Array]:
    """Source and target tokens, ``(4, 8)`` each."""
    source = jax.random.randint(jax.random.key(14), (4, 8), 0, VOCAB)
    return (source, *tokens())


def image_and_vector() -> tuple[jax.Array, jax.Array]:
    """An image batch ``(4, 8, 8, 3)`` and a vector for each image ``(4, 16)``."""
    return (*images(), *vectors())


def image_and_time() -> tuple[jax.Array, jax.Array]:
    """An image batch ``(4, 8, 8, 3)`` and a time in [0, 1] for each image ``(4,)``."""
    return (*images(), jnp.linspace(0.0, 1.0, 4))


def graph() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Nodes ``(8, 16)``, edges ``(24, 16)``, senders and receivers ``(24,)``."""
    keys = jax.random.split(jax.random.key(15), 4)
    return (
        jax.random.normal(keys[0], (8, 16)),
        jax.random.normal(keys[1], (24, 16)),
        jax.random.randint(keys[2], (24,), 0, 8),
        jax.random.randint(keys[3], (24,), 0, 8),
    )
