"""T5's law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit import Functional, normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.transformer.t5 import t5
from tests.initializers.checks import assert_moments
from tests.roles.structures import function
from tests.schemes.transformers import TOKENS, attend, pair, single, stds

RTOL = 1e-6


def test_the_small_model_to_all_digits():
    model = single(1, width=512, heads=2, size=64, hidden=24)
    found = stds(model, t5(), normal(1.0))

    expected = {
        "stack/a1": 0.00552427,
        "stack/a2": 0.04419417,
        "stack/a3": 0.04419417,
        "stack/a4": (2 * 64) ** -0.5,
        "stack/m1": 0.04419417,
        "stack/m2": 24**-0.5,
        "e": 1.0,
        "r": 0.04419417,
    }
    for name, std in expected.items():
        np.testing.assert_allclose(found[name], std, rtol=1e-6 + RTOL)


def test_cross_attention_has_the_same_law():
    found = stds(pair(1, 2, 32, heads=2, size=8), t5(), normal(1.0), TOKENS, TOKENS)

    np.testing.assert_allclose(found["decoder/b1"], (32 * 8) ** -0.5, rtol=RTOL)
    np.testing.assert_allclose(found["decoder/b2"], 32**-0.5, rtol=RTOL)
    np.testing.assert_allclose(found["decoder/b4"], 16**-0.5, rtol=RTOL)


def test_logits_have_unit_variance_without_a_factor():
    """That is what the extra factor of the queries is for."""
    weights = initialize(single(1, 64, heads=8, size=16), t5(), 0, TOKENS)["stack"]
    x = jax.random.normal(jax.random.key(1), (256, 64))
    q = jnp.einsum("td,dhk->thk", x, weights["a1"][0])
    k = jnp.einsum("td,dhk->thk", x, weights["a2"][0])
    logits = jnp.einsum("thk,shk->hts", q, k)

    off = logits[:, ~np.eye(256, dtype=bool)]
    # The kernels are shared by all logits of a head: 8 heads of 16 x 64 entries.
    assert abs(float(jnp.mean(off**2)) - 1) < 5 * math.sqrt(2 * 2 / (8 * 16 * 64)) + 0.1


def test_relative_position_biases():
    """A table of buckets by heads, added to the logits."""
    heads, width = 256, 32

    def init(key, x):
        keys = jax.random.split(key, 5)
        shapes = [(width, heads, 2)] * 3 + [(heads, 2, width), (64, heads)]
        names = ["a1", "a2", "a3", "a4", "bias"]
        return {
            n: jax.random.normal(k, s)
            for n, k, s in zip(names, keys, shapes, strict=True)
        }

    def apply(p, x):
        time = jnp.arange(x.shape[1])
        buckets = jnp.abs(time[:, None] - time[None])
        q = jnp.einsum("btd,dhk->bthk", x, p["a1"])
        k = jnp.einsum("btd,dhk->bthk", x, p["a2"])
        v = jnp.einsum("btd,dhk->bthk", x, p["a3"])
        logits = jnp.einsum("bthk,bshk->bhts", q, k)
        logits = logits + jnp.moveaxis(p["bias"][buckets], -1, 0)
        out = jnp.einsum("bhts,bshk->bthk", jax.nn.softmax(logits), v)
        return x + jnp.einsum("bthk,hkd->btd", out, p["a4"])

    weights = initialize(Functional(init, apply), t5(), 0, jnp.ones((1, 4, width)))

    assert_moments(weights["bias"], mean=0, std=width**-0.5)


def test_flat_kernels_are_known_by_their_heads():
    """Kernels ``(d, heads * size)``: the size shows where queries meet keys."""

    def init(key, x):
        return {f"a{i}": jax.random.normal(key, (32, 32)) for i in range(1, 5)}

    def apply(p, x):
        shaped = {n: w.reshape(32, 4, 8) for n, w in p.items()}
        shaped["a4"] = p["a4"].reshape(4, 8, 32)
        return x + attend(shaped, "a", x, x)

    def flat(p, x):
        q, k, v = ((x @ p[n]).reshape(*x.shape[:2], 4, 8) for n in ("a1", "a2", "a3"))
        out = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        return x + out @ p["a4"]

    for run in (apply, flat):
        model = Functional(init, run)
        found = stds(model, t5(), normal(1.0), jnp.ones((1, 4, 32)))
        np.testing.assert_allclose(found["a1"], (32 * 8) ** -0.5, rtol=RTOL)
        np.testing.assert_allclose(found["a2"], 32**-0.5, rtol=RTOL)


@pytest.mark.parametrize(
    ("shape", "apart"),
    [
        ((48, 16), lambda w, x: jnp.split(x @ w.T, 3, -1)),
        ((16, 48), lambda w, x: jnp.split(x @ w, 3, -1)),
        (
            (16, 3, 2, 8),
            lambda w, x: jnp.moveaxis(jnp.einsum("bti,icho->btcho", x, w), 2, 0),
        ),
    ],
    ids=["out, in", "in, out", "in, 3, heads, size"],
)
def test_the_line_for_a_fused_kernel_works_as_printed(shape, apart):
    def init(key, *_):
        square = jnp.zeros((16, 16))
        return {"e": square, "w": jnp.zeros(shape), "o": square, "h": square}

    def apply(p, x):
        x = x @ p["e"]
        # Channels that are looked up by number: nobody knows which are whose.
        order = np.arange(16)
        parts = (part.reshape(1, 5, 16)[..., order] for part in apart(p["w"], x))
        q, k, v = (part.reshape(1, 5, 2, 8) for part in parts)
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(1, 5, 16)
        return (x + mixed @ p["o"]) @ p["h"]

    model, x = Functional(init, apply), jnp.ones((1, 5, 16))
    with pytest.raises(ValueError, match="is all of them") as raised:
        initialize(model, t5(), 0, x)
    line = str(raised.value).split("axis, " if shape[1] == 48 else "axis ", 1)[1]
    line = line[line.index("override") :].rstrip(".")
    names = {name: getattr(jaxinit, name) for name in USED}
    kernel = initialize(model, eval(line, names), 0, x)["w"]
    kernel = kernel.T if shape == (48, 16) else kernel.reshape(16, 48)
    stds_found = [float(part.std()) for part in jnp.split(kernel, 3, axis=1)]
    # 256 samples each: within 5 standard errors of 4.4 %.
    assert stds_found == pytest.approx([(16 * 8) ** -0.5, 0.25, 0.25], rel=0.22)


def test_the_line_for_a_fused_kernel_of_unequal_parts_works_as_printed():
    """Two heads of keys and values for four of queries, in an order not told."""

    def apply(p, x):
        x = x @ p["e"]
        h = (x @ p["w"])[..., np.arange(32)]
        q, k, v = (h[..., a:b].reshape(1, 5, -1, 4) for a, b in GROUPED)
        mixed = jax.nn.dot_product_attention(q, k, v).reshape(1, 5, 16)
        return (x + mixed @ p["o"]) @ p["h"]

    square = (16, 16)
    shapes = {"e": square, "w": (16, 32), "o": square, "h": square}
    model, x = function(shapes, apply), jnp.ones((1, 5, 16))
    with pytest.raises(ValueError, match="is all of them") as raised:
        initialize(model, t5(), 0, x)
    line = str(raised.value).split("by one law, ")[1].rstrip(".")
    names = {name: getattr(jaxinit, name) for name in USED}
    kernel = initialize(model, eval(line, names), 0, x)["w"]
    # 512 samples: within 5 standard errors of 3.1 %
    assert float(kernel.std()) == pytest.approx((16 * 4) ** -0.5, rel=0.16)


GROUPED = ((0, 16), (16, 24), (24, 32))
USED = ("override", "t5", "as_stored", "blocked", "normal")
