"""Hanin & Rolnick 2018: two ways in which a deep relu network fails to start.

python -m examples.papers.hanin_rolnick_2018 [--quick]
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study

Array = jax.Array


def log_lengths(variance: float, depth: int, width: int, draws: int) -> np.ndarray:
    """Logarithms of the activations' mean squares, ``(draws, depth)``."""
    init = jaxinit.variance_scaling(variance, "fan_in", "normal")

    def one(key: Array) -> Array:
        def layer(h: Array, key: Array) -> tuple[Array, Array]:
            h = jax.nn.relu(h @ init(key, (width, width), jnp.float32))
            return h, jnp.log(jnp.mean(h**2))

        return jax.lax.scan(layer, jnp.ones(width), jax.random.split(key, depth))[1]

    run = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=16))
    return np.asarray(run(jax.random.split(jax.random.key(0), draws)))


def measure(depth: int, widths: tuple[int, ...], draws: int) -> Found:
    wide = max(widths)
    slopes = {
        variance: np.polyfit(
            np.arange(depth), log_lengths(variance, depth, wide, 64).mean(0), 1
        )[0]
        for variance in (1.0, 2.0, 3.0)
    }
    logs = {width: log_lengths(2.0, depth, width, draws) for width in widths}
    # Dead draws, of which only narrow networks have some, have no logarithm.
    spread = {
        width: float(np.var(values[:, -1][np.isfinite(values[:, -1])]))
        for width, values in logs.items()
    }
    claims = [
        Claim(
            "First failure: the mean length, kernels of variance v / fan-in",
            "grows or falls exponentially unless v = 2: times v/2 a layer",
            ", ".join(f"v = {v:g}: times {math.exp(s):.3f}" for v, s in slopes.items()),
            all(abs(math.exp(s) / (v / 2) - 1) < 0.05 for v, s in slopes.items()),
        ),
        Claim(
            f"Second failure: the spread of lengths over draws, {depth} layers",
            "grows with the sum of the layers' reciprocal widths",
            ", ".join(
                f"sum {depth / width:.2f}: variance of logs {spread[width]:.2f}"
                for width in widths
            ),
            bool(np.all(np.diff([spread[width] for width in sorted(widths)]) < 0))
            # At small sums the variance of the logarithm is 5 times the sum.
            and abs(spread[wide] / (5 * depth / wide) - 1) < 0.4,
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (width, values) in zip(COLORS, logs.items(), strict=False):
            finite = np.where(np.isfinite(values), values, np.nan)
            label = f"width {width}"
            study.band(axes, np.arange(1, depth + 1), finite, color, label)
        axes.set(xlabel="layer", ylabel="log of the mean square")

    return Found(claims, draw)


STUDY = Study(
    "hanin_rolnick_2018",
    "Hanin and Rolnick, How to Start Training: The Effect of Initialization and "
    "Architecture, 2018",
    "nothing is trained; one input.",
    {
        "full": {"depth": 30, "widths": (32, 64, 128, 256), "draws": 1000},
        "quick": {"depth": 20, "widths": (32, 64, 128), "draws": 300},
        "smoke": {"depth": 10, "widths": (32, 64), "draws": 100},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
