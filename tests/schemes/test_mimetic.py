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


def fused_keys_and_values(p, x):
    k, v = jnp.split(x @ p["kv"], 2, -1)
    h = jax.nn.softmax((x @ p["q"]) @ jnp.swapaxes(k, 1, 2)) @ v
    return x + h @ p["o"]


SHAPES = {"q": (8, 8), "kv": (8, 16), "o": (8, 8)}
REFUSED = {
    "shared keys": (lambda: nn.Sequential([_Shared()]), "needs as many keys as"),
    "fused": (fused, r"qkv of shape \(2, 8, 24\) is several"),
    "keys and values": (
        lambda: function(SHAPES, fused_keys_and_values),
        r"kv of shape \(8, 16\) is several",
    ),
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
        assert kernel.size <= 8 or kernel.any()  # the small ones are biases


class _Shared(nn.Module):
    @nn.compact
    def __call__(self, x):
        q = nn.DenseGeneral((2, 4))(x)
        k, v = nn.DenseGeneral((1, 4))(x), nn.DenseGeneral((1, 4))(x)
        out = jax.nn.dot_product_attention(q, k, v)
        return x + nn.DenseGeneral(8, axis=(-2, -1))(out)
