"""More models that nothing is wrong with, of families that the other pages lack."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax.nn import initializers as init

import jaxinit
from tests.verdict.models.case import IMG, LONG, SEQ, TOKENS, Healthy, X, drawn
from tests.verdict.models.functional_models import functional

he, lecun, zeros = init.he_normal(), init.lecun_normal(), init.zeros
D, relu = nn.Dense, nn.relu


class Llama(nn.Module):
    """Root-mean-square norms, rotary positions, gated feed-forward layers."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(64, 32, embedding_init=init.normal(1.0))(tokens)
        length = x.shape[1]
        angle = jnp.arange(length)[:, None] / 100.0 ** (jnp.arange(8) / 8)

        def rotate(v):
            a, b = jnp.split(v, 2, -1)
            cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
            return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

        for _ in range(2):
            h = nn.RMSNorm()(x)
            q, k, v = (nn.DenseGeneral((2, 16), use_bias=False)(h) for _ in range(3))
            mask = nn.make_causal_mask(tokens)
            h = nn.dot_product_attention(rotate(q), rotate(k), v, mask=mask)
            x = x + nn.DenseGeneral(32, (-2, -1), use_bias=False)(h)
            h = nn.RMSNorm()(x)
            x = x + D(32, use_bias=False)(nn.silu(D(64)(h)) * D(64)(h))
        return D(64, use_bias=False)(nn.RMSNorm()(x))


class LinearAttention(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            h = nn.LayerNorm()(x)
            q, k = nn.elu(D(16)(h)) + 1, nn.elu(D(16)(h)) + 1
            kv = jnp.einsum("btm,btn->bmn", k, D(16)(h))
            norm = jnp.einsum("btm,bm->bt", q, k.sum(1))[..., None]
            x = x + D(16)(jnp.einsum("btm,bmn->btn", q, kv) / norm)
        return D(4)(x.mean(1))


class WaveNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = D(16)(x)
        total = 0.0
        for i in range(3):
            dilation = {"kernel_dilation": (2**i,), "padding": "CAUSAL"}
            gate = nn.sigmoid(nn.Conv(16, (2,), **dilation)(x))
            h = jnp.tanh(nn.Conv(16, (2,), **dilation)(x)) * gate
            total = total + D(16)(h)
            x = x + D(16)(h)
        return D(8)(relu(total))


class Bidirectional(nn.Module):
    @nn.compact
    def __call__(self, x):
        forward = nn.RNN(nn.LSTMCell(16))(x)
        backward = nn.RNN(nn.LSTMCell(16), reverse=True, keep_order=True)(x)
        return D(5)(jnp.concatenate([forward, backward], -1))


class Film(nn.Module):
    @nn.compact
    def __call__(self, x, c):
        for _ in range(2):
            x = D(32)(x)
            scale, shift = jnp.split(D(64)(c), 2, -1)
            x = relu(nn.LayerNorm()(x) * (1 + scale) + shift)
        return D(5)(x)


class Hyper(nn.Module):
    """The weights of one layer are made by another net."""

    @nn.compact
    def __call__(self, x, c):
        w = D(16 * 8, kernel_init=init.normal(0.05))(relu(D(32)(c)))
        return D(3)(relu(jnp.einsum("bi,bio->bo", x, w.reshape(-1, 16, 8))))


class ActorCritic(nn.Module):
    @nn.compact
    def __call__(self, x):
        kernel = init.orthogonal(math.sqrt(2))
        for _ in range(2):
            x = jnp.tanh(D(64, kernel_init=kernel)(x))
        policy = D(4, kernel_init=init.orthogonal(0.01))(x)
        return policy, D(1, kernel_init=init.orthogonal(1.0))(x)


class Siren(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(3):
            kernel = jaxinit.siren(30.0, is_first=i == 0)
            x = jnp.sin(30.0 * D(64, kernel_init=kernel)(x))
        return D(1, kernel_init=jaxinit.siren(1.0))(x)


class Fourier(nn.Module):
    @nn.compact
    def __call__(self, x):
        b = self.variable("constants", "b", lambda: drawn(2, 16, key=4)).value
        x = jnp.concatenate([jnp.sin(6 * x @ b), jnp.cos(6 * x @ b)], -1)
        for _ in range(3):
            x = relu(D(32, kernel_init=he)(x))
        return nn.sigmoid(D(3)(x))


class PointNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (32, 64):
            x = relu(D(width, kernel_init=he)(x))
        return D(5)(relu(D(32, kernel_init=he)(x.max(1))))


class Inception(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            a = nn.Conv(8, (1, 1), kernel_init=he)(x)
            b = nn.Conv(8, (3, 3), kernel_init=he)(x)
            c = nn.Conv(8, (1, 1), kernel_init=he)(
                nn.max_pool(x, (3, 3), padding="SAME")
            )
            x = relu(jnp.concatenate([a, b, c], -1))
        return D(5)(x.mean((1, 2)))


class Vgg(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (8, 16, 32):
            x = relu(nn.Conv(width, (3, 3), kernel_init=he)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return D(5)(relu(D(32, kernel_init=he)(x.reshape(len(x), -1))))


class Atari(nn.Module):
    """Bytes, divided by 255 in the model."""

    @nn.compact
    def __call__(self, x):
        x = x / 255.0
        x = relu(nn.Conv(16, (4, 4), (2, 2), kernel_init=he)(x))
        return D(4)(relu(D(32, kernel_init=he)(x.reshape(len(x), -1))))


class Bag(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(64, 32)(tokens).mean(1)
        return D(2)(relu(D(32, kernel_init=he)(x)))


class Factors(nn.Module):
    @nn.compact
    def __call__(self, users, items):
        table = init.normal(0.1)
        u = nn.Embed(64, 16, embedding_init=table)(users)
        v = nn.Embed(64, 16, embedding_init=table)(items)
        return (u * v).sum(-1)


class Contrastive(nn.Module):
    @nn.compact
    def __call__(self, a, b):
        def encode(x):
            h = D(16)(relu(D(32, kernel_init=he)(x)))
            return h / jnp.sqrt((h**2).sum(-1, keepdims=True) + 1e-6)

        scale = jnp.exp(self.param("scale", init.constant(2.0), ()))
        return scale * encode(a) @ encode(b).T


class Bayesian(nn.Module):
    """Weights are drawn at each call."""

    @nn.compact
    def __call__(self, x):
        for width in (32, 5):
            shape = (x.shape[-1], width)
            mean = self.param(f"mean_{width}", he, shape)
            rho = self.param(f"rho_{width}", init.constant(-4.0), shape)
            noise = jax.random.normal(self.make_rng("noise"), shape)
            x = x @ (mean + nn.softplus(rho) * noise)
            x = relu(x) if width > 5 else x
        return x


class GraphResidual(nn.Module):
    @nn.compact
    def __call__(self, x):
        s, r = jax.random.randint(jax.random.key(5), (2, 128), 0, 32)
        for _ in range(4):
            h = jax.ops.segment_sum(nn.LayerNorm()(x)[s], r, 32) / 4
            x = x + D(16)(relu(D(32, kernel_init=he)(h)))
        return D(4)(x)


class Rbf(nn.Module):
    @nn.compact
    def __call__(self, x):
        centers = self.param("centers", init.normal(1.0), (32, 16))
        square = ((x[:, None] - centers) ** 2).sum(-1)
        return D(3)(jnp.exp(-square / 32))


class Norms(nn.Module):
    """Weight standardization and group norms."""

    @nn.compact
    def __call__(self, x):
        for width in (8, 16):
            x = relu(nn.GroupNorm(4)(nn.Conv(width, (3, 3), kernel_init=he)(x)))
        return D(5)(x.mean((1, 2)))


class Seq2Seq(nn.Module):
    @nn.compact
    def __call__(self, x, y):
        states = nn.RNN(nn.GRUCell(16))(x)
        h = nn.RNN(nn.GRUCell(16))(y)
        weights = nn.softmax(h @ states.swapaxes(1, 2) / 4)
        return D(6)(jnp.tanh(D(16)(jnp.concatenate([h, weights @ states], -1))))


class Vae(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.encode = nnx.Linear(16, 32, kernel_init=he, rngs=rngs)
        self.mean, self.log = (nnx.Linear(32, 4, rngs=rngs) for _ in range(2))
        self.decode = nnx.Linear(4, 32, kernel_init=he, rngs=rngs)
        self.out = nnx.Linear(32, 16, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.encode(x))
        z = self.mean(h) + jnp.exp(0.5 * self.log(h))
        return self.out(nnx.relu(self.decode(z))), self.mean(h), self.log(h)


class Decoder(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(64, 16, rngs=rngs)
        self.norms = nnx.List(nnx.LayerNorm(16, rngs=rngs) for _ in range(3))
        self.mixer = nnx.MultiHeadAttention(2, 16, rngs=rngs, decode=False)
        self.up = nnx.Linear(16, 64, rngs=rngs)
        self.down = nnx.Linear(64, 16, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.mixer(self.norms[0](x), mask=nnx.make_causal_mask(tokens))
        x = x + self.down(nnx.gelu(self.up(self.norms[1](x))))
        return self.embed.attend(self.norms[2](x))


def haiku_like():
    shapes = {f"mlp/linear_{i}/w": ((16 if i == 0 else 32, 32), 0.25) for i in range(3)}
    shapes |= {f"mlp/linear_{i}/b": ((32,), 0.0) for i in range(3)}

    def apply(p, x):
        for i in range(3):
            x = relu(x @ p[f"mlp/linear_{i}/w"] + p[f"mlp/linear_{i}/b"])
        return x

    return functional(shapes, apply)


def fourier_operator():
    """A neural operator: complex weights for the lowest frequencies."""

    def make(key, x):
        a, b, c = jax.random.split(key, 3)
        real, imag = jax.random.normal(a, (2, 4, 8, 8)) / 8
        return {
            "lift": jax.random.normal(b, (8, 8)) / math.sqrt(8),
            "spectral": jax.lax.complex(real, imag),
            "out": jax.random.normal(c, (8, 2)) / math.sqrt(8),
        }

    def apply(p, x):
        x = x @ p["lift"]
        low = jnp.fft.rfft(x, axis=1)[:, :4]
        low = jnp.einsum("bki,kio->bko", low, p["spectral"])
        x = jax.nn.gelu(x + jnp.fft.irfft(low, 24, axis=1))
        return x @ p["out"]

    return jaxinit.Functional(make, apply)


HEALTHY = [
    Healthy("Llama", Llama(), (TOKENS,)),
    Healthy("linear attention", LinearAttention(), (SEQ,)),
    Healthy("WaveNet", WaveNet(), (LONG,)),
    Healthy("both directions", Bidirectional(), (LONG,)),
    Healthy("FiLM", Film(), (X, drawn(32, 8))),
    Healthy("hypernetwork", Hyper(), (X, drawn(32, 8))),
    Healthy("actor and critic", ActorCritic(), (X,)),
    Healthy("SIREN", Siren(), (jnp.tanh(drawn(64, 2)),)),
    Healthy("Fourier features", Fourier(), (jnp.tanh(drawn(64, 2)),)),
    Healthy("PointNet", PointNet(), (SEQ,)),
    Healthy("Inception", Inception(), (IMG,)),
    Healthy("VGG", Vgg(), (IMG,)),
    Healthy("Atari", Atari(), (jnp.abs(100 * IMG),)),
    Healthy("bag of words", Bag(), (TOKENS,)),
    Healthy("factors", Factors(), (TOKENS[:, 0], TOKENS[:, 1])),
    Healthy("contrastive", Contrastive(), (X, drawn(32, 16, key=9))),
    Healthy("Bayesian", Bayesian(), (X,), rngs=("noise",)),
    Healthy("residual graph", GraphResidual(), (drawn(32, 16),)),
    Healthy("radial basis", Rbf(), (X,)),
    Healthy("group norms", Norms(), (IMG,)),
    Healthy("sequence to sequence", Seq2Seq(), (LONG, LONG[:, :10])),
    Healthy("nnx: VAE", Vae, (X,)),
    Healthy("nnx: decoder", Decoder, (TOKENS,)),
    Healthy("Haiku's names", haiku_like(), (X,)),
    Healthy("Fourier operator", fourier_operator(), (LONG,)),
]
FAULTY = []
