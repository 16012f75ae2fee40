"""Ioffe & Szegedy 2015: with normalization, the scale of the kernels matters less.

python -m examples.papers.ioffe_szegedy_2015 [--quick]
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study
from jaxinit.train.datasets import digits


class Normalized(nn.Module):
    """Each unit brought to mean 0 and variance 1 over the batch, then scaled."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = x - jnp.mean(x, 0)
        return x * jax.lax.rsqrt(jnp.mean(x**2, 0) + 1e-5) * scale + bias


class Net(nn.Module):
    """Ten relu layers, with or without normalization."""

    normalized: bool
    width: int
    depth: int = 10

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth):
            x = nn.Dense(self.width)(x)
            x = nn.relu(Normalized()(x) if self.normalized else x)
        return nn.Dense(10, kernel_init=nn.initializers.zeros)(x)


def measure(
    scales: tuple[float, ...],
    rates: tuple[float, ...],
    width: int,
    steps: int,
    seeds: int,
) -> Found:
    he = jaxinit.variance_scaling(2.0, "fan_in", "normal")
    schemes = {
        f"{factor:g}": jaxinit.rules(
            [
                (jaxinit.role("readout"), jaxinit.zeros),
                (jaxinit.role("weight"), jaxinit.scale(he, factor)),
            ]
        )
        for factor in scales
    }
    shares = {}
    for normalized in (False, True):
        result = jaxinit.race(
            Net(normalized, width),
            digits(),
            schemes=schemes,
            optimizer=optax.sgd,
            learning_rates=list(rates),
            steps=steps,
            seeds=seeds,
            solutions=0,
            diagnose=False,
        )
        shares[normalized] = result.share("trains")
    works = {n: int((s >= 0.5).any(-1).sum()) for n, s in shares.items()}
    cells = {n: float((s >= 0.5).mean()) for n, s in shares.items()}
    claims = [
        Claim(
            "He's kernels times "
            + ", ".join(schemes)
            + ": how many train at some rate",
            "more with normalization, which is resilient to the scale of parameters",
            f"without: {works[False]} of {len(scales)}; with: {works[True]} of "
            f"{len(scales)}",
            works[True] > works[False],
        ),
        Claim(
            "Share of all pairs of scale and rate that train",
            "higher with normalization, which allows higher rates",
            f"without: {cells[False]:.0%}; with: {cells[True]:.0%}",
            cells[True] > cells[False],
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (normalized, share) in zip(COLORS, shares.items(), strict=False):
            label = "normalized" if normalized else "plain"
            axes.plot(scales, share.max(-1), "o-", color=color, label=label)
        axes.set(xlabel="kernels over He's", ylabel="share that trains, best rate")
        axes.set_xscale("log")

    return Found(claims, draw)


STUDY = Study(
    "ioffe_szegedy_2015",
    "Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by "
    "Reducing Internal Covariate Shift, 2015",
    "ten dense layers on 8x8 digits in place of Inception on ImageNet; a readout of "
    "zeros; training loss.",
    {
        "full": {
            "scales": (0.1, 0.3, 1.0, 3.0, 10.0),
            "rates": (0.01, 0.03, 0.1, 0.3, 1.0),
            "width": 64,
            "steps": 200,
            "seeds": 4,
        },
        "quick": {
            "scales": (0.2, 1.0, 5.0),
            "rates": (0.01, 0.1, 1.0),
            "width": 32,
            "steps": 60,
            "seeds": 3,
        },
        "smoke": {
            "scales": (1.0,),
            "rates": (0.1,),
            "width": 8,
            "steps": 5,
            "seeds": 1,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
