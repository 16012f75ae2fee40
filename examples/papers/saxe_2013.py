"""Saxe et al. 2013: with orthogonal weights, depth costs a linear network no time.

python -m examples.papers.saxe_2013 [--quick]
"""

import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits


def linear(x: study.jax.Array) -> study.jax.Array:
    """No activation at all."""
    return x


def measure(
    depths: tuple[int, ...], width: int, steps: int, seeds: int, target: float
) -> Found:
    schemes = {"orthogonal": jaxinit.orthogonal(), "Gaussian": jaxinit.lecun_normal()}
    times = {name: [] for name in schemes}
    for depth in depths:
        result = jaxinit.race(
            MLP(depth, width, linear, use_bias=False),
            digits(),
            schemes=schemes,
            optimizer=optax.sgd,
            learning_rates=[0.001, 0.003, 0.01, 0.03],
            steps=steps,
            seeds=seeds,
            target=target,
            solutions=0,
            diagnose=False,
        )
        for name in schemes:
            times[name].append(fastest(result, name, target))
    orthogonal, gaussian = (np.asarray(times[name]) for name in schemes)
    with np.errstate(invalid="ignore"):  # of two that never come there
        ratio = orthogonal[-1] / orthogonal[0]
        apart = gaussian[-1] / gaussian[0]
    deep = f"{depths[0]} and {depths[-1]} layers"
    claims = [
        Claim(
            f"Steps to a loss of {target} at the best rate, {deep}, orthogonal",
            "independent of depth",
            f"{orthogonal[0]:.0f} and {orthogonal[-1]:.0f}",
            bool(np.isfinite(ratio) and ratio < 1.5),
        ),
        Claim(
            "The same, Gaussian kernels of variance 1/n",
            "grow with depth",
            f"{gaussian[0]:.0f} and {gaussian[-1]:.0f} (inf: never in {steps} steps)",
            bool(apart > max(1.5, ratio) or np.isinf(gaussian[-1])),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, name in zip(COLORS, schemes, strict=False):
            axes.plot(depths, times[name], "o-", color=color, label=name)
        axes.set(xlabel="layers", ylabel=f"steps to a loss of {target}", ylim=(0, None))

    return Found(claims, draw)


def fastest(result: jaxinit.Race, scheme: str, target: float) -> float:
    """The median over seeds of the steps to the target, at the best rate."""
    losses = result.losses[result.schemes.index(scheme)]
    # A mean over ten steps: single batches are noisy.
    smooth = np.apply_along_axis(
        lambda row: np.convolve(row, np.full(10, 0.1), "valid"), -1, losses
    )
    reached = smooth < target
    first = np.where(reached.any(-1), reached.argmax(-1).astype(float), np.inf)
    return float(np.median(first, axis=-1).min())


STUDY = Study(
    "saxe_2013",
    "Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of "
    "learning in deep linear neural networks, 2013",
    "8x8 digits in place of MNIST, cross entropy, up to 64 layers in place of 100; the "
    "best of four rates for each depth.",
    {
        "full": {
            "depths": (4, 8, 16, 32, 64),
            "width": 64,
            "steps": 400,
            "seeds": 4,
            "target": 0.7,
        },
        "quick": {
            "depths": (4, 16, 64),
            "width": 64,
            "steps": 200,
            "seeds": 3,
            "target": 0.7,
        },
        "smoke": {"depths": (2,), "width": 16, "steps": 12, "seeds": 2, "target": 2.2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
