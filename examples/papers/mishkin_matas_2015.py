"""Mishkin & Matas 2015: all you need is a good init, whatever the activation.

python -m examples.papers.mishkin_matas_2015 [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits


def maxout(x: jax.Array) -> jax.Array:
    """The larger of each unit and the one half a layer further on."""
    return jnp.maximum(x, jnp.roll(x, x.shape[-1] // 2, axis=-1))


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "very leaky relu": lambda x: jax.nn.leaky_relu(x, 0.333),
    "maxout": maxout,
}


def measure(
    depth: int, width: int, steps: int, seeds: int, activations: tuple[str, ...]
) -> Found:
    schemes = {
        "Xavier": jaxinit.glorot_normal(),
        "He": jaxinit.he_normal(),
        "orthogonal": jaxinit.orthogonal(),
        "LSUV": jaxinit.lsuv(),
    }
    claims, ends = [], {}
    for name in activations:
        result = jaxinit.race(
            MLP(depth, width, ACTIVATIONS[name]),
            digits(),
            schemes=schemes,
            optimizer=lambda rate: optax.sgd(rate, momentum=0.9),
            learning_rates=[0.001, 0.003, 0.01],
            steps=steps,
            seeds=seeds,
            solutions=0,
            diagnose=False,
        )
        losses = {scheme: study.final(result, scheme) for scheme in schemes}
        ends[name] = losses
        best = min(losses.values())
        claims.append(
            Claim(
                f"{depth} layers, {name}",
                "LSUV trains as well as or better than the other initializations",
                ", ".join(f"{s}: {loss:.3f}" for s, loss in losses.items())
                + " (final loss at the best rate)",
                losses["LSUV"] < 1.1 * best + 0.02,
            )
        )

    def draw(axes: study.Axes) -> None:
        places = np.arange(len(ends))
        for i, (color, scheme) in enumerate(zip(COLORS, schemes, strict=False)):
            heights = [min(losses[scheme], 5.0) for losses in ends.values()]
            axes.bar(places + 0.2 * i - 0.3, heights, 0.18, color=color, label=scheme)
        axes.set_xticks(places, list(ends))
        axes.set(ylabel="final loss (cut at 5)")

    return Found(claims, draw)


STUDY = Study(
    "mishkin_matas_2015",
    "Mishkin and Matas, All you need is a good init, 2015",
    "dense layers on 8x8 digits in place of FitNets on CIFAR; a few hundred steps, "
    "three rates for each.",
    {
        "full": {
            "depth": 30,
            "width": 64,
            "steps": 300,
            "seeds": 4,
            "activations": ("relu", "tanh", "very leaky relu", "maxout"),
        },
        "quick": {
            "depth": 30,
            "width": 64,
            "steps": 100,
            "seeds": 2,
            "activations": ("relu", "maxout"),
        },
        "smoke": {
            "depth": 10,
            "width": 16,
            "steps": 10,
            "seeds": 2,
            "activations": ("maxout",),
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
