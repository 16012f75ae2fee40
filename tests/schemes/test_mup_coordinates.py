"""Coordinate checks: how far activations move in a few steps, at many widths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.width.mup import mup
from jaxinit.schemes.width.mup_optimizer import mup_multipliers, scale_by_mup
from tests.schemes.wide_models import MLP

# The base is narrower than all widths, as its own width tells nothing of what grows.
BASE, NARROW, STEPS, SEEDS = 8, 16, 5, 4
RATIOS = (1, 4, 16)
LAYERS = ("first", "second", "third", "head")


@functools.cache
def coordinates(ratio, optimizer, parametrization):
    """Root mean squares of what layers give after each of ``STEPS`` steps.

    Over a batch and ``SEEDS`` seeds: ``(2, STEPS, layers)``, first of the activations,
    then of their changes since the initialization. ``"init"`` is muP without its
    learning rates.
    """
    model, base = MLP(ratio * NARROW), MLP(BASE)
    x = jax.random.normal(jax.random.key(1), (16, 8))
    y = jax.random.normal(jax.random.key(2), (16, 3))
    scheme = None if parametrization == "standard" else mup(base, readout="zero")
    transform = optax.adam(5e-3) if optimizer == "adam" else optax.sgd(0.1)
    if parametrization == "mup":
        rates = mup_multipliers(model, base, x, optimizer=optimizer, readout="zero")
        transform = optax.chain(transform, scale_by_mup(rates))

    def loss(params):
        output, kept = model.apply(
            {"params": params}, x, capture_intermediates=True, mutable="intermediates"
        )
        values = [kept["intermediates"][name]["__call__"][0] for name in LAYERS]
        return jnp.square(output - y).mean(), values

    def run(key):
        if scheme is None:
            params = model.init(key, x)["params"]
        else:
            params = initialize(model, scheme, key, x)["params"]
        _, before = loss(params)

        def step(carry, _):
            params, state = carry
            gradients, _ = jax.grad(loss, has_aux=True)(params)
            updates, state = transform.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            _, after = loss(params)
            moved = [a - b for a, b in zip(after, before, strict=True)]
            squares = [[jnp.square(v).mean() for v in vs] for vs in (after, moved)]
            return (params, state), jnp.array(squares)

        return jax.lax.scan(step, (params, transform.init(params)), length=STEPS)[1]

    keys = jax.random.split(jax.random.key(3), SEEDS)
    squares = jax.jit(jax.vmap(run))(keys)
    return np.sqrt(np.mean(squares, axis=0)).swapaxes(0, 1)


def spread(values):
    """The largest over the smallest of several widths, for each step and layer."""
    return np.max(values, axis=0) / np.min(values, axis=0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_activations_do_not_depend_on_the_width(optimizer):
    found = np.array([coordinates(r, optimizer, "mup")[0] for r in RATIOS])

    assert (spread(found) < 2).all()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_all_layers_learn_at_the_same_speed_at_all_widths(optimizer):
    found = np.array([coordinates(r, optimizer, "mup")[1] for r in RATIOS])

    # The first step moves the readout alone, as it starts at zero.
    assert (spread(found[:, 1:]) < 2).all()
    assert spread(found[:, 0, -1]) < 2
    # They do learn: activations are about 1.
    assert (found[:, -1] > 0.002).all()


def test_activations_grow_in_the_standard_parametrization():
    narrow, wide = (coordinates(r, "adam", "standard") for r in (1, 16))

    # A first step of Adam changes the sum over n inputs by up to n times its size,
    # muP's by as much at any width: sixteen times as far, less what is not aligned.
    growth = wide[1, 0] / narrow[1, 0]
    assert (growth[1:] > 4).all()
    assert wide[0, :, -1].max() > 2 * narrow[0, :, -1].max()


def test_the_initialization_alone_is_not_enough():
    narrow, wide = (coordinates(r, "adam", "init")[1] for r in (1, 16))

    assert (wide[1:, 1:] / narrow[1:, 1:]).max() > 4
