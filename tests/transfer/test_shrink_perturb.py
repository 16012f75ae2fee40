"""Old weights shrunk, plus fresh ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.initializers import he_normal, ones
from jaxinit.transfer.shrink_perturb import shrink_perturb

KEY = jax.random.key(0)
PARAMS = {"a": {"kernel": jnp.full((200, 100), 3.0), "bias": jnp.full(100, 2.0)}}


def test_noise_of_the_paper():
    new = shrink_perturb(PARAMS, KEY)

    jax.tree.map(np.testing.assert_array_equal, new, shrink_perturb(PARAMS, 0))
    noise = np.asarray(new["a"]["kernel"]) - 0.6 * 3
    # 20000 samples: the standard error of a standard deviation is s / sqrt(2 n).
    assert abs(noise.std() / 0.01 - 1) < 5 / np.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 5 * 0.01 / np.sqrt(noise.size)
    assert new["a"]["bias"].std() > 0


def test_identity():
    new = shrink_perturb(PARAMS, KEY, lam=1, sigma=0)

    jax.tree.map(np.testing.assert_array_equal, new, PARAMS)


def test_fresh_from_a_tree_and_from_an_initializer():
    fresh = {"a": {"kernel": np.ones((200, 100)), "bias": np.ones(100)}}

    by_tree = shrink_perturb(PARAMS, KEY, fresh, 0.5, 0.25)
    by_init = shrink_perturb(PARAMS, KEY, ones, 0.5, 0.25)

    np.testing.assert_array_equal(by_tree["a"]["kernel"], 1.75)
    np.testing.assert_array_equal(by_tree["a"]["bias"], 1.25)
    jax.tree.map(np.testing.assert_array_equal, by_tree, by_init)


def test_fresh_may_be_a_module_that_can_be_called():
    first, second = (eqx.nn.Linear(2, 3, key=jax.random.key(i)) for i in (1, 2))

    new = shrink_perturb(first, KEY, second, 0.5, 0.5)

    np.testing.assert_allclose(
        new.weight, (first.weight + second.weight) / 2, rtol=1e-6
    )


def test_a_leaf_draws_by_its_name():
    more = {"b": jnp.zeros(3), **PARAMS}

    new, same = shrink_perturb(PARAMS, KEY), shrink_perturb(more, KEY)

    np.testing.assert_array_equal(new["a"]["kernel"], same["a"]["kernel"])
    other = shrink_perturb(PARAMS, jax.random.key(1))
    assert (new["a"]["kernel"] != other["a"]["kernel"]).any()


def test_what_is_no_parameter_stays():
    box = nn.Partitioned(jnp.ones((2, 2), jnp.bfloat16), (None, "x"))
    state = nnx.state(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    variables = {
        "params": {"a": {"kernel": box}},
        "batch_stats": {"a": {"mean": jnp.ones(2)}},
        "steps": jnp.ones((), jnp.int32),
    }

    new = shrink_perturb(variables, KEY, ones, 0.5, 0.0)

    assert new["params"]["a"]["kernel"].names == (None, "x")
    assert new["params"]["a"]["kernel"].value.dtype == jnp.bfloat16
    assert (new["params"]["a"]["kernel"].value == 0.5).all()
    assert (new["batch_stats"]["a"]["mean"] == 1).all()
    assert new["steps"] == 1
    with pytest.raises(ValueError, match="`params` holds no array of floats"):
        shrink_perturb(state, KEY)


def test_rounded_once():
    """0.6 + 0.0078125 ulps apart in bfloat16: the sum is formed in float32."""
    params = {"w": jnp.ones(1, jnp.bfloat16)}

    new = shrink_perturb(params, KEY, ones, 0.6, 0.01)

    assert new["w"][0] == jnp.float32(0.61).astype(jnp.bfloat16)
    step_by_step = jnp.bfloat16(0.6) + jnp.bfloat16(0.01)
    assert new["w"][0] != step_by_step


def test_factors_may_be_traced():
    sweep = jax.jit(jax.vmap(lambda lam: shrink_perturb(PARAMS, KEY, ones, lam, 0.0)))

    new = sweep(jnp.array([0.0, 0.5]))

    np.testing.assert_array_equal(new["a"]["kernel"][:, 0, 0], [0, 1.5])


@pytest.mark.parametrize(
    ("fresh", "factors", "error", "message"),
    [
        (None, {"lam": -0.1}, ValueError, "`lam`.*-0.1"),
        (None, {"sigma": float("nan")}, ValueError, "`sigma`.*nan"),
        (None, {"lam": "much"}, TypeError, "`lam`.*'much'"),
        (3, {}, TypeError, "initializer or None, got 3"),
        ({"a": {"kernel": np.ones((200, 100))}}, {}, ValueError, "lacks 'a/bias'"),
        (
            {"a": {"kernel": np.ones((2, 2)), "bias": np.ones(100)}},
            {},
            ValueError,
            r"the shape \(2, 2\) for 'a/kernel'",
        ),
        (he_normal(), {}, ValueError, r"\(100,\)"),
    ],
)
def test_refuses(fresh, factors, error, message):
    with pytest.raises(error, match=message):
        shrink_perturb(PARAMS, KEY, fresh, **factors)
