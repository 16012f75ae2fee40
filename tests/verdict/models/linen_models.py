"""linen models of many families, each with an argument that breaks it."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers as init

from tests.verdict.models.case import (
    IMG,
    LONG,
    SEQ,
    TOKENS,
    Faulty,
    Healthy,
    X,
    drawn,
    scaled,
)

he, lecun, zeros = init.he_normal(), init.lecun_normal(), init.zeros
D, relu = nn.Dense, nn.relu


def stack(act, depth, kernel=lecun, width=32, norm=False):
    def body(m, x):
        for _ in range(depth):
            x = D(width, kernel_init=kernel)(x)
            x = act(nn.LayerNorm()(x) if norm else x)
        return D(5)(x)

    return body


def dropout(rate, depth=6):
    def body(m, x):
        for _ in range(depth):
            x = nn.Dropout(rate, deterministic=False)(relu(D(64, kernel_init=he)(x)))
        return D(5)(x)

    return body


class Highway(nn.Module):
    bias: float
    depth: int = 16

    @nn.compact
    def __call__(self, x):
        x = D(16)(x)
        for _ in range(self.depth):
            t = nn.sigmoid(D(16, bias_init=init.constant(self.bias))(x))
            x = t * relu(D(16, kernel_init=he)(x)) + (1 - t) * x
        return D(5)(x)


def gated(skip, depth=16):
    def body(m, x):
        x = D(32)(x)
        for _ in range(depth):
            h = nn.LayerNorm()(x) if skip else x
            h = D(32)(h) * nn.sigmoid(D(32)(h))
            x = x + h if skip else h
        return D(5)(x)

    return body


def inference_norm(variance, depth=6):
    def body(m, x):
        for i in range(depth):
            x = nn.Conv(16, (3, 3), kernel_init=he, use_bias=False)(x)
            mean = m.variable("batch_stats", f"mean_{i}", jnp.zeros, (16,))
            var = m.variable("batch_stats", f"var_{i}", jnp.full, (16,), variance)
            x = relu((x - mean.value) / jnp.sqrt(var.value + 1e-5))
        return D(5)(x.mean((1, 2)))

    return body


def weight_norm(gain, depth=16):
    def body(m, x):
        for i in range(depth):
            v = m.param(f"v{i}", init.normal(0.05), (x.shape[-1], 32))
            g = m.param(f"g{i}", init.constant(gain), (32,))
            x = relu(x @ (g * v / jnp.linalg.norm(v, axis=0)))
        return D(5)(x)

    return body


def decoder(kernel, depth=5):
    def body(m, z):
        x = D(4 * 4 * 16)(z).reshape(-1, 4, 4, 16)
        for _ in range(depth):
            x = nn.ConvTranspose(16, (3, 3), kernel_init=kernel)(relu(x))
        return nn.Conv(3, (1, 1))(relu(x))

    return body


class Encoder(nn.Module):
    """A transformer encoder with a learned position and a padding mask."""

    blocks: int = 2
    end: float = 1.0
    heads: int = 2
    query: float = 1.0

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(64, 16, embedding_init=init.normal(0.5))(tokens)
        x = x + self.param("position", init.normal(0.1), (12, 16))
        mask = nn.make_attention_mask(tokens > 5, tokens >= 0)
        for _ in range(self.blocks):
            h = nn.LayerNorm()(x)
            x = x + self.end * nn.MultiHeadDotProductAttention(
                self.heads, kernel_init=scaled(lecun, self.query)
            )(h, mask=mask)
            h = nn.gelu(D(32)(nn.LayerNorm()(x)))
            x = x + self.end * D(16)(h)
        return D(7)(nn.LayerNorm()(x))


class Gru(nn.Module):
    kernel: float = 1.0
    recurrent: float = 1.0

    @nn.compact
    def __call__(self, x):
        cell = nn.GRUCell(
            16,
            kernel_init=scaled(lecun, self.kernel),
            recurrent_kernel_init=init.orthogonal(self.recurrent),
        )
        return D(3)(nn.RNN(cell)(x)[:, -1])


class UNet(nn.Module):
    """Down, up, and a skip that is concatenated; a time is added."""

    @nn.compact
    def __call__(self, x, t):
        freq = jnp.exp(-jnp.arange(8.0))
        emb = jnp.concatenate([jnp.sin(t * freq), jnp.cos(t * freq)], -1)
        emb = D(16)(nn.silu(D(16)(emb)))
        a = nn.silu(nn.GroupNorm(4)(nn.Conv(8, (3, 3))(x)))
        b = nn.Conv(16, (3, 3), (2, 2))(a) + emb[:, None, None]
        b = b + nn.Conv(16, (3, 3))(nn.silu(nn.GroupNorm(4)(b)))
        up = jax.image.resize(b, (*a.shape[:3], 16), "nearest")
        h = jnp.concatenate([a, up], -1)
        h = nn.Conv(16, (3, 3))(nn.silu(nn.GroupNorm(4)(h)))
        return nn.Conv(3, (3, 3), kernel_init=zeros)(nn.silu(h))


class Experts(nn.Module):
    """Soft mixture of four experts."""

    @nn.compact
    def __call__(self, x):
        weights = nn.softmax(D(4, use_bias=False)(x))
        outs = jnp.stack([D(16)(relu(D(32)(x))) for _ in range(4)], -1)
        return D(5)(x + (outs * weights[..., None, :]).sum(-1))


class Resnet(nn.Module):
    """Pre-activation, batch norm, projected shortcuts."""

    train: bool = True

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), kernel_init=he, use_bias=False)(x)
        for width, stride in ((8, 1), (16, 2)):
            h = relu(nn.BatchNorm(use_running_average=False)(x))
            if x.shape[-1] != width:
                x = nn.Conv(width, (1, 1), (stride, stride), use_bias=False)(h)
            h = nn.Conv(width, (3, 3), (stride, stride), use_bias=False)(h)
            h = relu(nn.BatchNorm(use_running_average=False)(h))
            x = x + nn.Conv(width, (3, 3), use_bias=False)(h)
        return D(5)(x.mean((1, 2)))


class Mamba(nn.Module):
    """A selective state space, gated."""

    decay: float = -0.5

    @nn.compact
    def __call__(self, x):
        u, z = jnp.split(D(32)(x), 2, -1)
        dt = nn.softplus(D(16, bias_init=init.constant(-2.0))(u))
        a = self.param("A", init.constant(self.decay), (16,))
        b = D(16)(u)

        def step(h, t):
            d, v, s = t
            h = jnp.exp(d * a) * h + d * s * v
            return h, h

        swap = [v.swapaxes(0, 1) for v in (dt, u, b)]
        _, y = jax.lax.scan(step, jnp.zeros_like(u[:, 0]), tuple(swap))
        return D(8)(y.swapaxes(0, 1) * nn.silu(z))


class Maxout(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = D(64)(x).reshape(-1, 32, 2).max(-1)
        return D(5)(x)


class Autoencoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (32, 8, 2, 8, 32):
            x = nn.elu(D(width)(x))
        return D(16)(x)


class Dueling(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = relu(D(32, kernel_init=he)(x))
        v, a = D(1)(relu(D(32)(h))), D(4)(relu(D(32)(h)))
        return v + a - a.mean(-1, keepdims=True)


class CrossAttention(nn.Module):
    """Perceiver: learned latents ask the data."""

    @nn.compact
    def __call__(self, x):
        latents = self.param("latents", init.normal(1.0), (4, 16))
        z = jnp.broadcast_to(latents, (len(x), 4, 16))
        for _ in range(2):
            z = z + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(z), x)
            z = z + D(16)(nn.gelu(D(32)(nn.LayerNorm()(z))))
        return D(5)(z.mean(1))


class Siamese(nn.Module):
    @nn.compact
    def __call__(self, a, b):
        net = nn.Sequential([D(32, kernel_init=he), relu, D(8)])
        return jnp.square(net(a) - net(b)).sum(-1)


class Depthwise(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), kernel_init=he)(x)
        for _ in range(2):
            h = nn.Conv(16, (3, 3), feature_group_count=16, use_bias=False)(x)
            h = nn.GroupNorm(4)(h)
            x = x + nn.Conv(16, (1, 1))(relu(nn.Conv(32, (1, 1))(h)))
        return D(5)(x.mean((1, 2)))


class Gat(nn.Module):
    @nn.compact
    def __call__(self, x):
        edges = jax.random.randint(jax.random.key(5), (2, 128), 0, 32)
        s, r = edges
        for _ in range(2):
            h = D(16)(x)
            e = nn.leaky_relu(D(1)(jnp.concatenate([h[s], h[r]], -1)), 0.2)
            w = jnp.exp(e - e.max())
            total = jax.ops.segment_sum(w, r, 32)
            x = x + nn.elu(jax.ops.segment_sum(w * h[s], r, 32) / (total + 1e-6))
        return D(4)(x)


class Glow(nn.Module):
    """Scales, a rotation and a coupling."""

    @nn.compact
    def __call__(self, x):
        for i in range(3):
            x = x * jnp.exp(self.param(f"log{i}", zeros, (16,)))
            x = x @ self.param(f"mix{i}", init.orthogonal(), (16, 16))
            a, b = jnp.split(x, 2, -1)
            s, t = jnp.split(D(16, kernel_init=zeros)(relu(D(32)(a))), 2, -1)
            x = jnp.concatenate([a, b * nn.sigmoid(s + 2) + t], -1)
        return x


class Gan(nn.Module):
    """A discriminator with kernels of 0.02, norms, leaky slopes."""

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate((8, 16)):
            x = nn.Conv(width, (4, 4), (2, 2), kernel_init=init.normal(0.02))(x)
            x = nn.BatchNorm(use_running_average=False)(x) if i else x
            x = nn.leaky_relu(x, 0.2)
        return D(1)(x.reshape(len(x), -1))


FAULTY = [
    Faulty(
        "GELU, 40 layers",
        stack(nn.gelu, 40),
        (X,),
        "vanishing",
        "Dense",
        stack(nn.gelu, 24, norm=True),
    ),
    Faulty(
        "SiLU, 24 layers",
        stack(nn.silu, 24),
        (X,),
        "vanishing",
        "Dense",
        stack(nn.silu, 24, norm=True),
    ),
    Faulty(
        "dropout of 0.95",
        dropout(0.95),
        (X,),
        "exploding",
        "Dense",
        dropout(0.1),
        rngs=("dropout",),
    ),
    Faulty("highway, bias 0", Highway(0.0), (X,), "vanishing", "Dense", Highway(-3.0)),
    Faulty(
        "gated without skips", gated(False), (X,), "vanishing", "Dense", gated(True)
    ),
    Faulty(
        "running variance of 1e-3",
        inference_norm(1e-3),
        (IMG,),
        "exploding",
        "Conv_",
        inference_norm(1.0),
    ),
    Faulty(
        "weight norm of gain 1",
        weight_norm(1.0),
        (X,),
        "vanishing",
        "v|g",
        weight_norm(math.sqrt(2.0)),
    ),
    Faulty(
        "encoder, query kernels x8",
        Encoder(query=8.0),
        (TOKENS,),
        "saturated",
        "query|key",
        Encoder(),
    ),
    Faulty("GRU, kernels x12", Gru(12.0), (LONG,), "saturated", "GRU", Gru()),
    Faulty(
        "decoder of 0.02",
        decoder(init.normal(0.02)),
        (X[:8],),
        "vanishing",
        "ConvTranspose_",
        decoder(he),
    ),
    Faulty(
        "Mamba, mean 50",
        Mamba(),
        (LONG + 50,),
        "input",
        "Dense_0",
        Mamba(),
        (LONG,),
    ),
    Faulty(
        "leaky, gain x3",
        stack(nn.leaky_relu, 10, scaled(he, 3.0)),
        (X,),
        "exploding",
        "Dense_",
        stack(nn.leaky_relu, 10, he, 64),
    ),
]

HEALTHY = [
    Healthy("encoder", Encoder(), (TOKENS,)),
    Healthy("GRU", Gru(), (LONG,)),
    Healthy("U-Net with a time", UNet(), (IMG, drawn(8, 1))),
    Healthy("soft experts", Experts(), (X,)),
    Healthy("pre-activation ResNet", Resnet(), (IMG,)),
    Healthy("Mamba", Mamba(), (LONG,)),
    Healthy("maxout", Maxout(), (X,)),
    Healthy("autoencoder", Autoencoder(), (X,)),
    Healthy("dueling", Dueling(), (X,)),
    Healthy("cross attention", CrossAttention(), (SEQ,)),
    Healthy("Siamese", Siamese(), (X, drawn(32, 16, key=9))),
    Healthy("depthwise", Depthwise(), (IMG,)),
    Healthy("graph attention", Gat(), (drawn(32, 16),)),
    Healthy("Glow", Glow(), (X,)),
    Healthy("discriminator", Gan(), (IMG,)),
    Healthy("GELU with norms", stack(nn.gelu, 24, norm=True), (X,)),
    Healthy("dropout of 0.2", dropout(0.2, 3), (X,), rngs=("dropout",)),
    Healthy("highway, bias -2", Highway(-2.0, 8), (X,)),
]
