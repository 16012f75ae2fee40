"""More models with one fault each, of styles that the other pages lack."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax import lax
from jax.nn import initializers as init

import jaxinit
from tests.verdict.models.case import IMG, LONG, SEQ, Faulty, X, drawn, scaled
from tests.verdict.models.functional_models import functional

he, lecun, zeros = init.he_normal(), init.lecun_normal(), init.zeros
D, relu = nn.Dense, nn.relu


class Pixels(nn.Module):
    """Convolutions of 3x3 on a single pixel, where eight of nine taps see padding."""

    size: tuple[int, int]

    @nn.compact
    def __call__(self, x):
        for _ in range(6):
            x = relu(nn.Conv(32, self.size, kernel_init=he)(x))
        return D(5)(x.reshape(len(x), -1))


class Upsampler(nn.Module):
    """Transposed convolutions of stride 2: each output sums over a quarter of taps."""

    gain: float

    @nn.compact
    def __call__(self, z):
        x = D(2 * 2 * 16)(z).reshape(-1, 2, 2, 16)
        for width in (16, 16, 16, 16, 3):
            kernel = init.variance_scaling(self.gain, "fan_in", "normal")
            x = nn.ConvTranspose(width, (4, 4), (2, 2), kernel_init=kernel)(relu(x))
        return x


def heads_of(dim, divide, std=0.25):
    """Attention by einsum, kernels of (model, heads, head_dim)."""
    shapes = {n: ((16, 2, dim), std) for n in ("query", "key", "value")}
    shapes["out"] = ((2, dim, 16), 1 / math.sqrt(2 * dim))

    def apply(p, x):
        q, k, v = (
            jnp.einsum("btm,mhd->bthd", x, p[n]) for n in ("query", "key", "value")
        )
        s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (math.sqrt(dim) if divide else 1.0)
        y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s), v)
        return x + jnp.einsum("bqhd,hdm->bqm", y, p["out"])

    return functional(shapes, apply)


def fused_lstm(forget, width=16):
    """One kernel for all four gates."""

    def make(key, x):
        a, b, c = jax.random.split(key, 3)
        bias = jnp.zeros(4 * width).at[width : 2 * width].set(forget)
        return {
            "x": jax.random.normal(a, (x.shape[-1], 4 * width)) / math.sqrt(8),
            "h": jax.random.normal(b, (width, 4 * width)) / math.sqrt(width),
            "bias": bias,
            "head": jax.random.normal(c, (width, 3)) / math.sqrt(width),
        }

    def apply(p, x):
        def step(state, v):
            c, h = state
            i, f, g, o = jnp.split(v @ p["x"] + h @ p["h"] + p["bias"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (c, h), None

        start = (jnp.zeros((len(x), width)),) * 2
        (_, h), _ = lax.scan(step, start, x.swapaxes(0, 1))
        return h @ p["head"]

    return jaxinit.Functional(make, apply)


class Elman(nnx.Module):
    radius = 1.0

    def __init__(self, rngs: nnx.Rngs):
        cell = nnx.SimpleCell(
            8, 32, recurrent_kernel_init=init.orthogonal(self.radius), rngs=rngs
        )
        self.rnn = nnx.RNN(cell)
        self.head = nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x)[:, -1])


class Chaotic(Elman):
    radius = 3.0


class SkipInit(nn.Module):
    end: float

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), kernel_init=he)(x)
        for i in range(2):
            h = relu(nn.Conv(16, (3, 3), kernel_init=he)(relu(x)))
            h = nn.Conv(16, (3, 3), kernel_init=scaled(lecun, self.end))(h)
            x = x + self.param(f"alpha_{i}", zeros, ()) * h
        return D(5)(x.mean((1, 2)))


class Segmenter(nn.Module):
    """Logits for each pixel, by a convolution of 1x1."""

    std: float

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = relu(nn.Conv(32, (3, 3), kernel_init=he)(x))
        return nn.Conv(10, (1, 1), kernel_init=init.normal(self.std))(x)


class Years(nn.Module):
    @nn.compact
    def __call__(self, x):
        return D(2)(nn.RNN(nn.GRUCell(16))(x)[:, -1])


class Positions(nn.Module):
    used: bool

    @nn.compact
    def __call__(self, x):
        x = D(16)(x)
        table = self.param("positions", init.normal(0.02), (12, 16))
        x = x + table if self.used else x
        return D(3)(nn.LayerNorm()(x).mean(1))


class Shifted(nn.Module):
    """A batch norm whose shift puts every unit to sleep."""

    shift: float

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = D(32)(x)
            x = nn.BatchNorm(False, bias_init=init.constant(self.shift))(x)
            x = relu(x)
        return D(5)(x)


def constant_attention(kernel):
    def body(m, x):
        h = nn.MultiHeadDotProductAttention(2, kernel_init=kernel)(x)
        return D(3)(h.mean(1))

    return body


def constant_conv(kernel):
    def body(m, x):
        x = relu(nn.Conv(16, (3, 3), kernel_init=kernel)(x))
        return D(5, kernel_init=kernel)(x.mean((1, 2)))

    return body


class Residual(nnx.Module):
    """Convolutional blocks without norms, without a factor."""

    factor = 1.0

    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(3, 16, (3, 3), rngs=rngs)
        self.blocks = nnx.List(
            nnx.List(
                nnx.Conv(16, 16, (3, 3), kernel_init=he, rngs=rngs) for _ in range(2)
            )
            for _ in range(8)
        )
        self.head = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        for a, b in self.blocks:
            x = x + self.factor * b(nnx.relu(a(nnx.relu(x))))
        return self.head(x.mean((1, 2)))


class Scaled(Residual):
    factor = 0.2


def elu_chain(kernel, depth=8):
    def body(m, x):
        for _ in range(depth):
            x = nn.elu(D(64, kernel_init=kernel)(x))
        return D(5)(x)

    return body


class LayerScaled(nn.Module):
    """Branches of 1e-4 in a stream of bfloat16."""

    scale: float
    dtype: jnp.dtype = jnp.bfloat16

    @nn.compact
    def __call__(self, x):
        x = D(32, dtype=self.dtype)(x)
        for i in range(3):
            h = nn.LayerNorm(dtype=self.dtype)(x)
            h = D(32, dtype=self.dtype)(nn.gelu(D(64, dtype=self.dtype)(h)))
            gamma = self.param(f"gamma_{i}", init.constant(self.scale), (32,))
            x = x + gamma.astype(self.dtype) * h
        return D(5)(x.astype(jnp.float32))


def alone(skip):
    """Attention over attention, in plain JAX."""
    shapes = {f"{n}{i}": ((16, 16), 0.25) for i in range(10) for n in "qkvo"}

    def apply(p, x):
        for i in range(10):
            h = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3)
            q, k, v = (h @ p[f"{n}{i}"] for n in "qkv")
            h = jax.nn.softmax(q @ k.swapaxes(-1, -2) / 4) @ v @ p[f"o{i}"]
            x = x + h if skip else h
        return x

    return functional(shapes, apply)


def smoothed(skip):
    """Each layer takes the mean over all nodes, so that all become alike."""
    mean = 0.1 * jnp.eye(32) + 0.9 * jnp.full((32, 32), 1 / 32)

    def body(m, x):
        for _ in range(8):
            h = nn.LayerNorm()(x) if skip else x
            h = relu(mean @ D(16, kernel_init=he)(h))
            x = x + h if skip else h
        return D(3)(x)

    return body


FAULTY = [
    Faulty(
        "3x3 on one pixel",
        Pixels((3, 3)),
        (drawn(16, 1, 1, 8),),
        "vanishing",
        "Conv_",
        Pixels((1, 1)),
    ),
    Faulty(
        "stride 2, transposed",
        Upsampler(1.0),
        (X[:8],),
        "vanishing",
        "ConvTranspose_|Dense_0",
        Upsampler(8.0),
    ),
    Faulty(
        "einsum attention, no root of d",
        heads_of(128, False, 0.3),
        (SEQ,),
        "saturated",
        "query|key",
        heads_of(128, True),
    ),
    Faulty(
        "fused LSTM, forget -4",
        fused_lstm(-4.0),
        (LONG,),
        "time-vanishing",
        "h|x",
        fused_lstm(1.0),
    ),
    Faulty("chaotic tanh RNN", Chaotic, (LONG,), "time-exploding", "rnn", Elman),
    Faulty("SkipInit, zero ends", SkipInit(0.0), (IMG,), "trapped", "", SkipInit(1.0)),
    Faulty(
        "pixel logits of N(0, 2)",
        Segmenter(2.0),
        (IMG,),
        "loss-at-init",
        "Conv_2",
        Segmenter(0.1),
    ),
    Faulty("years", Years(), (2000 + 10 * LONG,), "input", "", Years(), (LONG,)),
    Faulty(
        "positions unused",
        Positions(False),
        (SEQ,),
        "unreached",
        "positions",
        Positions(True),
    ),
    Faulty(
        "batch norm shifted by -5",
        Shifted(-5.0),
        (X,),
        "dead",
        "Dense_0|BatchNorm_0",
        Shifted(0.0),
    ),
    Faulty(
        "convolution of constants",
        constant_conv(init.constant(0.1)),
        (IMG,),
        "symmetric",
        "Conv_0",
        constant_conv(he),
    ),
    Faulty(
        "attention of constants",
        constant_attention(init.constant(0.05)),
        (SEQ,),
        "symmetric",
        "MultiHeadDotProductAttention_0",
        constant_attention(lecun),
    ),
    Faulty(
        "convolutional blocks without a factor",
        Residual,
        (IMG,),
        "exploding",
        "blocks|stem",
        Scaled,
    ),
    Faulty(
        "ELU, kernels of 0.01",
        elu_chain(init.normal(0.01)),
        (X,),
        "vanishing",
        "Dense_",
        elu_chain(init.variance_scaling(1.5, "fan_in", "normal"), 6),
    ),
    Faulty(
        "ELU, kernels of N(0, 1)",
        elu_chain(init.normal(1.0), 4),
        (X,),
        "exploding",
        "Dense_0",
        elu_chain(lecun, 4),
    ),
    Faulty(
        "LayerScale in bfloat16",
        LayerScaled(1e-4),
        (X,),
        "dtype-range",
        "",
        LayerScaled(0.1),
    ),
    Faulty("attention alone", alone(False), (SEQ,), "rank-collapsed", "", alone(True)),
    Faulty(
        "oversmoothed",
        smoothed(False),
        (drawn(32, 16),),
        "rank-collapsed",
        "",
        smoothed(True),
    ),
]
HEALTHY = []
