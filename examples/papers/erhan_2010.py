"""Erhan et al. 2010: does unsupervised pre-training help where labels are few?

python -m examples.papers.erhan_2010 [--quick]
"""

import jax
import numpy as np
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study
from jaxinit.train.datasets import digits


class Stack(nn.Module):
    """Two sigmoid layers and a readout."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.sigmoid(nn.Dense(self.width)(x))
        return nn.Dense(10)(x)


def measure(
    width: int, budgets: tuple[int, ...], epochs: int, steps: int, seeds: int
) -> Found:
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    (x, held_x), (y, held_y) = np.split(images, [1300]), np.split(labels, [1300])
    model = Stack(width)
    method = jaxinit.denoising_autoencoder(epochs=epochs)
    schemes = {
        "random": jaxinit.glorot_uniform(),
        "pre-trained": jaxinit.greedy_pretrain(method),
    }
    errors = {}
    for name, scheme in schemes.items():
        starts = [jaxinit.initialize(model, scheme, seed, x) for seed in range(seeds)]
        errors[name] = np.stack(
            [
                study.errors(
                    model, study.fit(model, starts, x[:n], y[:n], steps), held_x, held_y
                )
                for n in budgets
            ]
        )
    gains = errors["random"] - errors["pre-trained"]
    means = {name: values.mean(-1) for name, values in errors.items()}
    stderr = gains.std(-1, ddof=1) / seeds**0.5
    claims = [
        Claim(
            f"Test error, random against pre-trained, {budget} labels",
            published,
            f"{random:.1%} against {pretrained:.1%}; gain {gain:.1%} ± {error:.1%}",
            bool(gain > 2 * error) if few else bool(abs(gain) < gains[0].mean()),
        )
        for budget, random, pretrained, gain, error, few, published in zip(
            (budgets[0], budgets[-1]),
            means["random"][[0, -1]],
            means["pre-trained"][[0, -1]],
            gains.mean(-1)[[0, -1]],
            stderr[[0, -1]],
            (True, False),
            ("pre-training helps", "helps less, the more labels there are"),
            strict=True,
        )
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, values) in zip(COLORS, errors.items(), strict=False):
            study.band(axes, budgets, values.T, color, name)
        axes.set(xlabel="labels", ylabel="test error", xscale="log")

    return Found(claims, draw)


STUDY = Study(
    "erhan_2010",
    "Erhan, Bengio, Courville, Manzagol, Vincent and Bengio, Why Does Unsupervised "
    "Pre-training Help Deep Learning?, 2010",
    "two sigmoid layers on 8x8 digits, 1300 of them to learn from and 497 to test; one "
    "rate of Adam; denoising autoencoders.",
    {
        "full": {
            "width": 128,
            "budgets": (30, 100, 300, 1300),
            "epochs": 60,
            "steps": 400,
            "seeds": 8,
        },
        "quick": {
            "width": 64,
            "budgets": (30, 100, 1300),
            "epochs": 20,
            "steps": 150,
            "seeds": 4,
        },
        "smoke": {
            "width": 16,
            "budgets": (30, 100),
            "epochs": 1,
            "steps": 3,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
