"""Kernels that are multiplied with each other, or with constants, before data."""

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from tests.roles.structures import function, network_of

X = jax.random.normal(jax.random.key(0), (64, 8))


def energy(p, x):
    h = jnp.tanh(jnp.tanh(x @ p["a"] + p["bias"]) @ p["b"])
    return (h @ p["c"] @ p["d"])[..., 0]


def low_rank(p, x):
    return jnp.tanh(x @ (p["a"] @ p["b"])) @ p["c"]


def adapted(p, x):
    return jnp.tanh(x @ (p["a"] + 2.0 * p["down"] @ p["up"])) @ p["c"]


def adapted_out_in(p, x):
    """As torch stores them."""
    return jnp.tanh(x @ (p["a"] + p["up"] @ p["down"]).T) @ p["c"]


def forces(p, x):
    return -jax.grad(lambda x: energy(p, x).sum())(x)


def forces_each(p, x):
    return jax.vmap(jax.grad(lambda x: energy(p, x)))(x)


def laplacian(p, x):
    """A physics-informed residual: the network and its second derivatives."""
    return energy(p, x) + jax.vmap(
        lambda x: jnp.trace(jax.hessian(lambda x: energy(p, x))(x))
    )(x)


def projected(p, x):
    """A constant basis before the kernel."""
    return jnp.tanh(x @ (jnp.ones((8, 5)) @ p["a"])) @ p["b"]


NET = {"a": (8, 6), "b": (6, 5), "c": (5, 4), "d": (4, 1)}
ENERGY = ({**NET, "bias": (6,)}, {name: NET[name] for name in "abcd"})
CASES = {
    low_rank: ({"a": (8, 3), "b": (3, 6), "c": (6, 2)},) * 2,
    adapted: ({"a": (8, 6), "down": (8, 3), "up": (3, 6), "c": (6, 2)},) * 2,
    adapted_out_in: (
        {"a": (6, 8), "down": (3, 8), "up": (6, 3), "c": (6, 2)},
        {"a": (8, 6), "down": (8, 3), "up": (3, 6), "c": (6, 2)},
    ),
    forces: ENERGY,
    forces_each: ENERGY,
    laplacian: ENERGY,
    projected: ({"a": (5, 6), "b": (6, 2)},) * 2,
}


@pytest.mark.parametrize("apply", CASES)
def test_each_kernel_has_the_fans_that_it_has_in_the_network(apply):
    shapes, fans = CASES[apply]
    params = network_of(function(shapes, apply), X).params
    found = {
        p.name: (p.use.fan_in, p.use.fan_out) for p in params if "weight" in p.roles
    }

    assert found == fans


def test_their_product_has_the_law_of_one_kernel():
    shapes = {"a": (256, 64), "b": (64, 256), "c": (256, 2)}
    model, x = function(shapes, low_rank), jnp.ones((2, 256))
    drawn = jaxinit.initialize(model, jaxinit.lecun_normal(), 0, x)

    std = float((drawn["a"] @ drawn["b"]).std())
    assert std == pytest.approx(1 / 16, rel=0.05)


@pytest.mark.parametrize("apply", [low_rank, forces])
def test_lsuv_scales_one_factor_of_a_product(apply, recwarn):
    model = function(CASES[apply][0], apply)
    drawn = jaxinit.initialize(model, jaxinit.lsuv(), 0, X)

    assert not recwarn
    if apply is low_rank:
        assert float((X @ (drawn["a"] @ drawn["b"])).var()) == pytest.approx(
            1, rel=1e-3
        )
