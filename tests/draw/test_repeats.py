"""Inits that give the same weights whatever their key is, traced or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxinit
from jaxinit.draw.own_init import OwnDraw
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.signal.checks import check_draws

X = jnp.ones((2, 3))


def numbers_of_numpy(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def in_a_loop(key, shape, dtype=jnp.float32):
    fixed = jax.random.key(7)
    return lax.fori_loop(
        0, 2, lambda i, x: x + jax.random.normal(fixed, shape), jnp.zeros(shape)
    )


def by_a_callback(key, shape, dtype=jnp.float32):
    spec = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.pure_callback(lambda: numbers_of_numpy(shape), spec)


def eagerly(key, shape, dtype=jnp.float32):
    """Looks at the value of its key, so that it cannot be traced, and forgets it."""
    return jnp.asarray(numbers_of_numpy(shape)) + 0 * int(jax.random.key_data(key)[0])


def eagerly_random(key, shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(int(jax.random.key_data(key)[1])), shape)


KEYLESS = {
    "of its own": (
        lambda k, s, d=None: jax.random.normal(jax.random.key(7), s),
        "drawn",
    ),
    "in a loop": (in_a_loop, "drawn"),
    "callback": (by_a_callback, "fixed"),
    "NumPy": (lambda k, s, d=None: jnp.asarray(numbers_of_numpy(s)), "fixed"),
    "eager": (eagerly, "fixed"),
    "eager, random": (eagerly_random, "no"),
    "eager, ones": (lambda k, s, d=None: 0 * eagerly(k, s) + 1, "no"),
    "identity": (lambda k, s, d=None: jnp.eye(*s), "no"),
    "random": (jax.nn.initializers.normal(), "no"),
}


def functional(init):
    return jaxinit.Functional(lambda key, x: [init(key, (3, 3))], lambda p, x: x @ p[0])


def linen(init):
    return nn.Dense(3, use_bias=False, kernel_init=init)


def of_nnx(init):
    return lambda rngs: nnx.Linear(3, 3, use_bias=False, kernel_init=init, rngs=rngs)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        (library, name)
        for library in (functional, linen, of_nnx)
        for name in KEYLESS
        # Linen itself traces an init, to compare shapes.
        if library is not linen or not name.startswith("eager")
    ],
)
def test_an_init_that_ignores_its_key_is_noticed(library, name):
    init, expected = KEYLESS[name]
    traced = trace(library(init), arguments((X,), {}))

    assert (traced.init is None) == name.startswith("eager")
    assert OwnDraw(traced).repeats([X]) == expected


def test_state_of_its_own_does_not_make_up_for_weights():
    def init(key, x):
        return {"w": jnp.asarray(numbers_of_numpy((3, 3)))}, jax.random.key_data(key)

    model = jaxinit.Functional(init, lambda v, x: x @ v[0]["w"])

    assert OwnDraw(trace(model, arguments((X,), {}))).repeats([X]) == "fixed"


def test_equal_seeds_are_said():
    model = functional(eagerly)

    with pytest.warns(UserWarning, match="all 2 seeds have the same weights: the init"):
        jaxinit.analyze(model, X, seeds=2, judge=False)


def test_one_seed_and_a_scheme_say_nothing():
    traced = trace(functional(eagerly), arguments((X,), {}))

    check_draws(traced, "fixed", 1)
    with pytest.raises(ValueError, match="draws them from a key of its own"):
        check_draws(traced, "drawn", 1)
    jaxinit.analyze(
        functional(eagerly), X, seeds=2, scheme=jaxinit.he_normal(), judge=False
    )
