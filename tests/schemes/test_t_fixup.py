"""T-Fixup's factors, to all digits, and the block that it makes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit import Functional, glorot_uniform, normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.rules import as_stored, override
from jaxinit.schemes.transformer.t_fixup import decoder_factor, encoder_factor, t_fixup
from tests.schemes.transformers import TOKENS, pair, run, single, stds

pytestmark = pytest.mark.internals

RTOL = 1e-6
SCALED = ("a3", "a4", "b3", "b4", "m1", "m2")


@pytest.mark.parametrize(
    ("blocks", "decoder", "encoder"),
    [(6, 0.36889397, 0.42809188), (12, 0.31020162, 0.35998093)],
)
def test_the_table(blocks, decoder, encoder):
    assert decoder_factor(blocks) == pytest.approx(decoder, abs=5e-9)
    assert encoder_factor(blocks) == pytest.approx(encoder, abs=5e-9)


def test_encoder_and_decoder():
    model = pair(12, 6)
    found = stds(model, t_fixup(), glorot_uniform(), TOKENS, TOKENS)

    for name, ratio in found.items():
        stack, _, part = name.rpartition("/")
        factor = {"encoder": 0.35998093, "decoder": 0.36889397}.get(stack)
        if name != "e":
            expected = factor if part in SCALED else 1.0
            np.testing.assert_allclose(ratio, expected, rtol=2e-8 + RTOL)
    table = stds(model, t_fixup(), normal(1.0), TOKENS, TOKENS)["e"]
    np.testing.assert_allclose(table, 0.36889397 / math.sqrt(8), rtol=RTOL)


def test_one_stack_has_the_encoders_factor():
    found = stds(single(6), t_fixup(), glorot_uniform())

    np.testing.assert_allclose(found["stack/a3"], 0.42809188, rtol=RTOL)
    np.testing.assert_allclose(found["stack/m2"], 0.42809188, rtol=RTOL)
    np.testing.assert_allclose(found["r"], 1, rtol=RTOL)
    table = stds(single(6), t_fixup(), normal(1.0))["e"]
    np.testing.assert_allclose(table, 0.36889397 / math.sqrt(8), rtol=RTOL)


def test_the_references_gain_is_for_queries_and_keys():
    found = stds(single(6), t_fixup(reference_qk_gain=True), glorot_uniform())

    for name in ("a1", "a2"):
        np.testing.assert_allclose(found[f"stack/{name}"], math.sqrt(0.5), rtol=RTOL)
    np.testing.assert_allclose(found["stack/a3"], 0.42809188, rtol=RTOL)


@pytest.mark.parametrize("scheme", [t_fixup(), glorot_uniform()])
def test_without_norms_the_signal_does_not_depend_on_depth(scheme):
    """Branches of 64 blocks add what those of 4 do. By Glorot alone they explode."""
    x = jax.random.normal(jax.random.key(1), (4, 8, 16))
    sizes = []
    for blocks in (4, 64):
        model = single(blocks, width=16, heads=2, size=8, hidden=16)
        p = initialize(model, scheme, 0, TOKENS)["stack"]
        sizes.append(float(jnp.mean(run(p, x, norm=lambda x: x) ** 2)))

    if scheme == t_fixup():
        # Each branch adds at most 0.67**4 / blocks to the second moment.
        assert all(1 < size < math.exp(2 * 0.67**4) for size in sizes)
    else:
        assert sizes[1] > 1e6


def fused(depth=2, width=8):
    """Blocks that make queries, keys and values at once, in an order not told."""

    def init(key, x):
        shape = (depth, width, 3 * width)
        return {
            "qkv": jax.random.normal(key, shape),
            "o": jax.random.normal(key, (depth, width, width)),
        }

    def step(x, p):
        split = jnp.split((x @ p["qkv"])[..., np.arange(3 * width)], 3, axis=-1)
        q, k, v = (y.reshape(*x.shape[:2], 2, width // 2) for y in split)
        out = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        return x + out @ p["o"], None

    return Functional(init, lambda p, x: jax.lax.scan(step, x, p)[0])


def test_a_fused_projection_is_refused_with_the_call_to_write():
    x = jnp.ones((1, 4, 8))

    with pytest.raises(ValueError, match="draws 'query', 'key', 'value'") as error:
        initialize(fused(), t_fixup(), 0, x)
    call = str(error.value).rpartition("its last axis, ")[2].rstrip(".")
    import jaxinit

    room = jaxinit.initializers
    names = {name: getattr(room, name) for name in room.__all__}
    names |= {"t_fixup": t_fixup, "override": override, "as_stored": as_stored}
    scheme = eval(call, names)  # the advice is code
    weights = initialize(fused(), scheme, 0, x)

    bound = math.sqrt(6 / (8 + 8))
    query, key, value = np.split(np.asarray(weights["qkv"]), 3, axis=-1)
    factor = encoder_factor(2)
    for kernel, limit in ((query, bound), (key, bound), (value, factor * bound)):
        # The largest of 128 uniform samples
        assert 0.9 * limit < np.abs(kernel).max() <= limit
    assert np.abs(weights["o"]).max() <= factor * bound
