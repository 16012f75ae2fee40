"""Sussillo & Abbott 2014: the random walk of a gradient, and a gain without drift.

python -m examples.papers.sussillo_abbott_2014 [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study

Array = jax.Array
Init = jaxinit.initializers.Initializer


def walks(init: Init, relu: bool, depth: int, width: int, draws: int) -> np.ndarray:
    """Logarithms of the squared norm of a gradient carried back, ``(draws, depth)``."""

    def one(key: Array) -> Array:
        def layer(carry: tuple[Array, Array], key: Array) -> tuple[Array, None]:
            h, slopes = carry
            w = init(key, (width, width), jnp.float32)
            h = h @ w
            slopes = jnp.where(h > 0, 1.0, 0.0) if relu else jnp.ones_like(h)
            h = jax.nn.relu(h) if relu else h
            h = h / jnp.sqrt(jnp.mean(h**2))  # its size does not matter to the slopes
            return (h, slopes), (w, slopes)

        start = jax.random.normal(key, (width,))
        keys = jax.random.split(key, depth)
        _, (kernels, slopes) = jax.lax.scan(layer, (start, jnp.ones(width)), keys)

        def back(carry: tuple[Array, Array], of: tuple[Array, Array]):
            g, log = carry
            w, slope = of
            g = w @ (g * slope)
            size = jnp.sum(g**2)
            log = log + jnp.log(size)
            return (g / jnp.sqrt(size), log), log

        # Of random signs, as a loss's: relu passes one of equal signs on too well.
        g = jax.random.normal(jax.random.fold_in(key, 1), (width,)) / jnp.sqrt(width)
        return jax.lax.scan(back, (g, 0.0), (kernels, slopes), reverse=True)[1][::-1]

    run = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=16))
    return np.asarray(run(jax.random.split(jax.random.key(0), draws)))


def measure(depth: int, width: int, draws: int) -> Found:
    inits: dict[str, tuple[Init, bool]] = {
        "linear, variance 1/N": (
            jaxinit.variance_scaling(1.0, "fan_in", "normal"),
            False,
        ),
        "linear, random walk": (jaxinit.random_walk("linear"), False),
        "relu, variance 2/N (He)": (
            jaxinit.variance_scaling(2.0, "fan_in", "normal"),
            True,
        ),
        "relu, random walk": (jaxinit.random_walk("relu"), True),
    }
    logs = {n: walks(i, r, depth, width, draws) for n, (i, r) in inits.items()}
    drift = {name: float(values[:, -1].mean() / depth) for name, values in logs.items()}
    spread = float(logs["linear, random walk"][:, -1].var() / depth)
    stderr = (spread / depth / draws) ** 0.5
    claims = [
        Claim(
            f"Drift of the log of the squared norm a layer, linear, width {width}, "
            "variance 1/N",
            f"-1/N = {-1 / width:.4f}",
            f"{drift['linear, variance 1/N']:.4f} ± {stderr:.4f}",
            abs(drift["linear, variance 1/N"] + 1 / width) < 3 * stderr,
        ),
        Claim(
            "The same under the gain exp(1/(2N))",
            "0",
            f"{drift['linear, random walk']:.4f} ± {stderr:.4f}",
            abs(drift["linear, random walk"]) < 3 * stderr,
        ),
        Claim(
            "Variance of the walk a layer, linear",
            f"about 2/N = {2 / width:.4f}",
            f"{spread:.4f}",
            abs(spread * width / 2 - 1) < 0.25,
        ),
        Claim(
            "relu: drift under He's variance, and under the paper's gain",
            "the gain takes the drift away",
            f"{drift['relu, variance 2/N (He)']:.4f}, {drift['relu, random walk']:.4f}",
            abs(drift["relu, random walk"])
            < 0.3 * abs(drift["relu, variance 2/N (He)"]),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, values) in zip(COLORS, logs.items(), strict=False):
            study.band(axes, np.arange(1, depth + 1), values, color, name)
        axes.set(xlabel="layers passed back", ylabel="log of the squared norm")

    return Found(claims, draw)


STUDY = Study(
    "sussillo_abbott_2014",
    "Sussillo and Abbott, Random Walk Initialization for Training Very Deep "
    "Feedforward Networks, 2014",
    "the walks alone, no training on MNIST or TIMIT with up to 1000 layers, no search "
    "of the gain; no biases; a normal input and a normal gradient at the end, in place "
    "of data and a loss; the forward signal is brought to size 1 in each layer, which "
    "leaves relu's slopes as they are; no tanh, whose gain the paper searches for.",
    {
        "full": {"depth": 200, "width": 64, "draws": 500},
        "quick": {"depth": 100, "width": 64, "draws": 200},
        "smoke": {"depth": 30, "width": 32, "draws": 64},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
