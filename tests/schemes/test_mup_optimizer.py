"""Learning rates of muP: the table, and what follows from it."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.width.depth_mup import depth_mup_multipliers
from jaxinit.schemes.width.mup import mup
from jaxinit.schemes.width.mup_optimizer import (
    mup_adamw,
    mup_multipliers,
    scale_by_mup,
)
from tests.schemes.wide_models import GPT, MLP, TOKENS, VECTORS, nnx_mlp

TABLE = {
    ("adam", "small"): {"input": 1, "hidden": 1 / 4, "output": 1 / 4, "vector": 1},
    ("adam", "multiplier"): {"input": 1, "hidden": 1 / 4, "output": 1, "vector": 1},
    ("sgd", "small"): {"input": 4, "hidden": 1, "output": 1 / 4, "vector": 4},
    ("sgd", "multiplier"): {"input": 4, "hidden": 1, "output": 4, "vector": 4},
}


@pytest.mark.parametrize(("optimizer", "readout"), TABLE)
def test_table(optimizer, readout):
    model, base = GPT(64, 8), GPT(16, 2)

    rates = mup_multipliers(model, base, TOKENS, optimizer=optimizer, readout=readout)

    row = TABLE[optimizer, readout]
    assert rates["wte"]["embedding"] == row["input"]
    assert rates["position"] == rates["ln_f"]["scale"] == row["vector"]
    assert rates["head"] == {"kernel": row["output"], "bias": 1.0}
    for block in ("block_0", "block_1"):
        layers = [*rates[block]["attn"].values(), *(rates[block][n] for n in _MLP)]
        assert layers == [{"bias": row["vector"], "kernel": row["hidden"]}] * 6


_MLP = ("fc", "proj")


def test_adamw_is_as_adam_and_scanned_as_unrolled():
    model, base = (GPT(w, 2, scanned=True) for w in (32, 16))

    rates = mup_multipliers(model, base, TOKENS, optimizer="adamw")

    assert rates["blocks"]["attn"]["out"] == {"bias": 1.0, "kernel": 0.5}
    assert rates == mup_multipliers(model, base, TOKENS, optimizer="adam")


def test_tied_table_learns_as_an_embedding():
    model, base = (GPT(w, tied=True) for w in (64, 16))

    def rate(optimizer):
        return mup_multipliers(
            model, base, TOKENS, optimizer=optimizer, readout="multiplier"
        )["wte"]["embedding"]

    assert (rate("adam"), rate("sgd")) == (1, 4)
    with pytest.raises(ValueError, match="wte/embedding is both looked up"):
        mup_multipliers(model, base, TOKENS)


def train(logits, params, transform, steps=3):
    x = jax.random.normal(jax.random.key(1), VECTORS.shape)

    def loss(params):
        return jnp.square(logits(params, x) - 1).mean()

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = transform.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, transform.init(params)), length=steps)[1]

    return np.asarray(run(params))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_small_readout_trains_as_one_with_an_output_multiplier(optimizer):
    # Table 3 and table 8 of the paper are one parametrization. Adam's eps apart.
    model, base = MLP(32), MLP(8)
    plain = optax.sgd(0.05) if optimizer == "sgd" else optax.adam(1e-2, eps=1e-30)

    def losses(readout, head):
        rates = mup_multipliers(
            model, base, VECTORS, optimizer=optimizer, readout=readout
        )
        params = initialize(model, mup(base, readout=readout), 0, VECTORS)["params"]

        def logits(params, x):
            last = {**params["head"], "kernel": params["head"]["kernel"] * head}
            return model.apply({"params": {**params, "head": last}}, x)

        return train(logits, params, optax.chain(plain, scale_by_mup(rates)))

    small, multiplied = losses("small", 1.0), losses("multiplier", 1 / 4)

    assert small[-1] < 0.98 * small[0]
    np.testing.assert_allclose(small, multiplied, rtol=1e-3)


def test_scaling_commutes_with_sgd_and_momentum():
    params = {"a": jnp.arange(3.0), "b": jnp.ones(2)}
    rate, plain = scale_by_mup({"a": 0.5, "b": 3.0}), optax.sgd(0.1, momentum=0.9)

    found = []
    for transform in (optax.chain(plain, rate), optax.chain(rate, plain)):
        state, now = transform.init(params), params
        for _ in range(3):
            updates, state = transform.update(now, state, now)
            now = optax.apply_updates(now, updates)
        found.append(now)

    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_adamw_decays_alike_where_the_learning_rate_is_divided():
    params = {"wide": jnp.ones(2), "narrow": jnp.ones(2)}
    optimizer = mup_adamw(0.1, {"wide": 0.125, "narrow": 1.0}, weight_decay=0.5)
    state = optimizer.init(params)

    idle, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
    moved, _ = optimizer.update(params, state, params)

    for name, rate in [("wide", 0.125), ("narrow", 1.0)]:
        # Weight decay of m times 0.5 with a learning rate of 0.1 / m.
        np.testing.assert_allclose(idle[name], -0.1 * 0.5, rtol=1e-6)
        # Adam's first step is the learning rate, whatever the gradient.
        step = moved[name] - idle[name]
        np.testing.assert_allclose(step, -0.1 * rate, rtol=1e-5)


def test_adamw_takes_schedules_and_masks():
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    optimizer = mup_adamw(
        optax.constant_schedule(0.1),
        {"w": 0.5, "b": 1.0},
        weight_decay=1.0,
        mask={"w": True, "b": False},
    )
    zeros = jax.tree.map(jnp.zeros_like, params)

    updates, _ = optimizer.update(zeros, optimizer.init(params), params)

    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)
    assert not updates["b"].any()


def test_nnx_state_and_optimizer():
    rates = mup_multipliers(nnx_mlp(32), nnx_mlp(8), VECTORS)
    model = nnx_mlp(32)(nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    assert jax.tree.structure(rates) == jax.tree.structure(params)

    optimizer = nnx.Optimizer(
        model, optax.chain(optax.sgd(1.0), scale_by_mup(rates)), wrt=nnx.Param
    )
    before = {n: getattr(model, n).kernel[...] for n in ("first", "second", "head")}
    optimizer.update(model, jax.tree.map(jnp.ones_like, params))

    moved = {n: old - getattr(model, n).kernel[...] for n, old in before.items()}
    for name, rate in [("first", 1.0), ("second", 0.25), ("head", 0.25)]:
        np.testing.assert_allclose(moved[name], rate, atol=1e-6)


def test_dtypes_stay_and_masked_trees_pass():
    rate = scale_by_mup({"a": 0.5, "b": {"c": 2.0}})
    updates = {"a": jnp.ones(2, jnp.bfloat16), "b": {"c": jnp.ones(2)}}

    scaled, _ = rate.update(updates, rate.init(updates))
    masked = optax.masked(rate, {"a": False, "b": {"c": True}})
    partly, _ = masked.update(updates, masked.init(updates))

    assert scaled["a"].dtype == jnp.bfloat16
    assert float(scaled["a"][0]) == 0.5
    assert float(partly["a"][0]) == 1
    assert float(partly["b"]["c"][0]) == 2


def test_width_and_depth_multiply():
    model, base = GPT(32), GPT(16)
    depth = depth_mup_multipliers(model, TOKENS)

    both = jax.tree.map(operator.mul, mup_multipliers(model, base, TOKENS), depth)

    assert both["block_0"]["fc"] == {"bias": 0.5, "kernel": 0.25}
    assert both["head"]["kernel"] == 0.5


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`optimizer` must be one of sgd.*'adagrad'"):
        mup_multipliers(MLP(16), MLP(8), VECTORS, optimizer="adagrad")
    with pytest.raises(ValueError, match=r"`readout` must be one of"):
        mup_multipliers(MLP(16), MLP(8), VECTORS, readout="large")
    with pytest.raises(TypeError, match="`multipliers` must hold numbers, got 'a'"):
        scale_by_mup({"w": "a"})
    with pytest.raises(TypeError, match="`multipliers` must hold numbers"):
        scale_by_mup({"w": np.ones(2)})
    with pytest.raises(ValueError, match="got none"):
        scale_by_mup({})
    with pytest.raises(ValueError, match=r"no number for 'x'\. Its names are 'w'"):
        scale_by_mup({"w": 1.0}).init({"w": jnp.ones(1), "x": jnp.ones(1)})
