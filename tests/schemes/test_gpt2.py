"""GPT-2's law, to all digits and by its purpose."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit import Functional, normal, truncated_normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.transformer.gpt2 import full_megatron, gpt2
from tests.initializers.checks import assert_moments
from tests.schemes.transformers import TOKENS, pair, single, stds

RTOL = 1e-6  # a few roundings of float32
ENDS = {"a4", "b4", "m2"}


def is_end(name):
    return name.rpartition("/")[2] in ENDS


@pytest.mark.parametrize(
    ("blocks", "end"), [(1, 0.0141421356), (12, 0.00408248290), (48, 0.00204124145)]
)
def test_ends_of_branches_are_smaller_by_the_root_of_their_number(blocks, end):
    for name, ratio in stds(single(blocks), gpt2(), normal(1.0)).items():
        np.testing.assert_allclose(ratio, end if is_end(name) else 0.02, rtol=RTOL)


def test_encoder_and_decoder_count_their_own_branches():
    found = stds(pair(2, 3), gpt2(), normal(1.0), TOKENS, TOKENS)

    for name, ratio in found.items():
        count = {"encoder": 2 * 2, "decoder": 3 * 3}.get(name.partition("/")[0])
        expected = 0.02 / math.sqrt(count) if is_end(name) else 0.02
        np.testing.assert_allclose(ratio, expected, rtol=RTOL)


def test_full_megatron_cuts_at_three_sigma():
    unit = truncated_normal(1.0, lower=-3.0, upper=3.0)

    for name, ratio in stds(single(12), full_megatron(), unit).items():
        expected = 0.00408248290 if is_end(name) else 0.02
        np.testing.assert_allclose(ratio, expected, rtol=RTOL)
    weights = initialize(single(1, 64, 8, 64, 512), full_megatron(0.1), 0, TOKENS)
    inside = weights["stack"]["m1"]
    assert jnp.abs(inside).max() < 0.3
    assert_moments(inside, mean=0, std=0.098657839)


def test_the_branches_of_a_deep_stack_add_what_one_would():
    """Linear branches on unit inputs: the sum's variance does not depend on depth."""

    def model(depth):
        def init(key, x):
            shape = (depth, x.shape[-1], x.shape[-1])
            return {"w": jax.random.normal(key, shape)}

        def apply(p, x):
            return jax.lax.scan(lambda x, w: (x + x @ w, None), x, p["w"])[0]

        return Functional(init, apply)

    x = jax.random.normal(jax.random.key(1), (64, 64))
    added = []
    for depth in (1, 32):
        w = initialize(model(depth), gpt2(0.125), 0, x)["w"]
        added.append(jnp.einsum("bi,lij->bj", x, w))

    # 64 x 64 kernels summed: 4096 sums, each of the same variance
    first, last = (float(jnp.mean(a**2)) for a in added)
    assert abs(last / first - 1) < 5 * math.sqrt(2 * 2 / 4096)


def test_positions_may_have_their_own_std():
    def init(key, tokens):
        keys = jax.random.split(key, 3)
        shapes = {"e": (8, 64), "p": (128, 64), "w": (64, 64)}
        return {
            name: jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def apply(p, tokens):
        x = p["e"][tokens] + p["p"][: tokens.shape[1]]
        return x + jnp.tanh(x) @ p["w"]

    model = Functional(init, apply)
    released = initialize(model, gpt2(position_stddev=0.01), 0, TOKENS)
    common = initialize(model, gpt2(), 0, TOKENS)

    assert_moments(released["p"], mean=0, std=0.01)
    assert_moments(common["p"], mean=0, std=0.02)
    np.testing.assert_array_equal(released["e"], common["e"])


def test_a_network_without_branches_is_refused():
    model = Functional(
        lambda key, x: {"w": jnp.ones((4, 4))}, lambda p, x: jnp.tanh(x @ p["w"])
    )

    with pytest.raises(ValueError, match=r"gpt2\(0.1\) scales the ends of residual"):
        initialize(model, gpt2(0.1), 0, jnp.ones((1, 4)))


@pytest.mark.parametrize("make", [gpt2, full_megatron])
def test_bad_standard_deviations(make):
    with pytest.raises(ValueError, match=r"`stddev` must be in .*, got 0"):
        make(0.0)
    with pytest.raises(TypeError, match=r"`stddev` must be a number, got '0.02'"):
        make("0.02")
    with pytest.raises(ValueError, match=r"`position_stddev` must be in .*, got -1"):
        make(position_stddev=-1.0)
