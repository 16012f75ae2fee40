"""Klambauer et al. 2017: selu units draw means to 0 and variances to 1, at any depth.

python -m examples.papers.klambauer_2017 [--quick]
"""

import jax
import numpy as np
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study


class Deep(nn.Module):
    """Dense layers whose activations are tapped."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            x = nn.Dense(self.width, kernel_init=jaxinit.self_normalizing())(x)
            x = jaxinit.tap(nn.selu(x), f"selu {i}")
        return nn.Dense(1)(x)


def measure(depth: int, width: int, seeds: int) -> Found:
    starts = {"mean 0.1, variance 1.5": (0.1, 1.5), "mean 0, variance 0.5": (0.0, 0.5)}
    found = {}
    for name, (mean, variance) in starts.items():
        x = mean + variance**0.5 * jax.random.normal(jax.random.key(0), (128, width))
        report = jaxinit.analyze(Deep(depth, width), x, seeds=seeds, judge=False)
        rows = [i for i, row in enumerate(report.layers) if row.startswith("selu")]
        found[name] = (report.forward["mean"][:, rows], report.forward["var"][:, rows])
    claims = []
    for name, (means, variances) in found.items():
        mean, variance = np.median(means[:, -1]), np.median(variances[:, -1])
        claims.append(
            Claim(
                f"Inputs of {name}, behind {depth} selu layers",
                "mean 0 and variance 1, an attracting fixed point (theorem 1)",
                f"mean {mean:.3f}, variance {variance:.3f} (medians of {seeds} draws)",
                bool(abs(mean) < 0.1 and abs(variance - 1) < 0.2),
            )
        )
    later = np.concatenate([values[:, depth // 2 :] for _, values in found.values()])
    within = float(((later > 0.8) & (later < 1.5)).mean())
    claims.append(
        Claim(
            "Variances in the second half of the layers, over all draws",
            "stay within [0.8, 1.5] (theorem 1)",
            f"{within:.0%} of them within",
            within > 0.9,
        )
    )

    def draw(axes: study.Axes) -> None:
        for color, (name, (_, values)) in zip(COLORS, found.items(), strict=False):
            study.band(axes, np.arange(1, depth + 1), values, color, name)
        axes.set(xlabel="layer", ylabel="variance of activations")

    return Found(claims, draw)


STUDY = Study(
    "klambauer_2017",
    "Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, "
    "2017",
    "normal inputs; nothing is trained, and no dropout.",
    {
        "full": {"depth": 32, "width": 512, "seeds": 16},
        "quick": {"depth": 24, "width": 256, "seeds": 8},
        "smoke": {"depth": 8, "width": 64, "seeds": 4},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
