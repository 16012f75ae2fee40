"""Small residual networks, with what each scheme needs at the ends of branches."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from jaxinit.schemes.initialize import prepare

WIDTH = 16
CLASSES = 10


def vectors(width=WIDTH):
    return jax.random.normal(jax.random.key(10), (4, width))


def images():
    return jax.random.normal(jax.random.key(11), (4, 6, 6, 3))


def assigned(model, scheme, *args, **kwargs):
    """What a scheme draws, by path: quick, as nothing else is drawn."""
    network, _ = prepare(model, args, kwargs, ())
    return {
        network.params[a.leaf].name: a.init(
            jax.random.key(a.leaf),
            network.params[a.leaf].shape,
            network.params[a.leaf].dtype,
        )
        for a in scheme.assign(network)
    }


class Headless(nn.Module):
    """A stem and one branch of one layer, whose sum is the output."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="stem")(x)
        return x + nn.Dense(WIDTH, name="only")(nn.relu(x))


class FixupBlock(nn.Module):
    """A block with Fixup's scalars, drawn here so that a test sees them set."""

    width: int = WIDTH
    weights: int = 2
    convolution: bool = False
    scalars: bool = True

    @nn.compact
    def __call__(self, x):
        def scalar(name, otherwise=0.0):
            if not self.scalars:
                return otherwise
            return self.param(name, nn.initializers.normal(1.0), ())

        y = x
        for i in range(self.weights):
            if i:
                y = nn.relu(y + scalar(f"after_{i}"))
            y = y + scalar(f"before_{i}")
            name = f"weight_{i}"
            if self.convolution:
                y = nn.Conv(self.width, (3, 3), use_bias=False, name=name)(y)
            else:
                y = nn.Dense(self.width, use_bias=False, name=name)(y)
        return nn.relu(x + y * scalar("multiplier", 1.0) + scalar("end"))


class FixupResNet(nn.Module):
    """A stem, blocks, a projection on a skip, and a head."""

    weights: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), name="stem")(x))
        for i in range(2):
            x = FixupBlock(8, self.weights, True, name=f"block_{i}")(x)
        y = nn.relu(nn.Conv(12, (3, 3), use_bias=False, name="down_0")(x))
        y = nn.Conv(12, (3, 3), use_bias=False, name="down_1")(y)
        x = nn.relu(nn.Conv(12, (1, 1), use_bias=False, name="projection")(x) + y)
        return nn.Dense(CLASSES, name="head")(x.mean((1, 2)))


def scanned(block, length):
    """Runs one block ``length`` times, each with weights of its own."""

    def run(x):
        x, _ = nn.scan(
            lambda block, x, _: (block(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=length,
        )(block, x, None)
        return x

    return run


class DeepFixup(nn.Module):
    """A stem, many blocks of dense layers, scanned over or not, and a head."""

    depth: int
    weights: int = 2
    scan: bool = True
    width: int = WIDTH
    scalars: bool = True

    @nn.compact
    def __call__(self, x):
        def block(name):
            settings = (self.width, self.weights, False, self.scalars)
            return FixupBlock(*settings, name=name)

        x = nn.relu(nn.Dense(self.width, name="stem")(x))
        if self.scan:
            x = scanned(block("blocks"), self.depth)(x)
        else:
            for i in range(self.depth):
                x = block(f"block_{i}")(x)
        return nn.Dense(CLASSES, name="head")(x)


class GainedBlock(nn.Module):
    """A pre-norm branch of two layers, times a gain of the given shape."""

    shape: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(2 * WIDTH, name="fc")(nn.LayerNorm(name="ln")(x))
        y = nn.Dense(WIDTH, name="proj")(nn.tanh(y))
        return x + self.param("alpha", nn.initializers.ones, self.shape) * y


class Gained(nn.Module):
    """Blocks whose branches end with a gain."""

    depth: int = 3
    shape: tuple[int, ...] = ()
    scan: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="stem")(x)
        if self.scan:
            x = scanned(GainedBlock(self.shape, name="blocks"), self.depth)(x)
        else:
            for i in range(self.depth):
                x = GainedBlock(self.shape, name=f"block_{i}")(x)
        return nn.Dense(CLASSES, name="head")(x)


class GainedNNX(nnx.Module):
    """The same in nnx, with a norm and a scalar at the end of each branch."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.stem = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(2)])
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.alphas = nnx.List([nnx.Param(jnp.ones(())) for _ in range(2)])
        self.head = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        for layer, norm, alpha in zip(
            self.layers, self.norms, self.alphas, strict=True
        ):
            x = x + alpha[...] * norm(layer(nnx.tanh(x)))
        return self.head(x)


class Attending(nn.Module):
    """Blocks of attention and MLP, each branch with a gain for each channel."""

    depth: int
    fused: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="embed")(x)
        x = scanned(AttendingBlock(self.fused, name="blocks"), self.depth)(x)
        return nn.Dense(CLASSES, name="head")(x)


class AttendingBlock(nn.Module):
    fused: bool = False

    @nn.compact
    def __call__(self, x):
        def gain(name):
            return self.param(name, nn.initializers.ones, (WIDTH,))

        h = nn.LayerNorm(name="ln_1")(x)
        if self.fused:
            q, k, v = jnp.split(nn.Dense(3 * WIDTH, name="qkv")(h), 3, axis=-1)
        else:
            q, k, v = (nn.Dense(WIDTH, name=name)(h) for name in "qkv")
        weights = nn.softmax(q @ jnp.swapaxes(k, -1, -2) / WIDTH**0.5)
        x = x + gain("gain_1") * nn.Dense(WIDTH, name="out")(weights @ v)
        h = nn.relu(nn.Dense(2 * WIDTH, name="fc")(nn.LayerNorm(name="ln_2")(x)))
        return x + gain("gain_2") * nn.Dense(WIDTH, name="proj")(h)


class SideBySide(nn.Module):
    """One branch that adds up an attention and an MLP."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="embed")(x)
        for i in range(4):
            h = nn.LayerNorm(name=f"ln_{i}")(x)
            attention = nn.MultiHeadDotProductAttention(2, name=f"attn_{i}")(h)
            mlp = nn.relu(nn.Dense(2 * WIDTH, name=f"fc_{i}")(h))
            x = x + (attention + nn.Dense(WIDTH, name=f"proj_{i}")(mlp))
        return nn.Dense(CLASSES, name="head")(x)


class PlainSum(nn.Module):
    """``x + W relu(x)``, scanned over, with nothing before or behind."""

    depth: int

    @nn.compact
    def __call__(self, x):
        return scanned(PlainBlock(name="blocks"), self.depth)(x)


class PlainBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(x.shape[-1], use_bias=False)(nn.relu(x))
