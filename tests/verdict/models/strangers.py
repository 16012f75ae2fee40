"""What people train, and break, that the first pages do not have.

Their sizes come from no kernel: from a norm behind small kernels, from noise, from a
division behind the logits, from a factor that is small on purpose; and faults that
follow from a fault before them.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

import jaxinit
from tests.verdict.models.case import LONG, SEQ, TOKENS, Faulty, Healthy, X, drawn
from tests.verdict.models.functional_models import functional

D, relu, init = nn.Dense, nn.relu, nn.initializers
he, small = init.he_normal(), init.normal(0.02)


def discriminator(m, x):
    """DCGAN's: every kernel of deviation 0.02, norms behind all but the first."""
    x = nn.leaky_relu(D(32, kernel_init=small)(x), 0.2)
    for _ in range(2):
        x = D(32, kernel_init=small, use_bias=False)(x)
        x = nn.leaky_relu(nn.BatchNorm(use_running_average=False)(x), 0.2)
    return D(1, kernel_init=small)(x)


def variational(m, x, key):
    """The noise is far larger than the mean that it is added to."""
    h = relu(D(32)(x))
    mean, log_variance = D(4, name="mean")(h), D(4, name="log_variance")(h)
    z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
    return D(16)(relu(D(32)(z)))


def language(divisor):
    """A table of deviation 1 that is read out again, its logits divided."""

    def body(m, tokens):
        table = nn.Embed(64, 64, embedding_init=init.normal(1.0))
        x = table(tokens)
        x = x + D(64)(relu(D(64)(nn.LayerNorm()(x))))
        return table.attend(nn.LayerNorm()(x)) / divisor

    return body


def coordinates(m, x):
    """A network of physics: two coordinates, Glorot's kernels."""
    for _ in range(3):
        x = nn.tanh(D(32, kernel_init=init.glorot_normal())(x))
    return D(1, kernel_init=init.glorot_normal())(x)


def layer_scale(m, x):
    """ConvNeXt's: each branch ends in a learned factor of 1e-6."""
    x = D(16)(x)
    for i in range(2):
        h = D(16, kernel_init=small)(nn.gelu(D(32, kernel_init=small)(x)))
        x = x + h * m.param(f"gamma_{i}", init.constant(1e-6), (16,))
    return D(5)(x)


def scaled_embedding(m, tokens):
    """Vaswani's: a table of deviation 1/sqrt(d), times sqrt(d)."""
    table = nn.Embed(64, 128, embedding_init=init.normal(128**-0.5))
    return D(5)(relu(D(32)(table(tokens) * math.sqrt(128))))


def odd_sizes(m, x):
    """41 times 1/41 is not 1 in float32."""
    return D(5)(relu(D(47)(x)))


def norm_bias(bias):
    """Behind a norm its bias alone decides which units live."""

    def body(m, x):
        for i in range(2):
            shift = init.constant(bias if i else 0.0)
            x = relu(nn.LayerNorm(bias_init=shift)(D(32)(x)))
        return D(5)(x)

    return body


def spectral(factor):
    """Weights of largest singular value 1, each of which loses a factor of 5."""

    def body(m, x):
        for _ in range(6):
            x = factor * relu(nn.SpectralNorm(D(64))(x, update_stats=True))
        return nn.SpectralNorm(D(1))(x, update_stats=True)

    return body


def couplings(kernel):
    """A flow whose scales have no bound."""

    def body(m, x):
        for i in range(4):
            kept, moved = jnp.split(x, 2, -1)
            h = nn.tanh(D(32)(kept))
            scale, shift = jnp.split(D(16, kernel_init=kernel, name=f"s{i}")(h), 2, -1)
            x = jnp.concatenate([moved * jnp.exp(scale) + shift, kept], -1)
        return x

    return body


def no_norm(kernel):
    """A stream that grows until attention is one-hot."""

    def body(m, x):
        for i in range(5):
            q, k, v = (D(16, kernel_init=he)(x) for _ in range(3))
            w = nn.softmax(q @ k.swapaxes(-1, -2) / 4.0)
            x = x + D(16, kernel_init=kernel, name=f"end{i}")(w @ v)
            h = relu(D(32, kernel_init=he)(x))
            x = x + D(16, kernel_init=kernel, name=f"mlp{i}")(h)
        return D(5)(x.mean(1))

    return body


def fused(forget):
    """An LSTM with one bias for its four gates, as people write it by hand."""
    shapes = {
        "x": ((8, 64), 8**-0.5),
        "h": ((16, 64), 0.25),
        "b": ((64,), 0.0),
        "out": ((16, 3), 0.25),
    }

    def start(key, x):
        made = functional(shapes, run).init(key, x)
        return made | {"b": made["b"].at[16:32].set(forget)}

    def run(p, x):
        def step(carry, x):
            h, c = carry
            i, f, g, o = jnp.split(x @ p["x"] + h @ p["h"] + p["b"], 4, -1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            return (nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((len(x), 16))
        (h, _), _ = lax.scan(step, (zero, zero), x.swapaxes(0, 1))
        return h @ p["out"]

    return jaxinit.Functional(start, run)


PLANE = 2 * jax.random.uniform(jax.random.key(3), (64, 2)) - 1

FAULTY = [
    Faulty("norm's bias of -5", norm_bias(-5.0), (X,), "dead", "Norm_1", norm_bias(0)),
    Faulty("spectral norms", spectral(1.0), (X,), "vanishing", "Dense", spectral(2.3)),
    Faulty(
        "couplings without bound",
        couplings(init.normal(0.6)),
        (X,),
        "exploding",
        "s",
        couplings(init.zeros),
    ),
    Faulty(
        "attention, no norm",
        no_norm(he),
        (SEQ,),
        "exploding",
        "",
        no_norm(init.variance_scaling(0.1, "fan_in", "normal")),
    ),
    Faulty("fused bias of -4", fused(-4.0), (LONG,), "time-vanishing", "", fused(1.0)),
]
HEALTHY = [
    Healthy("DCGAN", discriminator, (X,)),
    Healthy("noise beside a small mean", variational, (X, jax.random.key(5))),
    Healthy("tied, logits / sqrt(d)", language(8.0), (TOKENS,)),
    Healthy("coordinates", coordinates, (PLANE,)),
    Healthy("LayerScale of 1e-6", layer_scale, (X,)),
    Healthy("table times sqrt(d)", scaled_embedding, (TOKENS,)),
    Healthy("41 samples", odd_sizes, (drawn(41, 16),)),
]
