"""Models that cause what no model of the other pages does, one for each sentence."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tests.verdict.models.case import SEQ, Faulty, Healthy, X, drawn, scaled
from tests.verdict.models.functional_models import functional
from tests.verdict.models.linen_models import dropout, he, lecun

D, relu = nn.Dense, nn.relu


def between(operation):
    """Two layers and what is done in between."""
    shapes = {"a": ((16, 32), 0.25), "b": ((32, 5), 0.18)}
    return functional(shapes, lambda p, x: operation(x @ p["a"]) @ p["b"])


HEALTHY_PAIR = between(jnp.tanh)


def gated(bias):
    """One half of the units opens and closes the other, all alike."""
    return lambda h: jnp.tile(h[:, :16] * jax.nn.hard_sigmoid(h[:, 16:] + bias), 2)


def broken(name, operation, cured, x=X):
    """An operation that breaks, and the same with what is printed for it."""
    return Faulty(name, between(operation), (x,), "non-finite", "a", between(cured))


def shares(h, safe=False):
    total = relu(h).sum(-1, keepdims=True)
    return 32 * relu(h) / (jnp.where(total == 0, 1.0, total) if safe else total)


def per_large(h, safe=False):
    """A mean over what is large, of which there may be nothing."""
    count = (h > 1.5).sum(-1, keepdims=True)
    return h / (jnp.where(count == 0, 1.0, count) if safe else count)


def unit_rms(h, least=0.0):
    return h * lax.rsqrt((h * h).mean(-1, keepdims=True) + least)


def power(h):
    ok = h > 0
    return jnp.where(ok, jnp.where(ok, h, 1.0) ** 1.5, 0.0)


def overflow(p, x):
    return (1e15 * ((1e15 * x) @ p["a"])) @ p["b"] @ p["c"]


def steep(h):
    """The same numbers, with a slope of 1e7."""
    return 1e7 * h - lax.stop_gradient((1e7 - 1) * h)


def half(m, x):
    for _ in range(2):
        x = relu(D(32, dtype=jnp.float16)(x))
    return D(5, dtype=jnp.float16)(x)


def summed(rows):
    def body(m, x):
        return D(5)(relu(jnp.full((32, 32), 1.0 / rows) @ relu(D(32)(x) + 1.0)))

    return body


def critic(m, state, action):
    x = jnp.concatenate([state, action], -1)
    return D(1)(relu(D(32, kernel_init=he)(relu(D(32, kernel_init=he)(x)))))


def towers(m, x, y):
    return D(5)(relu(D(32)(x)) + relu(D(32)(y.reshape(32, -1))))


def small(y):
    return (1e-9 * y.astype(jnp.float32)).mean()


class Layer(nn.Module):
    """A block of attention, with or without a skip around it."""

    skip: bool
    query: Any = lecun

    @nn.compact
    def __call__(self, x, _):
        h = nn.LayerNorm()(x)
        q = D(16, kernel_init=self.query, use_bias=False)(h)
        k, v = (D(16, kernel_init=lecun, use_bias=False)(h) for _ in range(2))
        h = D(16)(nn.softmax(q @ k.swapaxes(-1, -2) / 4) @ v)
        return (x + h if self.skip else h), None


class Scanned(nn.Module):
    """Blocks whose parameters are stacked, and run by a scan."""

    skip: bool
    query: Any = lecun

    @nn.compact
    def __call__(self, x):
        stacked = nn.scan(Layer, {"params": 0}, split_rngs={"params": True}, length=8)
        x, _ = stacked(self.skip, self.query)(x, None)
        return D(5)(x)


FAULTY = [
    broken("root of negative numbers", jnp.sqrt, lambda h: jnp.sqrt(relu(h) + 1e-6)),
    broken(
        "logarithm of negative numbers",
        jnp.log,
        lambda h: jnp.log(nn.softplus(h) + 1e-6),
    ),
    broken("zero by zero", shares, partial(shares, safe=True), X.at[0].set(0.0)),
    broken("one by zero", per_large, partial(per_large, safe=True)),
    broken(
        "inverse root of zero", unit_rms, partial(unit_rms, least=1e-6), X.at[0].set(0)
    ),
    broken("arc cosine", jnp.arccos, lambda h: jnp.arccos(jnp.clip(h, -0.999, 0.999))),
    broken("power of negative numbers", lambda h: h**1.5, power),
    Faulty(
        "overflow",
        functional(
            {"a": ((16, 32), 1e9), "b": ((32, 32), 1.0), "c": ((32, 5), 1.0)}, overflow
        ),
        (X,),
        "non-finite",
        "a|b",
        HEALTHY_PAIR,
    ),
    Faulty(
        "steep without size",
        between(steep),
        (X,),
        "exploding",
        "a",
        HEALTHY_PAIR,
    ),
    Faulty(
        "tanh of 20 z",
        between(lambda h: jnp.tanh(20 * h)),
        (X,),
        "saturated",
        "a",
        HEALTHY_PAIR,
    ),
    Faulty(
        "x / (1 + |x|) of 20 z",
        between(lambda h: jax.nn.soft_sign(20 * h)),
        (X,),
        "saturated",
        "a",
        between(jax.nn.soft_sign),
    ),
    Faulty(
        "hard sigmoid of 50 z",
        between(lambda h: jax.nn.hard_sigmoid(50 * h)),
        (X,),
        "saturated",
        "a",
        between(lambda h: jax.nn.hard_sigmoid(3 * h)),
    ),
    Faulty(
        "large inputs, linear",
        lambda m, x: D(5)(x),
        (20 * X,),
        "loss-at-init",
        "Dense_0",
        lambda m, x: D(5)(x),
        (X,),
    ),
    Faulty(
        "sum over a full graph", summed(0.5), (X,), "exploding", "Dense_0", summed(32.0)
    ),
    Faulty(
        "dropout of 0.96",
        dropout(0.96, 2),
        (X,),
        "exploding",
        "Dense_1",
        dropout(0.1, 2),
        rngs=("dropout",),
    ),
    Faulty(
        "gradients below float16",
        half,
        (X,),
        "dtype-range",
        "",
        half,
        loss=small,
        cured_loss=lambda y: (y.astype(jnp.float32) ** 2).mean(),
    ),
    Faulty(
        "critic, states of mean 100",
        critic,
        (drawn(32, 8) + 100, drawn(32, 4)),
        "input",
        "Dense",
        critic,
        (drawn(32, 8), drawn(32, 4)),
    ),
    Faulty(
        "two towers, one of pixels",
        towers,
        (X, 255 * jax.random.uniform(jax.random.key(3), (32, 4, 4))),
        "input",
        "Dense",
        towers,
        (X, jax.random.uniform(jax.random.key(3), (32, 4, 4))),
    ),
    Faulty(
        "scanned attention without skips",
        Scanned(False),
        (SEQ,),
        "rank-collapsed",
        "[",
        Scanned(True),
    ),
    Faulty(
        "scanned attention, queries x12",
        Scanned(True, scaled(lecun, 12.0)),
        (SEQ,),
        "saturated",
        "Dense_0[|Dense_1[",
        Scanned(True),
    ),
]
HEALTHY = [
    Healthy("critic, bounded actions", critic, (X, jnp.tanh(drawn(32, 4)))),
    # Bounded functions that have kept their slope, and those that have none to keep.
    Healthy("relu6, most of it zero", between(lambda h: jax.nn.relu6(h - 0.7)), (X,)),
    Healthy("sin, as in SIREN", between(lambda h: jnp.sin(3 * h)), (X,)),
    Healthy("clipped far away", between(lambda h: relu(jnp.clip(h, -20, 2))), (X,)),
    Healthy("a gate of hard sigmoid, closed", between(gated(-4.0)), (X,)),
]
