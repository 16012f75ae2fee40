"""Adapters that look at data hold what their papers say, and keep the output."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxinit.transfer._leaves import tree_of
from jaxinit.transfer.initialize_lora import initialize_lora
from jaxinit.transfer.lora import lora_scale
from jaxinit.transfer.lora_data import corda, eva, lora_ga

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(12, 20)).astype(np.float32)
INPUTS = (RNG.normal(size=(50, 12)) * np.arange(1, 13)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize(
    "method",
    [
        functools.partial(lora_ga, data=RNG.normal(size=(12, 20))),
        functools.partial(eva, data=INPUTS),
        functools.partial(corda, data=INPUTS),
        functools.partial(corda, data=INPUTS, keep="knowledge"),
    ],
    ids=["lora_ga", "eva", "corda", "corda-knowledge"],
)
def test_base_and_adapter_add_up_to_the_kernel(method, scale):
    a, b, base = method(KERNEL, 3, scale=scale)

    assert (a.shape, b.shape) == ((12, 3), (3, 20))
    total = np.asarray(base, np.float64) + scale * np.asarray(a, np.float64) @ b
    np.testing.assert_allclose(total, KERNEL, atol=5e-6)


def test_lora_ga_steps_as_the_whole_kernel_would():
    """The first change of A B is the best of rank 2r of the gradient's."""
    rank, gradient = 3, RNG.normal(size=(12, 20))
    scale = lora_scale(rank, 16, stabilized=True)
    a, b, _ = lora_ga(KERNEL, rank, data=gradient, scale=scale, gamma=4.0)
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    # Gradients of A and B are G B' and A' G, times the scale.
    change = gradient @ b.T @ b + a @ a.T @ gradient
    u, s, vt = np.linalg.svd(gradient)
    best = (u[:, : 2 * rank] * s[: 2 * rank]) @ vt[: 2 * rank]
    np.testing.assert_allclose(change, 20**0.5 / 4 * best, atol=1e-5)


def test_eva_keeps_most_of_the_inputs():
    a, b, base = eva(KERNEL, 4, data=INPUTS.reshape(5, 10, 12))

    assert not b.any()
    np.testing.assert_array_equal(base, KERNEL)
    np.testing.assert_allclose(a.T @ a, np.eye(4), atol=1e-5)
    kept = np.square(INPUTS @ np.asarray(a)).sum()
    values = np.linalg.svd(INPUTS, compute_uv=False)
    assert kept == pytest.approx(np.square(values[:4]).sum(), rel=1e-5)


@pytest.mark.parametrize("keep", ["task", "knowledge"])
def test_corda_splits_what_the_inputs_see(keep):
    a, b, base = corda(KERNEL, 4, data=INPUTS, keep=keep)
    moments = INPUTS.T.astype(np.float64) @ INPUTS / 50
    moments += 0.01 * np.diag(moments).mean() * np.eye(12)
    values = np.linalg.svd(moments @ KERNEL, compute_uv=False)
    part = values[:4] if keep == "task" else values[-4:]
    rest = values[4:] if keep == "task" else values[:-4]

    seen = moments @ np.asarray(a, np.float64) @ np.asarray(b, np.float64)
    got = np.linalg.svd(seen, compute_uv=False)
    np.testing.assert_allclose(got[:4], part, rtol=1e-3, atol=1e-4 * values[0])
    left = np.linalg.svd(moments @ np.asarray(base, np.float64), compute_uv=False)
    np.testing.assert_allclose(left[:8], rest, rtol=1e-3, atol=1e-4 * values[0])


def test_a_whole_model_by_its_gradient():
    model = nnx.LoRALinear(8, 6, lora_rank=2, rngs=nnx.Rngs(0))
    state, key = nnx.state(model), jax.random.key(0)
    x = jnp.asarray(RNG.normal(size=(4, 8)), jnp.float32)
    before = model(x)
    gradient = jnp.asarray(RNG.normal(size=(8, 6)))
    (name,) = [leaf.name for leaf in tree_of(state).leaves if leaf.last == "kernel"]
    nnx.update(model, initialize_lora(state, key, lora_ga, data={name: gradient}))

    np.testing.assert_allclose(model(x), before, atol=1e-5)
    assert model.lora.lora_b[...].any()
    with pytest.raises(ValueError, match="`data` must have an entry for each kernel"):
        initialize_lora(state, key, eva, data={"other": x})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lora_ga(KERNEL, 3, data=INPUTS), "gradient of the kernel's shape"),
        (lambda: lora_ga(KERNEL, 7, data=KERNEL), "`rank` must be at most 6 for"),
        (lambda: eva(KERNEL, 3, data=INPUTS[:2]), "at least 3 of them"),
        (lambda: corda(KERNEL, 3, data=INPUTS[:, :5]), r"`data` must be inputs"),
        (lambda: corda(KERNEL, 3, data=INPUTS, keep="all"), "`keep` must be"),
    ],
)
def test_errors(call, says):
    with pytest.raises(ValueError, match=says):
        call()
