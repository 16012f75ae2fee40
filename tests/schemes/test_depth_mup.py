"""Depth-muP and CompleteP: numbers, and residual streams of many depths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.schemes.width.depth_mup import depth_mup_factors, depth_mup_multipliers
from tests.schemes.wide_models import GPT, MLP, TOKENS, VECTORS


@pytest.mark.parametrize(
    ("optimizer", "exponent", "expected"),
    [
        ("adam", 0.5, (1 / 4, 1 / 4, 1 / 4)),
        ("adamw", 1.0, (1 / 16, 1.0, 1 / 16)),
        ("sgd", 0.5, (1 / 4, 1.0, 1.0)),
        ("sgd", 1.0, (1 / 16, 16.0, 1.0)),
    ],
)
def test_factors(optimizer, exponent, expected):
    found = depth_mup_factors(64, 4, exponent=exponent, optimizer=optimizer)

    assert found == pytest.approx(expected)


def test_factors_of_the_papers_have_a_base_of_one():
    assert depth_mup_factors(24) == pytest.approx((24**-0.5,) * 3)


def change(num_branches, exponent, optimizer, factors):
    """How far one step moves the end of a residual stream of width 32."""
    shape = (num_branches, 32, 32)
    weights = jax.random.normal(jax.random.key(0), shape) / np.sqrt(32)
    x = jax.random.normal(jax.random.key(1), (8, 32))
    target = jax.random.normal(jax.random.key(2), (8, 32))

    def stream(weights):
        def block(x, w):
            return x + factors.branch * jax.nn.relu(x) @ w, None

        return jax.lax.scan(block, x, weights)[0]

    @jax.jit
    def moved(weights):
        def loss(weights):
            return (stream(weights) * target).sum() / 32

        gradient = jax.grad(loss)(weights)
        direction = jnp.sign(gradient) if optimizer == "adam" else gradient
        rate = {"adam": 1e-3, "sgd": 1e-2}[optimizer] * factors.learning_rate
        return stream(weights - rate * direction) - stream(weights)

    return float(jnp.sqrt(jnp.square(moved(weights)).mean()))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_one_step_moves_the_stream_as_far_at_any_depth(optimizer, exponent):
    shallow, deep = (
        change(n, exponent, optimizer, depth_mup_factors(
            n, exponent=exponent, optimizer=optimizer
        ))
        for n in (8, 128)
    )  # fmt: skip

    assert 0.5 < deep / shallow < 2


def test_the_branch_multiplier_alone_does_not_do_it_for_adam():
    shallow, deep = (
        change(n, 0.5, "adam", depth_mup_factors(n)._replace(learning_rate=1.0))
        for n in (8, 128)
    )

    # The root of 16, in the limit.
    assert deep / shallow > 2


@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
def test_multipliers_are_for_what_is_inside_branches(scanned):
    rates = depth_mup_multipliers(GPT(16, scanned=scanned), TOKENS, base_branches=1)

    # Two blocks of two branches each.
    inside = rates["blocks"] if scanned else rates["block_1"]
    assert set(jax.tree.leaves(inside)) == {0.5}
    outside = [v for k, v in rates.items() if not k.startswith("block")]
    assert set(jax.tree.leaves(outside)) == {1.0}


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`num_branches` must be an int.*got 0"):
        depth_mup_factors(0)
    with pytest.raises(ValueError, match=r"`base_branches` must be an int.*got -1"):
        depth_mup_factors(4, -1)
    with pytest.raises(ValueError, match=r"`exponent` must be in \[0.5, 1\], got 0.4"):
        depth_mup_factors(4, exponent=0.4)
    with pytest.raises(ValueError, match="`optimizer` must be one of"):
        depth_mup_factors(4, optimizer="adagrad")
    with pytest.raises(ValueError, match="for residual networks, and MLP adds no"):
        depth_mup_multipliers(MLP(8), VECTORS)
