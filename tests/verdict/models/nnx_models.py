"""nnx models, each with an argument that breaks it."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn import initializers as init

from tests.verdict.models.case import (
    IMG,
    LONG,
    PIXELS,
    SEQ,
    Faulty,
    Healthy,
    X,
    scaled,
)

he, lecun, zeros = init.he_normal(), init.lecun_normal(), init.zeros


def mlp(depth=3, width=32, kernel=he, bias=zeros, act=nnx.relu, last=lecun, out=5):
    class Mlp(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            sizes = [16] + [width] * depth
            self.layers = nnx.List(
                nnx.Linear(a, b, kernel_init=kernel, bias_init=bias, rngs=rngs)
                for a, b in itertools.pairwise(sizes)
            )
            self.head = nnx.Linear(width, out, kernel_init=last, rngs=rngs)

        def __call__(self, x):
            for layer in self.layers:
                x = act(layer(x))
            return self.head(x)

    return Mlp


def residual(blocks=4, at=None, end=lecun, norm=True):
    class Block(nnx.Module):
        def __init__(self, kernel, rngs):
            self.norm = nnx.LayerNorm(32, rngs=rngs) if norm else None
            self.up = nnx.Linear(32, 64, kernel_init=he, rngs=rngs)
            self.down = nnx.Linear(64, 32, kernel_init=kernel, rngs=rngs)

        def __call__(self, x):
            h = x if self.norm is None else self.norm(x)
            return x + self.down(nnx.relu(self.up(h)))

    class Residual(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.stem = nnx.Linear(16, 32, rngs=rngs)
            self.blocks = nnx.List(
                Block((at or {}).get(i, end), rngs) for i in range(blocks)
            )
            self.head = nnx.Linear(32, 5, rngs=rngs)

        def __call__(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    return Residual


def attention(kernel=lecun, blocks=2):
    class Attention(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.norms = nnx.List(nnx.LayerNorm(16, rngs=rngs) for _ in range(blocks))
            self.mixers = nnx.List(
                nnx.MultiHeadAttention(
                    2, 16, kernel_init=kernel, rngs=rngs, decode=False
                )
                for _ in range(blocks)
            )
            self.head = nnx.Linear(16, 5, rngs=rngs)

        def __call__(self, x):
            for norm, mixer in zip(self.norms, self.mixers, strict=True):
                x = x + mixer(norm(x))
            return self.head(x.mean(1))

    return Attention


def cnn(norm=False, kernel=he, depth=2):
    class Cnn(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.convs = nnx.List(
                nnx.Conv(3 if i == 0 else 16, 16, (3, 3), kernel_init=kernel, rngs=rngs)
                for i in range(depth)
            )
            self.norms = nnx.List(
                nnx.BatchNorm(16, rngs=rngs) for _ in range(depth if norm else 0)
            )
            self.head = nnx.Linear(16, 5, rngs=rngs)

        def __call__(self, x):
            for i, conv in enumerate(self.convs):
                x = conv(x)
                x = nnx.relu(self.norms[i](x) if norm else x)
            return self.head(x.mean((1, 2)))

    return Cnn


def recurrent(cell):
    class Recurrent(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.rnn = nnx.RNN(cell(rngs))
            self.head = nnx.Linear(16, 5, rngs=rngs)

        def __call__(self, x):
            return self.head(self.rnn(x)[:, -1])

    return Recurrent


def lstm(kernel=lecun, recurrent_kernel=None):
    recurrent_kernel = recurrent_kernel or init.orthogonal()
    return recurrent(
        lambda rngs: nnx.LSTMCell(
            8,
            16,
            kernel_init=kernel,
            recurrent_kernel_init=recurrent_kernel,
            rngs=rngs,
        )
    )


class Batch(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.a, self.b = (nnx.Linear(n, 32, rngs=rngs) for n in (16, 32))
        self.norm_a, self.norm_b = (nnx.BatchNorm(32, rngs=rngs) for _ in range(2))
        self.head = nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm_a(self.a(x)))
        return self.head(nnx.relu(self.norm_b(self.b(x))))


def heads(used):
    class Heads(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.body = nnx.Linear(16, 32, rngs=rngs)
            self.policy = nnx.Linear(32, 4, rngs=rngs)
            self.value = nnx.Linear(32, 1, rngs=rngs)

        def __call__(self, x):
            h = nnx.tanh(self.body(x))
            value = self.value(h)
            return (self.policy(h), value) if used else self.policy(h)

    return Heads


class Mixer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        def block():
            return nnx.List(
                [
                    nnx.LayerNorm(16, rngs=rngs),
                    nnx.Linear(12, 24, rngs=rngs),
                    nnx.Linear(24, 12, rngs=rngs),
                    nnx.LayerNorm(16, rngs=rngs),
                    nnx.Linear(16, 32, rngs=rngs),
                    nnx.Linear(32, 16, rngs=rngs),
                ]
            )

        self.blocks = nnx.List(block() for _ in range(3))
        self.head = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        for n1, t1, t2, n2, c1, c2 in self.blocks:
            h = n1(x).swapaxes(1, 2)
            x = x + t2(nnx.gelu(t1(h))).swapaxes(1, 2)
            x = x + c2(nnx.gelu(c1(n2(x))))
        return self.head(x.mean(1))


class SqueezeExcite(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(3, 16, (3, 3), kernel_init=he, rngs=rngs)
        self.squeeze = nnx.Linear(16, 4, kernel_init=he, rngs=rngs)
        self.excite = nnx.Linear(4, 16, rngs=rngs)
        self.conv = nnx.Conv(16, 16, (3, 3), rngs=rngs)
        self.head = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        gate = nnx.sigmoid(self.excite(nnx.relu(self.squeeze(x.mean((1, 2))))))
        x = x + self.conv(x) * gate[:, None, None]
        return self.head(nnx.relu(x).mean((1, 2)))


class Generator(nnx.Module):
    """DCGAN's: kernels of 0.02 and batch norm."""

    norm = True

    def __init__(self, rngs: nnx.Rngs):
        kernel, norm = init.normal(0.02), self.norm
        self.start = nnx.Linear(16, 4 * 4 * 16, kernel_init=kernel, rngs=rngs)
        self.ups = nnx.List(
            nnx.ConvTranspose(
                16, c, (4, 4), (2, 2), kernel_init=kernel, use_bias=False, rngs=rngs
            )
            for c in (16, 16, 3)
        )
        self.norms = nnx.List(
            nnx.BatchNorm(16, rngs=rngs) for _ in range(3 if norm else 0)
        )

    def __call__(self, x):
        x = self.start(x).reshape(-1, 4, 4, 16)
        for i, up in enumerate(self.ups):
            if self.norms:
                x = self.norms[i](x)
            x = up(nnx.relu(x))
        return jnp.tanh(x)


class Unnormalized(Generator):
    norm = False


FAULTY = [
    Faulty(
        "nnx: LeCun under ReLU",
        mlp(24, kernel=lecun),
        (X,),
        "vanishing",
        "layers",
        mlp(12, 64),
    ),
    Faulty(
        "nnx: one branch x12",
        residual(4, at={2: scaled(lecun, 12)}),
        (X,),
        "exploding",
        "blocks/2/down|blocks/2+",
        residual(),
    ),
    Faulty(
        "nnx: attention kernels x10",
        attention(scaled(lecun, 10)),
        (SEQ,),
        "saturated",
        "mixers/0/query|mixers/0/key",
        attention(),
    ),
    Faulty(
        "nnx: bias -6",
        mlp(bias=init.constant(-6.0)),
        (X,),
        "dead",
        "layers/0",
        mlp(),
    ),
    Faulty(
        "nnx: zero convolutions",
        cnn(kernel=zeros),
        (IMG,),
        "trapped",
        "convs",
        cnn(),
    ),
    Faulty(
        "nnx: LSTM of N(0, 2)",
        lstm(init.normal(2.0), init.normal(2.0)),
        (LONG,),
        "saturated",
        "rnn",
        lstm(),
    ),
    Faulty("nnx: pixels", cnn(), (PIXELS,), "input", "convs/0", cnn(), (IMG,)),
    Faulty(
        "nnx: batch of 2",
        Batch,
        (X[:2],),
        "small-batch-norm",
        "norm_a",
        Batch,
        (X,),
    ),
    Faulty(
        "nnx: kernels of ones",
        mlp(2, kernel=init.constant(0.2), act=nnx.tanh),
        (X,),
        "symmetric",
        "layers/0",
        mlp(2, kernel=lecun, act=nnx.tanh),
    ),
    Faulty("nnx: value unused", heads(False), (X,), "unreached", "value", heads(True)),
    Faulty(
        "nnx: head of N(0, 1)",
        mlp(2, 64, last=init.normal(1.5), out=10),
        (X,),
        "loss-at-init",
        "head",
        mlp(2, 64, out=10),
    ),
    Faulty(
        "nnx: GAN without norms",
        Unnormalized,
        (X[:8],),
        "vanishing",
        "start|ups",
        Generator,
    ),
    Faulty(
        "nnx: 30 residual blocks without norms",
        residual(16, norm=False),
        (X,),
        "exploding",
        "blocks",
        residual(16),
    ),
]

HEALTHY = [
    Healthy("nnx: MLP-Mixer", Mixer, (SEQ,)),
    Healthy("nnx: squeeze and excite", SqueezeExcite, (IMG,)),
    Healthy("nnx: convolutions, norms", cnn(norm=True), (IMG,)),
    Healthy("nnx: pixels, norms", cnn(norm=True), (PIXELS,)),
    Healthy(
        "nnx: GRU",
        recurrent(lambda rngs: nnx.GRUCell(8, 16, rngs=rngs)),
        (LONG,),
    ),
    Healthy(
        "nnx: simple cell",
        recurrent(lambda rngs: nnx.SimpleCell(8, 16, rngs=rngs)),
        (LONG,),
    ),
    Healthy("nnx: one hidden layer", mlp(1), (X,)),
    Healthy("nnx: leaky", mlp(6, act=lambda x: jax.nn.leaky_relu(x, 0.2)), (X,)),
    Healthy("nnx: zero ends", residual(end=zeros, norm=False), (X,)),
]
