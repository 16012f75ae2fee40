"""Families and faults that a second stranger planted, and that no other page has.

Infinities that are written and those that are not, recurrences of which each step is
read out, scores of another scale, products of two signals, cuts that nobody meant.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tests.verdict.models.case import LONG, SEQ, Faulty, Healthy, X, drawn
from tests.verdict.models.functional_models import functional

D, relu, init = nn.Dense, nn.relu, nn.initializers
POINTS = drawn(8, 12, 3)
COUNTS = jnp.array([3, 5, 12, 1, 7, 9, 2, 11])
SOME = jnp.arange(12) < COUNTS[:, None]
NONE_OF_ONE = SOME.at[3].set(False)
CHOICES = (jax.random.uniform(jax.random.key(7), (32, 5)) < 0.6).at[:, 0].set(True)


def pooled(safe):
    """PointNet's maximum over the points that are there."""
    shapes = {"a": ((3, 32), 3**-0.5), "b": ((32, 16), 0.25)}

    def apply(p, x, mask):
        h = jnp.where(mask[..., None], relu(x @ p["a"]) @ p["b"], -jnp.inf)
        best = h.max(1)
        return jnp.where(mask.any(1)[:, None], best, 0.0) if safe else best

    return functional(shapes, apply)


def energy(dtype):
    """A sum of many squares, in the dtype of what is squared or in a wider one."""
    shapes = {"a": ((16, 32), 0.35), "b": ((32, 512), 0.18)}

    def apply(p, x):
        h = relu(x @ p["a"]).astype(jnp.float16) @ p["b"].astype(jnp.float16)
        h = h.astype(dtype)
        return lax.reduce(h * h, dtype(0), lax.add, (1, 2))

    return functional(shapes, apply)


def read_out(decay):
    """A diagonal state space whose every step is returned."""
    shapes = {"a": ((16,), 0.0), "B": ((8, 16), 0.35), "C": ((16, 4), 0.25)}

    def apply(p, x):
        def step(h, v):
            h = (decay + p["a"]) * h + v @ p["B"]
            return h, h

        _, hs = lax.scan(step, jnp.zeros((len(x), 16)), x.swapaxes(0, 1))
        return hs @ p["C"]

    return functional(shapes, apply)


def attention(divisor, dim=16):
    shapes = {n: ((16, dim), 0.25) for n in ("q", "k")} | {"v": ((16, 16), 0.25)}

    def apply(p, x):
        scores = (x @ p["q"]) @ (x @ p["k"]).swapaxes(-1, -2) / divisor
        return x + jax.nn.softmax(scores) @ (x @ p["v"])

    return functional(shapes, apply)


def pairs(temperature):
    """Two views of samples, each to be found by its cosine with the other."""
    shapes = {"a": ((16, 32), 0.35), "b": ((32, 16), 0.25)}

    def apply(p, x, y):
        x, y = (relu(v @ p["a"]) @ p["b"] for v in (x, y))
        x, y = (v / jnp.sqrt((v**2).sum(-1, keepdims=True) + 1e-8) for v in (x, y))
        return x @ y.T / temperature

    return functional(shapes, apply)


def found(odds):
    return -jnp.diag(jax.nn.log_softmax(odds)).mean()


def policy(factor):
    """Odds of actions, from logits of another scale."""
    shapes = {"a": ((16, 32), 0.35), "b": ((32, 5), 0.18)}

    def apply(p, x):
        return jax.nn.softmax(factor * (relu(x @ p["a"]) @ p["b"]))

    return functional(shapes, apply)


def gates(bias):
    """Each layer lets through what a gate of its own does."""

    def body(m, x):
        for _ in range(2):
            gate = nn.sigmoid(D(32, bias_init=init.constant(bias))(x))
            x = D(32)(x) * gate
        return D(5)(x)

    return body


def shifted(bias):
    def body(m, x):
        x = nn.LayerNorm()(D(32, bias_init=bias)(x))
        return D(5)(relu(D(32)(x)))

    return body


def bilinear(divisor):
    """Pairs of positions, by products of what two layers make of them."""
    shapes = {"a": ((16, 256), 0.25), "b": ((16, 256), 0.25), "c": ((12, 5), 0.29)}

    def apply(p, x):
        pairs = (x @ p["a"]) @ (x @ p["b"]).swapaxes(-1, -2) / divisor
        return jnp.tanh(pairs / 16) @ p["c"] + pairs @ p["c"]

    return functional(shapes, apply)


def neighbours(mean):
    """Graph convolutions with an adjacency that is fed in."""
    shapes = {"a": ((16, 32), 0.25), "b": ((32, 32), 0.25), "c": ((32, 5), 0.18)}

    def apply(p, x, edges):
        if mean:
            edges = edges / edges.sum(-1, keepdims=True)
        h = relu(edges @ (x @ p["a"]) + 1.0)
        return relu(edges @ (h @ p["b"])) @ p["c"]

    return functional(shapes, apply)


def smoothed(skip):
    """Graphs side by side, whose nodes become alike."""
    mean = 0.1 * jnp.eye(12) + 0.9 * jnp.full((12, 12), 1 / 12)
    shapes = {f"w{i}": ((16, 16), 0.35) for i in range(8)}

    def apply(p, x):
        for i in range(8):
            h = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3)
            h = relu((mean @ (h if skip else x)) @ p[f"w{i}"])
            x = x + h if skip else h
        return x

    return functional(shapes, apply)


def quantized(straight):
    """A code of whole numbers, with or without a way back for gradients."""
    shapes = {"a": ((16, 8), 0.5), "b": ((8, 16), 0.35)}

    def apply(p, x):
        z = x @ p["a"]
        code = jnp.round(z)
        code = z + lax.stop_gradient(code - z) if straight else code
        return code @ p["b"]

    return functional(shapes, apply)


FAULTY = [
    Faulty(
        "maximum over nothing",
        pooled(False),
        (POINTS, NONE_OF_ONE),
        "non-finite",
        "b",
        pooled(True),
    ),
    Faulty(
        "energy in float16",
        energy(jnp.float16),
        (drawn(4, 240, 16),),
        "non-finite",
        "b",
        energy(jnp.float32),
    ),
    Faulty(
        "decay 0.2, each step read out",
        read_out(0.2),
        (LONG,),
        "time-vanishing",
        "a",
        read_out(0.95),
    ),
    Faulty(
        "scores / 0.01", attention(0.01), (SEQ,), "saturated", "q|k", attention(4.0)
    ),
    Faulty(
        "scores of 512 terms",
        attention(1.0, 512),
        (SEQ,),
        "saturated",
        "q|k",
        attention(math.sqrt(512), 512),
    ),
    Faulty(
        "scores of large signals",
        attention(4.0),
        (12 * SEQ,),
        "saturated",
        "q|k",
        attention(4.0),
        (SEQ,),
    ),
    Faulty("odds of 30 z", policy(30.0), (X,), "saturated", "b", policy(1.0)),
    Faulty(
        "temperature of 1e-3",
        pairs(1e-3),
        (X, drawn(32, 16, key=9)),
        "loss-at-init",
        "b",
        pairs(0.1),
        loss=found,
        cured_loss=found,
    ),
    Faulty("gates of bias -10", gates(-10.0), (X,), "saturated", "Dense_0", gates(0.0)),
    Faulty(
        "biases of 3000",
        shifted(init.normal(3000.0)),
        (X,),
        "exploding",
        "Dense_0",
        shifted(init.zeros),
    ),
    Faulty(
        "products of 256 terms", bilinear(1.0), (SEQ,), "exploding", "c", bilinear(16.0)
    ),
    Faulty(
        "sum over an adjacency",
        neighbours(False),
        (drawn(32, 16), jnp.ones((32, 32))),
        "exploding",
        "b|c",
        neighbours(True),
    ),
    Faulty(
        "graphs that are smoothed",
        smoothed(False),
        (SEQ,),
        "rank-collapsed",
        "w",
        smoothed(True),
    ),
    Faulty(
        "rounded, no way back",
        quantized(False),
        (X,),
        "vanishing",
        "a",
        quantized(True),
    ),
    Faulty(
        "one column of 1e5",
        lambda m, x: D(5)(relu(D(32)(x))),
        (X.at[:, 2].mul(1e5),),
        "input",
        "Dense_1",
        lambda m, x: D(5)(relu(D(32)(x))),
        (X,),
    ),
    Faulty(
        "zeros fed in",
        lambda m, x: D(5)(relu(D(32)(x))),
        (jnp.zeros((32, 16)),),
        "input",
        "Dense_1",
        lambda m, x: D(5)(relu(D(32)(x))),
        (X,),
    ),
]


def fixed_point(m, x):
    """Deep equilibrium: each iteration forgets where the last one was."""
    u = D(16)(x)
    w = m.param("w", lambda key: 0.1 * jax.random.normal(key, (16, 16)))
    z, _ = lax.scan(lambda z, _: (jnp.tanh(z @ w + u), None), 0 * u, None, 16)
    return D(3)(z)


def actions(m, x, allowed):
    """Logits of what is not allowed are -inf, up to the output."""
    return jnp.where(allowed, D(5)(relu(D(32)(x))), -jnp.inf)


def field(m, x):
    """Conditional random field, with transitions that cannot be."""
    scores = D(5)(relu(D(16)(x)))
    moves = m.param("moves", init.normal(0.1), (5, 5))
    moves = moves + jnp.zeros((5, 5)).at[:, 0].set(-1e4)

    def step(a, s):
        return jax.nn.logsumexp(a[..., None] + moves, 1) + s, None

    a, _ = lax.scan(step, scores[:, 0], scores[:, 1:].swapaxes(0, 1))
    return jax.nn.logsumexp(a, -1)


def reservoir(m, x):
    """An echo state network, of which the readout alone is trained."""
    w = lax.stop_gradient(
        m.param("w", lambda key: 0.2 * jax.random.normal(key, (24, 24)))
    )
    u = lax.stop_gradient(D(24, name="fed")(x)).swapaxes(0, 1)

    def step(h, v):
        h = 0.7 * h + 0.3 * jnp.tanh(h @ w + v)
        return h, h

    return D(3)(lax.scan(step, jnp.zeros_like(u[0]), u)[1])


def margins(m, x):
    """Cosines with the classes' directions, times 30, as in ArcFace."""
    e, w = D(32)(relu(D(32)(x))), m.param("w", init.normal(0.01), (32, 5))
    e = e / jnp.sqrt((e**2).sum(-1, keepdims=True) + 1e-8)
    return 30 * e @ (w / jnp.sqrt((w**2).sum(0) + 1e-8))


def splines(m, x):
    """Kolmogorov and Arnold's: sums of learned functions of one variable."""
    for i, width in enumerate((16, 1)):
        bumps = jnp.exp(-(((x[..., None] - jnp.linspace(-2, 2, 8)) / 0.5) ** 2))
        kernel = m.param(f"c{i}", init.normal(0.1), (x.shape[-1], 8, width))
        x = jnp.einsum("bik,iko->bo", bumps, kernel) + D(width)(nn.silu(x))
    return x


def spectral_operator(m, x):
    """Fourier neural operator: a few frequencies are mixed."""
    x = D(8)(x)
    for i in range(2):
        f = jnp.fft.rfft(x, axis=1)
        kernel = m.param(f"k{i}", init.uniform(1 / 8), (2, 4, 8, 8))
        mixed = jnp.einsum("bki,kio->bko", f[:, :4], kernel[0] + 1j * kernel[1])
        low = jnp.fft.irfft(jnp.zeros_like(f).at[:, :4].set(mixed), n=24, axis=1)
        x = nn.gelu(low + D(8)(x))
    return D(1)(x)


def words(m, centre, around):
    """word2vec: small centres, contexts that start at zero."""
    small = init.uniform(1 / 16)
    a = nn.Embed(50, 16, embedding_init=small)(centre)
    b = nn.Embed(50, 16, embedding_init=init.zeros)(around)
    return jnp.einsum("bd,bkd->bk", a, b)


def codes(m, x):
    """VQ-VAE with a codebook that averages train, and the codes that it used."""
    z = D(8)(relu(D(32)(x)))
    book = m.param("codebook", init.normal(1.0), (16, 8))
    index = jnp.argmin(((z[:, None] - book) ** 2).sum(-1), axis=-1)
    used = jax.nn.one_hot(index, 16).mean(0)
    z = z + lax.stop_gradient(book[index] - z)
    return D(16)(relu(D(32)(z))), jnp.exp(-(used * jnp.log(used + 1e-9)).sum())


HEALTHY = [
    Healthy("codes and their perplexity", codes, (X,)),
    Healthy("deep equilibrium", fixed_point, (X,)),
    Healthy("forbidden actions of -inf", actions, (X, CHOICES)),
    Healthy("maximum over some points", pooled(False), (POINTS, SOME)),
    Healthy("random field", field, (SEQ,)),
    Healthy("echo state", reservoir, (LONG,)),
    Healthy("cosines times 30", margins, (X,)),
    Healthy("splines", splines, (drawn(32, 6),)),
    Healthy("Fourier operator", spectral_operator, (drawn(4, 24, 2),)),
    Healthy(
        "word2vec",
        words,
        (
            jax.random.randint(jax.random.key(1), (32,), 0, 50),
            jax.random.randint(jax.random.key(2), (32, 5), 0, 50),
        ),
    ),
    Healthy("decays read out", read_out(0.9), (LONG,)),
]
