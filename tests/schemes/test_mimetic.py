"""Mimetic attention: products of kernels, in every layout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit
from jaxinit import Functional, normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.rules import override
from jaxinit.schemes.transformer.mimetic import mimetic
from tests.roles.structures import function
from tests.schemes.test_t_fixup import fused
from tests.schemes.transformers import TOKENS, pair, single

WIDTH, HEADS, SIZE, BLOCKS = 32, 4, 8, 2


@pytest.fixture(scope="module")
def kernels():
    """Queries, keys, values and outputs as ``(blocks, heads, ...)`` matrices."""
    model = single(BLOCKS, WIDTH, HEADS, SIZE)
    stack = initialize(model, mimetic(), 0, TOKENS)["stack"]
    query, key, value = (
        np.moveaxis(np.asarray(stack[name], np.float64), 2, 1)
        for name in ("a1", "a2", "a3")
    )
    return query, key, value, np.asarray(stack["a4"], np.float64)


def value_output(value, out):
    """``W_V W_O`` of each block."""
    return np.einsum("bhdk,bhke->bde", value, out)


def test_values_and_outputs_make_the_whole_matrix(kernels):
    """Their product is 0.4 Z - 0.4 I, with Z of independent entries N(0, 1/d)."""
    product = value_output(*kernels[2:])

    for block in product:
        noise = (block + 0.4 * np.eye(WIDTH)) / 0.4 * math.sqrt(WIDTH)
        size = noise.size
        assert abs(noise.mean()) < 5 / math.sqrt(size)
        assert abs(np.mean(noise**2) - 1) < 5 * math.sqrt(2 / size)
        # No more than a Gaussian matrix: its largest singular value is near 2 sqrt(d).
        assert np.linalg.norm(noise, 2) < 2 * math.sqrt(WIDTH) + 5
        assert abs(np.mean(np.diag(block)) + 0.4) < 5 * 0.4 / WIDTH


def test_the_factors_are_balanced(kernels):
    """W_V = U sqrt(S) and W_O = sqrt(S) V': both have the same Gram matrix S."""
    _, _, value, out = kernels
    for v, o in zip(value, out, strict=True):
        v = np.moveaxis(v, 0, 1).reshape(WIDTH, WIDTH)
        o = o.reshape(WIDTH, WIDTH)
        np.testing.assert_allclose(v.T @ v, o @ o.T, atol=1e-5)


def test_each_head_has_the_best_part_of_its_own_matrix(kernels):
    query, key = kernels[:2]
    products = np.einsum("bhdk,bhek->bhde", query, key).reshape(-1, WIDTH, WIDTH)

    for product in products:
        singular = np.linalg.svd(product, compute_uv=False)
        assert np.linalg.matrix_rank(product, tol=1e-5) == SIZE
        # 0.7 (Z + I): the largest of its singular values lie between its norm's
        # bounds 0.7 (2 + 1) and 0.7, for a quarter of the directions
        assert 0.7 < singular[SIZE - 1] < singular[0] < 0.7 * 3.5
        assert np.mean(np.diag(product)) > 0.2
    other = products.reshape(len(products), -1)
    correlation = np.corrcoef(other)[np.triu_indices(len(products), 1)]
    # They share the diagonal; their noise is independent
    assert np.all(correlation < 0.7)


def test_diagonals_stand_out(kernels):
    """As in pretrained models: correlation with I is + for Q, K and - for V, O."""
    query, key, value, out = kernels
    eye = np.eye(WIDTH).ravel()
    attention = np.einsum("bhdk,bhek->bhde", query, key).reshape(-1, WIDTH**2)
    through = value_output(value, out).reshape(-1, WIDTH**2)

    # The correlation of WIDTH**2 independent entries has a std of 1 / WIDTH
    assert all(np.corrcoef(m, eye)[0, 1] > 5 / WIDTH for m in attention)
    assert all(np.corrcoef(m, eye)[0, 1] < -5 / WIDTH for m in through)


def test_full_rank_and_no_noise_is_exact():
    """One head as wide as the stream: W_Q W_K' = b I and W_V W_O = -b I."""
    model = single(1, 8, 1, 8)
    scheme = mimetic(alpha_qk=0.0, beta_qk=0.5, alpha_vo=0.0, beta_vo=0.25)
    p = {
        n: np.asarray(w[0])
        for n, w in initialize(model, scheme, 0, TOKENS)["stack"].items()
    }

    np.testing.assert_allclose(
        p["a1"][:, 0] @ p["a2"][:, 0].T, 0.5 * np.eye(8), atol=1e-6
    )
    np.testing.assert_allclose(p["a3"][:, 0] @ p["a4"][0], -0.25 * np.eye(8), atol=1e-6)


def flat_model():
    """Kernels ``(d, heads * size)``."""

    def init(key, x):
        return {f"a{i}": jax.random.normal(key, (WIDTH, WIDTH)) for i in range(1, 5)}

    def apply(p, x):
        shape = (*x.shape[:2], HEADS, SIZE)
        q, k, v = ((x @ p[n]).reshape(shape) for n in ("a1", "a2", "a3"))
        return x + jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ p["a4"]

    return Functional(init, apply)


def size_first_model():
    """Kernels ``(d, size, heads)`` and ``(size, heads, d)``."""

    def init(key, x):
        shapes = {f"a{i}": (WIDTH, SIZE, HEADS) for i in (1, 2, 3)}
        shapes["a4"] = (SIZE, HEADS, WIDTH)
        return {n: jax.random.normal(key, s) for n, s in shapes.items()}

    def apply(p, x):
        q, k, v = (jnp.einsum("btd,dkh->btkh", x, p[n]) for n in ("a1", "a2", "a3"))
        weights = jax.nn.softmax(jnp.einsum("btkh,bskh->bhts", q, k))
        out = jnp.einsum("bhts,bskh->btkh", weights, v)
        return x + jnp.einsum("btkh,khd->btd", out, p["a4"])

    return Functional(init, apply)


@pytest.mark.parametrize(
    ("model", "heads_first"), [(flat_model, True), (size_first_model, False)]
)
def test_layouts(model, heads_first):
    p = initialize(model(), mimetic(), 0, jnp.ones((1, 4, WIDTH)))
    shape = (WIDTH, HEADS, SIZE) if heads_first else (WIDTH, SIZE, HEADS)
    query, key = (
        np.moveaxis(np.asarray(p[n]).reshape(shape), 1 if heads_first else 2, 0)
        for n in ("a1", "a2")
    )
    value = np.asarray(p["a3"]).reshape(WIDTH, WIDTH)
    product = value @ np.asarray(p["a4"]).reshape(WIDTH, WIDTH)

    for q, k in zip(query, key, strict=True):
        assert np.mean(np.diag(q @ k.T)) > 0.2
        # W_Q = U sqrt(S), W_K = V sqrt(S): orthogonal columns of equal lengths
        np.testing.assert_allclose(q.T @ q, k.T @ k, atol=1e-5)
        assert np.abs(np.tril(q.T @ q, -1)).max() < 1e-5
    assert abs(np.mean(np.diag(product)) + 0.4) < 5 * 0.4 / WIDTH


def test_cross_attention_and_the_rest_keep_their_own():
    model = pair(1, 1, 8, 1, 8)
    found = initialize(model, mimetic(), 0, TOKENS, TOKENS)
    other = initialize(model, mimetic(0.1, 0.1, 0.1, 0.1), 0, TOKENS, TOKENS)

    for name in ("b1", "b2", "b3", "b4", "m1", "m2"):
        kernel = found["decoder"][name]
        np.testing.assert_array_equal(kernel, other["decoder"][name])
        assert 0.5 < np.std(kernel) < 2  # the model's own N(0, 1)
    for stack in ("encoder", "decoder"):
        for name in ("a1", "a2", "a3", "a4"):
            assert np.any(found[stack][name] != other[stack][name])


def test_seeds_and_layers_differ_and_jit_agrees():
    x = jnp.ones((1, 3, 8))
    model = nn.MultiHeadDotProductAttention(2)

    def drawn(key):
        return initialize(model, mimetic(), key, x)["params"]["query"]["kernel"]

    keys = jax.random.split(jax.random.key(0), 2)
    eager = np.stack([drawn(key) for key in keys])

    assert np.abs(eager[0] - eager[1]).max() > 0.1
    np.testing.assert_allclose(jax.jit(jax.vmap(drawn))(keys), eager, atol=1e-5)


def test_what_cannot_be_drawn():
    x = jnp.ones((1, 4, 8))

    with pytest.raises(ValueError, match=r"qkv of shape \(2, 8, 24\) is several"):
        initialize(fused(), mimetic(), 0, x)
    with pytest.raises(ValueError, match=r"mimetic.* is for self-attention, and Dense"):
        initialize(nn.Dense(4), mimetic(), 0, x)
    with pytest.raises(ValueError, match="share 16 channels: at most 8 are possible"):
        initialize(single(1, 8, 2, 8), mimetic(), 0, TOKENS)
    with pytest.raises(ValueError, match="a rule takes only stack/a1"):
        initialize(single(1), override(mimetic(), [("stack/a1", normal())]), 0, TOKENS)
    with pytest.raises(ValueError, match="`beta_vo` must be finite, got nan"):
        mimetic(beta_vo=math.nan)


REFUSED = {
    "no room": (
        lambda: nn.MultiHeadDotProductAttention(2, qkv_features=32),
        "which share 16 channels: at most 8",
    ),
    "fused": (fused, r"qkv of shape \(2, 8, 24\) is several"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_line_for_what_is_refused_works_as_printed(name):
    make, says = REFUSED[name]
    model, x = make(), jnp.ones((1, 4, 8))
    with pytest.raises(ValueError, match=says) as raised:
        initialize(model, mimetic(), 0, x)
    line = str(raised.value).split("of their own: ")[1].rstrip(".")
    scheme = eval(line, {"jaxinit": jaxinit, "override": override, "mimetic": mimetic})
    for kernel in jax.tree.leaves(initialize(model, scheme, 0, x)):
        assert kernel.size <= 32 or kernel.any()  # the small ones are biases


D = 8


def attend(x, q, k, v, out):
    """Attention of two heads of four channels."""
    q, k, v = (h.reshape(*x.shape[:2], 2, 4) for h in (q, k, v))
    h = jax.nn.dot_product_attention(q, k, v)
    return x + h.reshape(x.shape) @ out


def in_order(p, x):
    return attend(x, *jnp.split(x @ p["w"], 3, -1), p["o"])


def by_head(p, x):
    h = (x @ p["w"]).reshape(*x.shape[:2], 2, 3, 4)
    return attend(x, *(h[..., part, :] for part in range(3)), p["o"])


def einsum(p, x):
    q, k, v = jnp.moveaxis(jnp.einsum("btd,dche->btche", x, p["w"]), 2, 0)
    return attend(x, q, k, v, p["o"])


def keys_and_values(p, x):
    k, v = jnp.split(x @ p["w"], 2, -1)
    return attend(x, x @ p["q"], k, v, p["o"])


def beside_an_mlp(p, x):
    q, k, v, h = jnp.split(x @ p["w"], 4, -1)
    return attend(x, q, k, v, p["o"]) + jax.nn.gelu(h) @ p["m"]


def thirds(w):
    return np.split(w.reshape(D, -1)[:, : 3 * D], 3, -1)


FUSED = {
    "in order": (in_order, {"w": (D, 24)}, lambda p: thirds(p["w"])),
    "by head": (
        by_head,
        {"w": (D, 24)},
        lambda p: np.moveaxis(p["w"].reshape(D, 2, 3, 4), 2, 0),
    ),
    "einsum": (einsum, {"w": (D, 3, 2, 4)}, lambda p: thirds(p["w"])),
    "keys and values": (
        keys_and_values,
        {"q": (D, D), "w": (D, 16)},
        lambda p: (p["q"], *np.split(p["w"], 2, -1)),
    ),
    "beside an MLP": (
        beside_an_mlp,
        {"w": (D, 32), "m": (D, D)},
        lambda p: thirds(p["w"]),
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_kernels_are_drawn_by_part(name):
    apply, shapes, parts = FUSED[name]
    model, x = function({**shapes, "o": (D, D)}, apply), jnp.ones((1, 4, D))

    p = jax.tree.map(np.asarray, initialize(model, mimetic(alpha_vo=0.0), 0, x))

    query, key, value = (np.asarray(part).reshape(D, 2, 4) for part in parts(p))
    for head in range(2):
        q, k = query[:, head], key[:, head]
        gram = q.T @ q  # W_Q = U sqrt(S), W_K = V sqrt(S)
        np.testing.assert_allclose(gram, k.T @ k, atol=1e-5)
        assert np.abs(np.tril(gram, -1)).max() < 1e-5 < gram.diagonal().min()
    np.testing.assert_allclose(
        value.reshape(D, D) @ p["o"], -0.4 * np.eye(D), atol=1e-5
    )
    noise = query[:, 0] @ key[:, 0].T - query[:, 1] @ key[:, 1].T
    assert np.abs(noise).max() > 0.1  # heads have noise of their own
    if name == "beside an MLP":
        own = jax.tree.map(np.asarray, model.init(jax.random.key(0), x))
        np.testing.assert_array_equal(p["w"][:, 24:], own["w"][:, 24:])


class Grouped(nn.Module):
    """Heads of queries that share keys and values."""

    heads: int
    shared: int
    size: int

    @nn.compact
    def __call__(self, x):
        q = nn.DenseGeneral((self.heads, self.size), name="q")(x)
        k = nn.DenseGeneral((self.shared, self.size), name="k")(x)
        v = nn.DenseGeneral((self.shared, self.size), name="v")(x)
        h = jax.nn.dot_product_attention(q, k, v)
        return x + nn.DenseGeneral(x.shape[-1], axis=(-2, -1), name="o")(h)


def grouped(heads, shared, size, width, **options):
    x = jnp.ones((1, 4, width))
    p = initialize(Grouped(heads, shared, size), mimetic(**options), 0, x)["params"]
    return [np.asarray(p[n]["kernel"], np.float64) for n in "qkvo"]


def test_a_group_of_heads_that_can_have_all_it_wants_has_it():
    """Heads as wide as the stream: each W_Q W_K' = b I, and W_V sum W_O = -b I."""
    q, k, v, o = grouped(2, 1, D, D, alpha_qk=0, beta_qk=0.5, alpha_vo=0, beta_vo=0.3)

    for head in range(2):
        np.testing.assert_allclose(q[:, head] @ k[:, 0].T, 0.5 * np.eye(D), atol=1e-6)
    np.testing.assert_allclose(v[:, 0] @ o.sum(0), -0.3 * np.eye(D), atol=1e-6)


def test_keys_are_the_best_for_all_heads_of_their_group():
    """By Eckart and Young, factors of one decomposition of the group's targets."""
    heads, shared, size, width = 6, 2, 4, 24
    q, k, v, o = grouped(heads, shared, size, width)

    for group in range(shared):
        own = q[:, 3 * group : 3 * group + 3]
        gram = sum(own[:, h].T @ own[:, h] for h in range(3))
        shape = k[:, group].T @ k[:, group]
        # Each head of queries is as large as the keys that it shares.
        np.testing.assert_allclose(gram, 3 * shape, rtol=1e-4, atol=1e-4)
        assert np.abs(np.tril(gram, -1)).max() < 1e-4
        for h in range(3):
            assert np.trace(own[:, h] @ k[:, group].T) > 0
    assert np.abs(q[:, 0] - q[:, 1]).max() > 0.1
    # The values of both groups make the best part of rank 8 of one matrix.
    through = sum(v[:, h // 3] @ o[h] for h in range(heads))
    assert np.linalg.matrix_rank(through, tol=1e-4) == shared * size
    assert np.trace(through) < 0
    for h in range(1, 3):
        np.testing.assert_array_equal(o[h], o[0])
