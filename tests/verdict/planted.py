"""Small models with one planted fault each, their cured twins, and healthy ones."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxinit

D, relu, init = nn.Dense, nn.relu, nn.initializers
he, lecun, zeros = init.he_normal(), init.lecun_normal(), init.zeros


class Net(nn.Module):
    """A linen module whose body is a function of the module and its input."""

    body: Callable[..., Any]

    @nn.compact
    def __call__(self, x):
        return self.body(self, x)


class Planted(NamedTuple):
    """A model and the right answer: a kind of finding, and a part of its row's name."""

    name: str
    body: Callable[..., Any]
    kind: str
    place: str
    cured: Callable[..., Any] | None
    x: Any
    cured_x: Any = None
    loss: Any = None


def drawn(*shape):
    return jax.random.normal(jax.random.key(7), shape)


X, SEQ, IMG = drawn(32, 16), drawn(8, 12, 16), drawn(8, 8, 8, 3)
LONG = drawn(8, 24, 8)
TOKENS = jax.random.randint(jax.random.key(1), (8, 12), 0, 64)


def mlp(depth=4, width=32, kernel=he, act=relu, out=5, last=lecun, bias=zeros, at=None):
    at = at or {}

    def body(m, x):
        for i in range(depth):
            x = act(D(width, kernel_init=at.get(i, kernel), bias_init=bias)(x))
        return D(out, kernel_init=at.get(depth, last))(x)

    return body


def scaled(init, factor):
    return lambda key, shape, dtype=jnp.float32: factor * init(key, shape, dtype)


def residual(blocks=4, gate=None, end=lecun, norm=True, width=32, scale=1.0):
    def body(m, x):
        x = D(width)(x)
        for i in range(blocks):
            h = nn.LayerNorm()(x) if norm else x
            h = D(width, kernel_init=end)(relu(D(width, kernel_init=he)(h))) * scale
            if gate is not None:
                h = h * m.param(f"gate_{i}", gate, (1,))
            x = x + h
        return D(5)(x)

    return body


def attend(x, dim=16, divide=True, kernel=lecun, heads=True, mask=None):
    q, k, v = (D(dim, kernel_init=kernel, use_bias=False)(x) for _ in range(3))
    s = q @ k.swapaxes(-1, -2) / (dim**0.5 if divide else 1.0)
    if mask is not None:
        s = s + mask
    return D(x.shape[-1])(nn.softmax(s) @ v)


def transformer(blocks=3, pre=True, skip=True, **options):
    def body(m, x):
        for _ in range(blocks):
            if pre:
                h = attend(nn.LayerNorm()(x), **options)
                x = x + h if skip else h
                h = D(16)(nn.gelu(D(32)(nn.LayerNorm()(x))))
                x = x + h if skip else h
            else:
                x = nn.LayerNorm()(x + attend(x, **options) if skip else attend(x))
        return D(5)(x.mean(1))

    return body


def no_skips(m, x):
    for _ in range(8):
        x = nn.LayerNorm()(attend(x))
    return D(5)(x)


def with_skips(m, x):
    for _ in range(8):
        x = x + attend(nn.LayerNorm()(x))
    return D(5)(x)


def rnn(cell, last=True):
    def body(m, x):
        y = nn.RNN(cell())(x)
        return D(5)(y[:, -1] if last else y)

    return body


ORTHOGONAL = init.orthogonal()


def lstm(forget=1.0, kernel=lecun, recurrent=ORTHOGONAL):
    def bias(key, shape, dtype=jnp.float32):
        return jnp.full(shape, forget, dtype)

    class Cell(nn.recurrent.RNNCellBase):
        features: int = 16

        @nn.compact
        def __call__(self, carry, x):
            c, h = carry

            def gate(name, b=zeros):
                return D(16, kernel_init=kernel, bias_init=b, name="i" + name)(x) + D(
                    16, use_bias=False, kernel_init=recurrent, name="h" + name
                )(h)

            c = nn.sigmoid(gate("f", bias)) * c
            c = c + nn.sigmoid(gate("i")) * jnp.tanh(gate("g"))
            h = nn.sigmoid(gate("o")) * jnp.tanh(c)
            return (c, h), h

        def initialize_carry(self, rng, shape):
            return (jnp.zeros((*shape[:-1], 16)),) * 2

        @property
        def num_feature_axes(self):
            return 1

    return rnn(lambda: Cell())


def simple(radius, act=jnp.tanh):
    return rnn(
        lambda: nn.SimpleCell(
            16, activation_fn=act, recurrent_kernel_init=init.orthogonal(radius)
        )
    )


def conv(depth=3, kernel=he, norm=False, act=relu):
    def body(m, x):
        for _ in range(depth):
            x = nn.Conv(16, (3, 3), kernel_init=kernel)(x)
            x = nn.BatchNorm(use_running_average=False)(x) if norm else x
            x = act(x)
        return D(5)(x.mean((1, 2)))

    return body


def unit_norm(safe):
    def body(m, x):
        h = D(32, use_bias=False)(x)
        if safe:
            h = h / jnp.sqrt((h**2).sum(-1, keepdims=True) + 1e-6)
        else:
            h = h / jnp.maximum(jnp.linalg.norm(h, axis=-1, keepdims=True), 1e-6)
        return D(5)(relu(D(32)(h)))

    return body


def extra(used):
    def body(m, x):
        h = relu(D(32)(x))
        a, b = D(5, name="head")(h), D(3, name="aux")(h)
        return (a, b) if used else a

    return body


def batch_norm(m, x):
    for _ in range(3):
        x = relu(nn.BatchNorm(use_running_average=False)(D(32)(x)))
    return D(5)(x)


def tied(std):
    def body(m, x):
        table = nn.Embed(64, 64, embedding_init=init.normal(std))
        h = nn.LayerNorm()(table(x))
        for _ in range(2):
            h = h + D(64)(nn.gelu(D(64)(nn.LayerNorm()(h))))
        return table.attend(nn.LayerNorm()(h))

    return body


def stream(dtype, size):
    def body(m, x):
        x = (D(32)(x) * size).astype(dtype)
        for _ in range(3):
            h = nn.LayerNorm(dtype=dtype)(x)
            x = x + D(32, dtype=dtype)(relu(D(32, dtype=dtype)(h)))
        return D(5)(nn.LayerNorm()(x))

    return body


def between(factor):
    def body(m, x):
        return D(5)(relu(factor * D(32)(x)))

    return body


def frozen(m, x):
    h = lax.stop_gradient(relu(D(32)(relu(D(32)(x)))))
    return D(5)(h)


def two_zeros(one):
    def body(m, x):
        x = relu(D(32, kernel_init=he)(x))
        h = D(32, kernel_init=init.ones if one is None else one)(relu(D(32)(x)))
        return D(5)(x + h * m.param("gate", zeros, (1,)))

    return body


def zero_chain(first):
    def body(m, x):
        x = relu(D(32, kernel_init=first)(x))
        return D(5, kernel_init=zeros)(x)

    return body


def zero_norm(scale):
    def body(m, x):
        for i in range(4):
            x = D(32)(x)
            x = nn.LayerNorm(scale_init=scale if i == 2 else init.ones)(x)
            x = relu(x)
        return D(5)(x)

    return body


def byol(m, x):
    online = D(8, name="online")(relu(D(32, name="online_in")(x)))
    target = D(8, name="target")(relu(D(32, name="target_in")(x)))
    return jnp.square(online - lax.stop_gradient(target)).sum(-1)


def vq(m, x):
    z = D(8)(relu(D(32)(x)))
    book = m.param("codebook", init.normal(1.0), (16, 8))
    index = jnp.argmin(((z[:, None] - book) ** 2).sum(-1), axis=-1)
    q = z + lax.stop_gradient(book[index] - z)
    return D(16)(relu(D(32)(q)))


def lora(m, x):
    for i in range(2):
        a = m.param(f"a{i}", init.normal(0.1), (x.shape[-1], 4))
        b = m.param(f"b{i}", zeros, (4, 32))
        x = relu(D(32, kernel_init=he)(x) + x @ a @ b)
    return D(5)(x)


def adaln(m, x):
    cond = nn.silu(D(16)(x))
    for _ in range(2):
        shift, scale, gate = jnp.split(D(48, kernel_init=zeros)(cond), 3, -1)
        h = nn.LayerNorm(use_scale=False, use_bias=False)(x) * (1 + scale) + shift
        x = x + gate * D(16)(nn.gelu(D(32)(h)))
    return D(16, kernel_init=zeros)(x)


def controlnet(m, x):
    h = relu(D(16, kernel_init=he)(x))
    c = D(16, kernel_init=zeros)(relu(D(16)(x + D(16, kernel_init=zeros)(x))))
    return D(5)(h + c)


def unet(m, x):
    a = relu(nn.Conv(8, (3, 3), kernel_init=he)(x))
    b = relu(nn.Conv(16, (3, 3), (2, 2), kernel_init=he)(a))
    up = nn.ConvTranspose(8, (2, 2), (2, 2))(b)
    return nn.Conv(3, (3, 3))(jnp.concatenate([a, up], -1))


def vit(m, x):
    x = nn.Conv(16, (2, 2), (2, 2))(x).reshape(8, 16, 16)
    x = x + m.param("pos", init.normal(0.02), (1, 16, 16))
    return transformer(2)(m, x)


def glu(m, x):
    for _ in range(2):
        x = x + D(16)(nn.sigmoid(D(32)(x)) * D(32)(x))
    return D(5)(x)


def graph(m, x):
    adjacency = jnp.eye(32) * 0.5 + jnp.ones((32, 32)) * 0.5 / 32
    for _ in range(3):
        x = relu(adjacency @ D(32, kernel_init=he)(x))
    return D(5)(x)


def flow_net(m, x):
    for _ in range(2):
        a, b = jnp.split(x, 2, -1)
        s, t = jnp.split(D(16, kernel_init=zeros)(relu(D(32)(a))), 2, -1)
        x = jnp.concatenate([b * jnp.exp(s) + t, a], -1)
    return x


def vae(m, x):
    mean, log = jnp.split(D(16)(relu(D(32)(x))), 2, -1)
    return D(16)(relu(D(32)(mean + jnp.exp(0.5 * log))))


def ssm(m, x):
    a = nn.sigmoid(m.param("decay", init.constant(3.0), (16,)))
    u = D(16)(x)

    def step(h, v):
        h = a * h + (1 - a) * v
        return h, h

    _, y = lax.scan(step, jnp.zeros_like(u[:, 0]), u.swapaxes(0, 1))
    return D(5)(y.swapaxes(0, 1))


def normalized_inside(m, x):
    return mlp()(m, (x - x.mean()) / x.std())


def masked(m, x):
    mask = jnp.where(jnp.tril(jnp.ones((12, 12))) > 0, 0.0, -1e9)
    return transformer(2, mask=mask)(m, x)


def normal(std):
    return init.normal(std)


tanh = jnp.tanh

FAULTY = [
    Planted(
        "constant kernels",
        mlp(3, kernel=init.constant(0.1), act=tanh),
        "symmetric",
        "Dense_0",
        mlp(3, kernel=lecun, act=tanh),
        X,
    ),
    Planted(
        "constant, relu",
        mlp(2, kernel=init.constant(0.05)),
        "symmetric",
        "Dense_0",
        mlp(2),
        X,
    ),
    Planted(
        "gate and end zero",
        residual(2, gate=zeros, end=zeros),
        "trapped",
        "",
        residual(2, gate=zeros),
        X,
    ),
    Planted(
        "two zero layers", zero_chain(zeros), "trapped", "Dense_", zero_chain(he), X
    ),
    Planted(
        "zero end, zero gate",
        two_zeros(zeros),
        "trapped",
        "Dense_1",
        two_zeros(lecun),
        X,
    ),
    Planted(
        "norm scale zero",
        zero_norm(zeros),
        "trapped",
        "LayerNorm_2",
        zero_norm(init.ones),
        X,
    ),
    Planted(
        "norm of a zero row",
        unit_norm(False),
        "non-finite",
        "Dense_0",
        unit_norm(True),
        X.at[0].set(0.0),
    ),
    Planted("head not returned", extra(False), "unreached", "aux", extra(True), X),
    Planted(
        "logits of std 60",
        transformer(2, kernel=scaled(lecun, 8)),
        "saturated",
        "Dense_0",
        transformer(2),
        SEQ,
    ),
    Planted(
        "no 1/sqrt(d)",
        transformer(1, dim=256, divide=False, kernel=lecun),
        "saturated",
        "Dense_0",
        transformer(1, dim=256),
        SEQ,
    ),
    Planted(
        "tanh with bias 4",
        mlp(4, kernel=lecun, act=tanh, bias=init.constant(4.0)),
        "saturated",
        "Dense_0",
        mlp(4, kernel=lecun, act=tanh),
        X,
    ),
    Planted(
        "tanh of N(0, 1)",
        mlp(3, kernel=normal(1.0), act=tanh),
        "saturated",
        "Dense_0",
        mlp(3, kernel=lecun, act=tanh),
        X,
    ),
    Planted(
        "LSTM of N(0, 1)",
        lstm(1.0, normal(2.0), normal(2.0)),
        "saturated",
        "",
        lstm(),
        LONG,
    ),
    Planted("attention without skips", no_skips, "rank-collapsed", "", with_skips, SEQ),
    Planted(
        "post-LN of 40 blocks",
        transformer(40, pre=False),
        "rank-collapsed",
        "",
        transformer(10),
        SEQ,
    ),
    Planted("forget bias -3", lstm(-3.0), "time-vanishing", "", lstm(1.0), LONG),
    Planted("radius 0.4", simple(0.4), "time-vanishing", "", simple(1.0), LONG),
    Planted(
        "relu of radius 2", simple(2.5, relu), "time-exploding", "", simple(1.0), LONG
    ),
    Planted(
        "tied table of std 1", tied(1.0), "loss-at-init", "Embed_0", tied(0.05), TOKENS
    ),
    Planted(
        "readout N(0, 1)",
        mlp(2, 64, last=normal(1.0), out=10),
        "loss-at-init",
        "Dense_2",
        mlp(2, 64, out=10),
        X,
    ),
    Planted(
        "one layer x4",
        mlp(6, at={3: scaled(he, 4.0)}),
        "exploding",
        "Dense_3",
        mlp(6),
        X,
    ),
    Planted(
        "one layer /8",
        mlp(6, at={3: scaled(he, 0.125)}),
        "vanishing",
        "Dense_3",
        mlp(6),
        X,
    ),
    Planted("300 times", between(300.0), "exploding", "Dense_0", between(1.0), X),
    Planted("mean 100", mlp(2), "input", "Dense_0", mlp(2), X + 100, X),
    Planted(
        "pixels",
        mlp(2, act=tanh, kernel=lecun),
        "input",
        "Dense_0",
        mlp(2, act=tanh, kernel=lecun),
        255 * jax.random.uniform(jax.random.key(0), (32, 16)),
        X,
    ),
    Planted("pixels, conv", conv(2), "input", "Conv_0", conv(2), 100 + 60 * IMG, IMG),
    Planted(
        "bf16 swallows",
        stream(jnp.bfloat16, 3e3),
        "dtype-range",
        "",
        stream(jnp.bfloat16, 1.0),
        X,
    ),
    Planted(
        "loss of 1e-30",
        mlp(2),
        "dtype-range",
        "",
        mlp(2),
        X,
        None,
        lambda y: 1e-30 * (y**2).mean(),
    ),
    Planted(
        "batch norm of 2",
        batch_norm,
        "small-batch-norm",
        "BatchNorm_0",
        batch_norm,
        X[:2],
        X,
    ),
    Planted("lecun, relu", mlp(20, kernel=lecun), "vanishing", "", mlp(20, 64), X),
    Planted(
        "twice he",
        mlp(12, 64, kernel=scaled(he, 2.0)),
        "exploding",
        "Dense_",
        mlp(12, 64),
        X,
    ),
    Planted(
        "residual without scale",
        residual(12, norm=False, scale=1.5),
        "exploding",
        "",
        residual(12),
        X,
    ),
    Planted("all dead", mlp(3, bias=init.constant(-5.0)), "dead", "Dense_0", mlp(3), X),
    Planted(
        "log of 0",
        lambda m, x: D(5)(jnp.log(relu(D(32)(x)))),
        "non-finite",
        "",
        lambda m, x: D(5)(jnp.log(relu(D(32)(x)) + 1e-6)),
        X,
    ),
    Planted(
        "wide stack of sigmoids",
        mlp(12, act=nn.sigmoid, kernel=lecun),
        "vanishing",
        "",
        mlp(12),
        X,
    ),
]

HEALTHY = {
    "mlp": (mlp(), X),
    "mlp, 12 layers": (mlp(12, 64), X),
    "two layers": (mlp(1), X),
    "selu": (mlp(8, 64, kernel=lecun, act=nn.selu), X),
    "gelu": (mlp(3, kernel=he, act=nn.gelu), X),
    "silu": (mlp(3, kernel=lecun, act=nn.silu), X),
    "tanh": (mlp(5, kernel=lecun, act=tanh), X),
    "PReLU": (lambda m, x: D(5)(nn.PReLU()(D(32)(nn.PReLU()(D(32)(x))))), X),
    "zero head": (mlp(3, last=zeros), X),
    "small head": (mlp(3, last=normal(0.01)), X),
    "logistic regression from zeros": (lambda m, x: D(5, kernel_init=zeros)(x), X),
    "linear": (lambda m, x: D(5)(x), X),
    "residual": (residual(), X),
    "residual, 16 blocks": (residual(16), X),
    "ReZero": (residual(gate=zeros, norm=False), X),
    "zero ends": (residual(end=zeros), X),
    "LayerScale": (residual(gate=init.constant(1e-4)), X),
    "LoRA": (lora, X),
    "adaLN-zero": (adaln, X),
    "ControlNet": (controlnet, X),
    "frozen backbone": (frozen, X),
    "BYOL": (byol, X),
    "VQ-VAE": (vq, X),
    "VAE": (vae, X),
    "GLU": (glu, X),
    "graph": (graph, X),
    "flow": (flow_net, X),
    "both heads": (extra(True), X),
    "batch norm": (batch_norm, X),
    "conv": (conv(), IMG),
    "conv, norm": (conv(norm=True), IMG),
    "pixels, conv, norm": (conv(norm=True), 100 + 60 * IMG),
    "normalized inside": (normalized_inside, 100 + 60 * X),
    "U-Net": (unet, IMG),
    "ViT": (vit, IMG),
    "pre-LN": (transformer(), SEQ),
    "post-LN": (transformer(4, pre=False), SEQ),
    "masked": (masked, SEQ),
    "tied": (tied(0.02), TOKENS),
    "LSTM": (rnn(lambda: nn.OptimizedLSTMCell(16)), LONG),
    "LSTM, all steps": (rnn(lambda: nn.OptimizedLSTMCell(16), last=False), LONG),
    "GRU": (rnn(lambda: nn.GRUCell(16)), LONG),
    "forget bias 1": (lstm(1.0), LONG),
    "forget bias 5": (lstm(5.0), LONG),
    "simple RNN": (simple(1.0), LONG),
    "SSM": (ssm, LONG),
    "[0, 1]": (mlp(2), jax.random.uniform(jax.random.key(0), (32, 16))),
    "bf16": (stream(jnp.bfloat16, 1.0), X),
    "float16": (stream(jnp.float16, 1.0), X),
    "unit norm": (unit_norm(True), X),
    "one output": (mlp(2, out=1), X),
    "wide": (mlp(2, 256), X),
}


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.a = nnx.Linear(16, 32, kernel_init=he, rngs=rngs)
        self.norm = nnx.LayerNorm(32, rngs=rngs)
        self.b = nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x):
        return self.b(nnx.relu(self.norm(self.a(x))))


def functional(key, x):
    a, b = jax.random.split(key)
    return {
        "w": jax.random.normal(a, (16, 32)) * 0.35,
        "v": jax.random.normal(b, (32, 5)) * 0.18,
    }


OTHERS = {
    "nnx": (Nnx, X),
    "functional": (
        jaxinit.Functional(functional, lambda p, x: relu(x @ p["w"]) @ p["v"]),
        X,
    ),
}


def analyze(body, x, loss=None, seeds=8):
    model = Net(body) if not isinstance(body, type | jaxinit.Functional) else body
    return jaxinit.analyze(model, x, seeds=seeds, loss=loss, progress=False)


def is_right(planted, report):
    """Whether the most severe finding has the right kind and place."""
    top = report.findings[0]
    return top.kind == planted.kind and planted.place in (top.row or "")
