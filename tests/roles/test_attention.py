"""Queries, keys and values, told apart by the axis that is summed over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.roles.structures import Read, function, of_zoo, read

pytestmark = pytest.mark.internals

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)
FLAT = {name: (8, 8) for name in ("wq", "wk", "wv", "wo")}
SPLIT = ("wq", "wk", "wv", "wo")


def layers(found: Read) -> list[tuple[str, str, str, str]]:
    """The layers of each attention: queries, keys, values, output."""
    return [
        tuple(
            " ".join(sorted(found.named(part)))
            for part in (a.query, a.key, a.value, a.output)
        )
        for a in found.structure.attentions
    ]


def project(p, x):
    return x @ p["wq"], x @ p["wk"], x @ p["wv"]


def plain(p, x):
    q, k, v = project(p, x)
    return jax.nn.softmax(q @ k.swapaxes(1, 2) / 8**0.5) @ v @ p["wo"]


def keys_first(p, x):
    """The scores transposed: softmax over the first of their axes."""
    q, k, v = project(p, x)
    scores = jnp.einsum("bsd,btd->bst", k, q)
    return jnp.einsum("bst,bsd->btd", jax.nn.softmax(scores, axis=1), v) @ p["wo"]


def masked(p, x):
    q, k, v = project(p, x)
    scores = jnp.einsum("btd,bsd->bts", q, k).astype(jnp.float32)
    scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), scores, -1e9)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    weights = weights / weights.sum(-1, keepdims=True)
    keep = jax.random.bernoulli(jax.random.key(0), 0.9, weights.shape)
    return jnp.einsum("bts,bsd->btd", jnp.where(keep, weights, 0.0), v) @ p["wo"]


def rotate(x):
    """Rotary embedding of ``(batch, time, heads, size)``."""
    half = x.shape[-1] // 2
    angles = jnp.arange(x.shape[1])[:, None, None] * 0.1 ** jnp.arange(half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def grouped(p, x, how):
    """Four query heads on two key heads, with rotary embedding and normed queries."""
    q = (x @ p["wq"]).reshape(2, 5, 4, 4)
    k = (x @ p["wk"]).reshape(2, 5, 2, 4)
    v = (x @ p["wv"]).reshape(2, 5, 2, 4)
    q = q * jax.lax.rsqrt(jnp.mean(q**2, -1, keepdims=True))
    q, k = rotate(q), rotate(k)
    if how == "repeated":
        k, v = jnp.repeat(k, 2, axis=2), jnp.repeat(v, 2, axis=2)
        weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
        out = jnp.einsum("bhts,bshd->bthd", weights, v)
    elif how == "reshaped":
        q = q.reshape(2, 5, 2, 2, 4)
        weights = jax.nn.softmax(jnp.einsum("btngd,bsnd->bngts", q, k))
        out = jnp.einsum("bngts,bsnd->btngd", weights, v)
    else:
        out = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return out.reshape(2, 5, 16) @ p["wo"]


def linear(p, x):
    """Keys and values meet first, summed over time."""
    q, k, v = project(p, x)
    memory = jnp.einsum("btd,bte->bde", jax.nn.elu(k) + 1, v)
    return jnp.einsum("btd,bde->bte", jax.nn.elu(q) + 1, memory) @ p["wo"]


def over_channels(p, x):
    """Cross-covariance attention: the scores are between channels."""
    q, k, v = project(p, x)
    weights = jax.nn.softmax(jnp.einsum("btd,bte->bde", q, k))
    return jnp.einsum("bde,bte->btd", weights, v) @ p["wo"]


def by_heads(p, x):
    """One head after another, in a loop."""
    q, k, v = (h.reshape(2, 5, 2, 4).transpose(2, 0, 1, 3) for h in project(p, x))
    out = jax.lax.map(
        lambda h: jax.nn.softmax(h[0] @ h[1].swapaxes(1, 2)) @ h[2], (q, k, v)
    )
    return out.transpose(1, 2, 0, 3).reshape(2, 5, 8) @ p["wo"]


WRITTEN = [plain, keys_first, masked, linear, over_channels, by_heads]


@pytest.mark.parametrize("apply", WRITTEN, ids=lambda f: f.__name__)
def test_attention_as_others_write_it(apply):
    found = read(function(FLAT, apply), X)

    assert layers(found) == [SPLIT]
    assert not found.structure.attentions[0].cross


@pytest.mark.parametrize("how", ["repeated", "reshaped", "by jax"])
def test_grouped_queries_with_rotary_embedding(how):
    shapes = {"wq": (8, 16), "wk": (8, 8), "wv": (8, 8), "wo": (16, 8)}
    found = read(function(shapes, lambda p, x: grouped(p, x, how)), X)

    assert layers(found) == [SPLIT]


def fused(p, x, how):
    qkv = x @ p["qkv"]
    if how == "split":
        q, k, v = jnp.split(qkv, 3, axis=-1)
    else:
        q, k, v = jnp.moveaxis(qkv.reshape(2, 5, 3, 8), 2, 0)
    return jax.nn.softmax(q @ k.swapaxes(1, 2)) @ v @ p["wo"]


@pytest.mark.parametrize("how", ["split", "reshaped"])
def test_a_fused_kernel_is_all_three(how):
    shapes = {"qkv": (8, 24), "wo": (8, 8)}
    found = read(function(shapes, lambda p, x: fused(p, x, how)), X)

    assert layers(found) == [("qkv", "qkv", "qkv", "wo")]
    assert found.roles["qkv"] >= {"query", "key", "value", "weight"}


def test_numbers_of_scanned_attentions():
    scanned, unrolled = of_zoo("gpt_scanned"), of_zoo("gpt")

    (attention,) = scanned.structure.attentions
    np.testing.assert_array_equal(attention.numbers, [0, 1, 2])
    assert [loop.length for loop in attention.loops] == [3]
    assert [int(a.numbers) for a in unrolled.structure.attentions] == [0, 1, 2]


def test_cross_attention():
    attentions = of_zoo("encoder_decoder").structure.attentions

    assert [a.cross for a in attentions] == [False, False, True]


def test_queries_and_keys_behind_norms_of_their_own_are_one_stream():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(8, name="enter")(x)
            q = nn.Dense(8, name="wq")(nn.LayerNorm(name="ln_q")(x))
            h = nn.LayerNorm(name="ln_kv")(x)
            k, v = nn.Dense(8, name="wk")(h), nn.Dense(8, name="wv")(h)
            return nn.Dense(8, name="wo")(nn.softmax(q @ k.swapaxes(1, 2)) @ v)

    found = read(Model(), X)
    assert layers(found) == [SPLIT]
    assert not found.structure.attentions[0].cross


def test_an_output_gate_is_no_operand():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            q, k, v = (nn.Dense(8, name=n)(x) for n in ("wq", "wk", "wv"))
            gate = nn.sigmoid(nn.Dense(8, name="gate")(x))
            return nn.Dense(8, name="wo")(gate * (nn.softmax(q @ k.mT) @ v))

    assert layers(read(Model(), X)) == [SPLIT]


@pytest.mark.parametrize(
    "name", ["mixture_of_experts", "two_towers", "state_space", "lstm", "graph_network"]
)
def test_other_products_of_data_are_no_attention(name):
    assert of_zoo(name).structure.attentions == ()
