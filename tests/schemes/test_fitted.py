"""An initializer as a scheme: every weight has its real fans, whatever the layout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit as ji

pytestmark = pytest.mark.internals

D = 32


class Stack(nn.Module):
    """Three dense layers in one array, looped over by hand."""

    @nn.compact
    def __call__(self, x):
        kernels = self.param("kernels", nn.initializers.zeros, (3, D, D))
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, kernels)[0]


class Experts(nn.Module):
    """Four experts, each with data of its own."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.zeros, (4, D, 16))
        return jnp.einsum("ebd,edf->ebf", jnp.stack([x] * 4), w)


class Attention(nn.Module):
    """Self-attention; Flax shows its initializers flattened kernels."""

    @nn.compact
    def __call__(self, x):
        return nn.MultiHeadDotProductAttention(4, qkv_features=2 * D, name="attn")(x)


VECTORS = jax.ShapeDtypeStruct((4, D), "float32")
SEQUENCES = jax.ShapeDtypeStruct((2, 4, D), "float32")
IMAGES = jax.ShapeDtypeStruct((2, 8, 8, D), "float32")
conv = functools.partial(nn.Conv, kernel_size=(3, 3))
# A model, its input, the path of its weight, and the real fans.
CASES = {
    "dense": (nn.Dense(D * 2), VECTORS, ("kernel",), 32, 64),
    "conv": (conv(64), IMAGES, ("kernel",), 288, 576),
    "grouped": (conv(64, feature_group_count=4), IMAGES, ("kernel",), 72, 144),
    "depthwise": (conv(D, feature_group_count=D), IMAGES, ("kernel",), 9, 9),
    "transposed": (
        nn.ConvTranspose(D, (4, 4), strides=(2, 2)),
        IMAGES,
        ("kernel",),
        D * 4,
        D * 16,
    ),
    "heads": (nn.DenseGeneral((4, 16)), VECTORS, ("kernel",), 32, 64),
    "query": (Attention(), SEQUENCES, ("attn", "query", "kernel"), 32, 64),
    "out": (Attention(), SEQUENCES, ("attn", "out", "kernel"), 64, 32),
    "batched": (
        nn.DenseGeneral(16, axis=-1, batch_dims=(0,)),
        SEQUENCES,
        ("kernel",),
        32,
        16,
    ),
    "experts": (Experts(), VECTORS, ("w",), 32, 16),
    "stack": (Stack(), VECTORS, ("kernels",), 32, 32),
}


def weight(case, scheme, key=0):
    model, x, path, *_ = CASES[case]
    found = ji.initialize(model, scheme, key, x)["params"]
    for part in path:
        found = found[part]
    return np.asarray(found, np.float64)


@pytest.mark.parametrize("case", CASES)
def test_variance_follows_the_real_fans(case):
    *_, fan_in, fan_out = CASES[case]
    for init, fan in [
        (ji.variance_scaling(1.0, "fan_in", "normal"), fan_in),
        (ji.variance_scaling(1.0, "fan_out", "normal"), fan_out),
        (ji.scale(ji.glorot_uniform(), 1.0), (fan_in + fan_out) / 2),
        # Another library's is shown a plain kernel; it does not know of strides.
        (jax.nn.initializers.lecun_normal(), None if case == "transposed" else fan_in),
    ]:
        if fan is not None:
            w = weight(case, init)
            tolerance = 4 / np.sqrt(2 * w.size)
            assert w.std() * np.sqrt(fan) == pytest.approx(1, abs=tolerance)


def as_matrices(case):
    """How a weight acts: one matrix ``(in, out)`` for each layer, expert or tap."""
    w = weight(case, ji.orthogonal())
    match case:
        case "heads" | "query":
            return [w.reshape(D, -1)]
        case "out":
            return [w.reshape(-1, D)]
        case "grouped":
            return [w[..., i * 16 : (i + 1) * 16].reshape(-1, 16) for i in range(4)]
        case "depthwise":
            return [w[..., i].reshape(9, 1) for i in range(D)]
        case "stack" | "experts" | "batched":
            return list(w)
    return [w.reshape(-1, w.shape[-1])]


@pytest.mark.parametrize("case", [name for name in CASES if name != "transposed"])
def test_each_kernel_is_orthogonal_by_itself(case):
    matrices = as_matrices(case)
    for matrix in matrices:
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values == pytest.approx(np.ones_like(values), abs=1e-5)
    assert len({m.tobytes() for m in matrices}) == len(matrices)


def test_embeddings_are_left_alone():
    class Tied(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            embed = nn.Embed(16, 8, name="embed")
            return embed.attend(nn.Dense(8, name="fc")(embed(tokens)))

    tokens = jnp.zeros((2, 3), jnp.int32)
    own = Tied().init(jax.random.key(0), tokens)["params"]
    drawn = ji.initialize(Tied(), ji.he_normal(), 0, tokens)["params"]
    assert jnp.allclose(drawn["embed"]["embedding"], own["embed"]["embedding"])
    assert not jnp.allclose(drawn["fc"]["kernel"], own["fc"]["kernel"])


def test_axes_that_the_program_hides_are_an_error_where_they_matter():
    class Hidden(nn.Module):
        @nn.compact
        def __call__(self, x):
            w = self.param("w", nn.initializers.zeros, (D * D,))
            return x @ jnp.sort(w).reshape(D, D)

    with pytest.raises(ValueError, match="does not tell which axes of w"):
        ji.initialize(Hidden(), ji.orthogonal(), 0, VECTORS)
    drawn = ji.initialize(Hidden(), ji.lecun_normal(), 0, VECTORS)["params"]["w"]
    assert float(drawn.std()) * np.sqrt(D) == pytest.approx(1, abs=0.1)
