"""Models in plain JAX: a dictionary of arrays and a function."""

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

import jaxinit
from tests.verdict.models.case import LONG, SEQ, Faulty, Healthy, X, drawn

normal, tanh = jax.random.normal, jnp.tanh


def keys(key):
    """An endless supply of keys."""
    number = 0
    while True:
        yield jax.random.fold_in(key, number)
        number += 1


def functional(shapes, apply):
    """Parameters from pairs of a shape and a deviation (0: zeros, None: ones)."""

    def init(key, *args):
        made = {}
        for (name, (shape, std)), k in zip(shapes.items(), keys(key), strict=False):
            ones = std is None
            made[name] = jnp.ones(shape) if ones else std * normal(k, shape)
        return made

    return jaxinit.Functional(init, apply)


def chain(sizes, std, act=jax.nn.relu):
    """Dense layers; ``std(fan_in, fan_out)`` of each kernel."""
    pairs = list(itertools.pairwise(sizes))
    shapes = {f"w{i}": ((a, b), std(a, b)) for i, (a, b) in enumerate(pairs)}

    def apply(p, x):
        for i in range(len(pairs)):
            x = x @ p[f"w{i}"]
            x = act(x) if i < len(pairs) - 1 else x
        return x

    return functional(shapes, apply)


def by_in(a, b):
    return math.sqrt(2 / a)


def by_out(a, b):
    return math.sqrt(2 / b)


def recurrent(radius, act=tanh, width=16):
    def init(key, x):
        a, b, c = jax.random.split(key, 3)
        q, _ = jnp.linalg.qr(normal(a, (width, width)))
        return {
            "hidden": radius * q,
            "input": normal(b, (8, width)) / math.sqrt(8),
            "head": normal(c, (width, 3)) / math.sqrt(width),
        }

    def apply(p, x):
        def step(h, v):
            h = act(h @ p["hidden"] + v @ p["input"])
            return h, None

        h, _ = lax.scan(step, jnp.zeros((len(x), width)), x.swapaxes(0, 1))
        return h @ p["head"]

    return jaxinit.Functional(init, apply)


def diagonal(decay):
    """A diagonal state space: h = a h + B x, y = C h."""

    def init(key, x):
        a, b = jax.random.split(key)
        return {
            "a": jnp.full((16,), decay),
            "B": normal(a, (8, 16)) / math.sqrt(8),
            "C": normal(b, (16, 4)) / 4,
        }

    def apply(p, x):
        def step(h, v):
            h = p["a"] * h + v @ p["B"]
            return h, h

        _, hs = lax.scan(step, jnp.zeros((len(x), 16)), x.swapaxes(0, 1))
        return hs[-1] @ p["C"]

    return jaxinit.Functional(init, apply)


def coupling(std, layers=4, bounded=False):
    """RealNVP: halves that scale and shift one another."""
    shapes = {}
    for i in range(layers):
        shapes |= {f"in{i}": ((8, 32), 0.35), f"s{i}": ((32, 8), std)}
        shapes |= {f"t{i}": ((32, 8), 0.02)}

    def apply(p, x):
        for i in range(layers):
            a, b = x[:, :8], x[:, 8:]
            h = jax.nn.relu(a @ p[f"in{i}"])
            s = h @ p[f"s{i}"]
            s = tanh(s) if bounded else s
            x = jnp.concatenate([b * jnp.exp(s) + h @ p[f"t{i}"], a], -1)
        return x

    return functional(shapes, apply)


EDGES = jax.random.randint(jax.random.key(3), (2, 512), 0, 32)


def graph(aggregate, layers=5, skip=False):
    shapes = {f"w{i}": ((16, 16), math.sqrt(2 / 16)) for i in range(layers)}
    degree = jax.ops.segment_sum(jnp.ones(512), EDGES[1], 32)[:, None]

    def apply(p, x):
        for i in range(layers):
            m = jax.ops.segment_sum(x[EDGES[0]], EDGES[1], 32)
            if aggregate == "mean":
                m = m / jnp.maximum(degree, 1)
            h = jax.nn.relu(m @ p[f"w{i}"])
            x = x + h if skip else h
        return x

    return functional(shapes, apply)


def siren(hidden, omega=30.0):
    shapes = {"w0": ((2, 64), 1 / 2 / math.sqrt(3))}
    shapes |= {f"w{i}": ((64, 64), hidden) for i in (1, 2, 3)}
    shapes["out"] = ((64, 1), math.sqrt(6 / 64) / 30 / math.sqrt(3) * 30)

    def apply(p, x):
        for i in range(4):
            x = jnp.sin(omega * (x @ p[f"w{i}"]))
        return x @ p["out"]

    return functional(shapes, apply)


def attend(mask):
    shapes = {k: ((16, 16), 0.25) for k in ("q", "k", "v", "o")}

    def apply(p, x):
        q, k, v = (x @ p[n] for n in "qkv")
        s = q @ k.swapaxes(-1, -2) / 4
        s = s if mask is None else jnp.where(mask, s, -jnp.inf)
        return x + jax.nn.softmax(s, -1) @ v @ p["o"]

    return functional(shapes, apply)


CAUSAL = jnp.tril(jnp.ones((12, 12), bool))


def cosine_head(eps):
    shapes = {"w": ((16, 32), 0.35), "c": ((32, 5), 0.18)}

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        return (h / (jnp.sqrt((h * h).sum(-1, keepdims=True) + eps))) @ p["c"]

    return functional(shapes, apply)


def homemade_norm(scale):
    shapes = {"w0": ((16, 32), 0.35), "g0": ((32,), scale), "b0": ((32,), 0.0)}
    shapes |= {"w1": ((32, 32), 0.25), "out": ((32, 5), 0.18)}

    def apply(p, x):
        h = x @ p["w0"]
        h = (h - h.mean(-1, keepdims=True)) / (h.std(-1, keepdims=True) + 1e-5)
        h = jax.nn.relu(h * p["g0"] + p["b0"])
        return jax.nn.relu(h @ p["w1"]) @ p["out"]

    return functional(shapes, apply)


def dense_net(growth=16):
    sizes = [16 + growth * i for i in range(5)]
    shapes = {f"w{i}": ((n, growth), math.sqrt(2 / n)) for i, n in enumerate(sizes)}
    shapes["out"] = ((16 + growth * 5, 5), 0.1)

    def apply(p, x):
        for i in range(5):
            x = jnp.concatenate([x, jax.nn.relu(x @ p[f"w{i}"])], -1)
        return x @ p["out"]

    return functional(shapes, apply)


def euler(step=0.1):
    """A neural differential equation: one field, many small steps."""
    shapes = {"a": ((16, 32), 0.25), "b": ((32, 16), 0.18)}

    def apply(p, x):
        def move(x, _):
            return x + step * tanh(x @ p["a"]) @ p["b"], None

        return lax.scan(move, x, None, length=10)[0]

    return functional(shapes, apply)


def deep_sets():
    shapes = {"phi": ((16, 32), 0.35), "rho": ((32, 32), 0.25), "out": ((32, 3), 0.18)}

    def apply(p, x):
        h = jax.nn.relu(x @ p["phi"]).mean(1)
        return jax.nn.relu(h @ p["rho"]) @ p["out"]

    return functional(shapes, apply)


WIDE_NARROW = (16, 128, 8, 128, 8, 128, 8, 5)

FAULTY = [
    Faulty(
        "fan of the other axis",
        chain(WIDE_NARROW, by_out),
        (X,),
        "exploding",
        "w1",
        chain(WIDE_NARROW, by_in),
    ),
    Faulty(
        "plain RNN of radius 0.3",
        recurrent(0.3),
        (LONG,),
        "time-vanishing",
        "hidden",
        recurrent(1.0),
    ),
    Faulty(
        "linear RNN of radius 1.6",
        recurrent(1.6, act=lambda x: x),
        (LONG,),
        "time-exploding",
        "hidden",
        recurrent(0.98, act=lambda x: x),
    ),
    Faulty(
        "state space of decay 0.2",
        diagonal(0.2),
        (LONG,),
        "time-vanishing",
        "a",
        diagonal(0.95),
    ),
    Faulty(
        "state space of decay 1.4",
        diagonal(1.4),
        (LONG,),
        "time-exploding",
        "a",
        diagonal(0.95),
    ),
    Faulty(
        "coupling with large scales",
        coupling(0.3, 8),
        (X,),
        "non-finite",
        "s",
        coupling(0.02),
    ),
    Faulty(
        "sum over 16 neighbours",
        graph("sum"),
        (drawn(32, 16),),
        "exploding",
        "w",
        graph("mean", 2, skip=True),
    ),
    Faulty(
        "sine of 30 z, LeCun's kernels",
        siren(1 / 8),
        (drawn(64, 2),),
        "exploding",
        "w",
        siren(math.sqrt(6 / 64) / 30 / math.sqrt(3)),
    ),
    Faulty(
        "a fully masked row",
        attend(CAUSAL.at[0].set(False)),
        (SEQ,),
        "non-finite",
        "",
        attend(CAUSAL),
    ),
    Faulty(
        "cosine with a zero vector",
        cosine_head(0.0),
        (X.at[3].set(0.0),),
        "non-finite",
        "w",
        cosine_head(1e-6),
    ),
    Faulty(
        "homemade norm of scale 0",
        homemade_norm(0.0),
        (X,),
        "trapped",
        "g0|w0",
        homemade_norm(None),
    ),
    Faulty(
        "std of a constant row",
        homemade_norm(None),
        (X.at[3].set(0.0),),
        "non-finite",
        "w0",
        cosine_head(1e-6),
    ),
]

HEALTHY = [
    Healthy("DenseNet", dense_net(), (X,)),
    Healthy("neural ODE", euler(), (X,)),
    Healthy("deep sets", deep_sets(), (SEQ,)),
    Healthy("bounded couplings", coupling(0.05, bounded=True), (X,)),
    Healthy("graph of means", graph("mean", 3), (drawn(32, 16),)),
    Healthy("causal attention", attend(CAUSAL), (SEQ,)),
    Healthy("full attention", attend(None), (SEQ,)),
    Healthy("homemade norm", homemade_norm(None), (X,)),
    Healthy("wide and narrow in turn", chain(WIDE_NARROW, by_in), (X,)),
    Healthy(
        "tanh from Xavier",
        chain((16, 32, 32, 32, 5), lambda a, b: math.sqrt(2 / (a + b)), tanh),
        (X,),
    ),
]
