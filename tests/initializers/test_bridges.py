"""Initializers in libraries that call them otherwise."""

import math

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments

KEY = jax.random.key(4)
STD = math.sqrt(2 / 400)


def test_haiku_draws_with_its_own_keys():
    @hk.transform
    def apply(x):
        w_init = ji.for_haiku(ji.he_normal())
        return hk.Linear(400, w_init=w_init)(hk.Linear(400, w_init=w_init)(x))

    params = apply.init(KEY, jnp.ones((1, 400)))

    first, second = params["linear"]["w"], params["linear_1"]["w"]
    assert_moments(first, mean=0.0, std=STD)
    assert (first != second).any()


def test_equinox_keeps_outputs_first():
    linear = eqx.nn.Linear(400, 80, key=KEY)

    drawn = ji.he_normal(-1, -2)(KEY, linear.weight.shape)
    linear = eqx.tree_at(lambda layer: layer.weight, linear, drawn)

    assert_moments(linear.weight, mean=0.0, std=STD)
    conv = ji.he_normal(1, 0)(KEY, (80, 100, 2, 2))
    assert_moments(conv, mean=0.0, std=STD)


def test_a_tree_of_initializers_is_mapped_by_is_leaf():
    inits = {"w": ji.he_normal(), "b": ji.zeros}

    drawn = jax.tree.map(lambda init: init(KEY, (4, 8)), inits, is_leaf=callable)

    assert {name: x.shape for name, x in drawn.items()} == {"w": (4, 8), "b": (4, 8)}


@pytest.mark.parametrize(
    "init",
    [
        ji.he_normal(dtype=jnp.bfloat16, groups=2),
        ji.stacked(ji.scale(ji.orthogonal(1.5), 0.5), (0, 1)),
        ji.blocked([ji.normal(0.5), ji.zeros], sizes=[1, 2]),
        ji.embedding("gpt2", padding_index=0),
        ji.masked(ji.from_array([[1, 2]]), np.array([True, False])),
        ji.constant(np.float32([0.5, 2.0])),
    ],
)
def test_configurations_give_equal_ones_back(init):
    assert ji.from_config(ji.to_config(init)) == init


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="`init` must be an initializer"):
        ji.for_haiku(3)
    with pytest.raises(TypeError, match="`init` must be an initializer of jaxinit"):
        ji.for_keras(jax.nn.initializers.zeros)
    with pytest.raises(TypeError, match=r"`seed` must be an integer or None, got 1\.5"):
        ji.for_keras(ji.zeros, seed=1.5)
    with pytest.raises(TypeError, match="`array` of the initializer cannot be written"):
        ji.to_config(ji.from_array(jnp.ones(2)))
    for config in ({"jaxinit": "os"}, {}, None, {"jaxinit": "fans", "arguments": {}}):
        with pytest.raises(ValueError, match="`config`"):
            ji.from_config(config)
