"""Le et al. 2015: a relu recurrence that begins as the identity remembers.

python -m examples.papers.le_2015_irnn [--quick]
"""

from collections.abc import Callable

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import Claim, Found, Study

# The variance of a sum of two numbers from U[0, 1]: the error of always answering 1.
# (The paper gives 0.1767 for it.)
BASELINE = 1 / 6


class Recurrence(nn.Module):
    """A relu recurrence, whose last state is read out."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        states = nn.RNN(nn.SimpleCell(self.width, activation_fn=nn.relu))(x)
        return nn.Dense(1)(states[:, -1])


def adding(length: int, samples: int) -> Callable[[int], tuple]:
    """Batches of the adding problem, by their number.

    A sequence holds at each step a number from U[0, 1] and a mark. One step of each
    half is marked; the target is the sum of the two marked numbers.
    """

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((15, step))
        numbers, marks = rng.random((samples, length)), np.zeros((samples, length))
        half = length // 2
        rows = np.arange(samples)
        marks[rows, rng.integers(half, size=samples)] = 1
        marks[rows, rng.integers(half, length, size=samples)] = 1
        inputs = np.stack([numbers, marks], -1)
        sums = (numbers * marks).sum(1, keepdims=True)
        return inputs.astype(np.float32), sums.astype(np.float32)

    return batch


def measure(
    length: int, width: int, rates: tuple[float, ...], steps: int, seeds: int
) -> Found:
    irnn = jaxinit.irnn()
    recurrent = {
        "identity": irnn.recurrent,
        "Gaussian, variance 1/n": jaxinit.variance_scaling(1.0, "fan_in", "normal"),
        "Gaussian, deviation 0.001": jaxinit.normal(0.001),
    }
    schemes = {
        name: jaxinit.rules(
            [
                (jaxinit.role("recurrent"), kernel),
                (jaxinit.role("weight"), irnn.kernel),
            ]
        )
        for name, kernel in recurrent.items()
    }
    result = jaxinit.race(
        Recurrence(width),
        adding(length, 32),
        schemes=schemes,
        optimizer=lambda rate: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(rate)
        ),
        learning_rates=list(rates),
        steps=steps,
        seeds=seeds,
        solutions=0,
        diagnose=False,
    )
    errors = {name: study.final(result, name) for name in schemes}
    of_identity = errors["identity"]
    claims = [
        Claim(
            f"Adding two numbers among {length}, recurrent kernel the identity",
            "solved: far below the 0.1767 of always answering 1, as by an LSTM",
            f"mean squared error {of_identity:.4f} (always answering 1: "
            f"{BASELINE:.4f})",
            of_identity < 0.25 * BASELINE,
        ),
    ]
    claims += [
        Claim(
            f"The same, {name}",
            "much worse than the identity; hard from 150 steps on",
            f"mean squared error {errors[name]:.4f}",
            errors[name] > max(2 * of_identity, 0.25 * BASELINE),
        )
        for name in list(schemes)[1:]
    ]

    def draw(axes: study.Axes) -> None:
        study.draw_losses(axes, result)
        axes.axhline(BASELINE, color="0.6", linestyle=":", linewidth=1)
        axes.set(ylabel="squared error", ylim=(0, 2 * BASELINE))

    return Found(claims, draw)


STUDY = Study(
    "le_2015_irnn",
    "Le, Jaitly and Hinton, A Simple Way to Initialize Recurrent Networks of Rectified "
    "Linear Units, 2015",
    "the adding problem alone, of the paper's four; shorter sequences than its 150 to "
    "400; Adam in place of gradient descent, both clipped, and fewer steps; no LSTM; "
    "the Gaussians' deviations are ours.",
    {
        "full": {
            "length": 80,
            "width": 100,
            "rates": (1e-3, 3e-3),
            "steps": 7000,
            "seeds": 2,
        },
        "quick": {
            "length": 50,
            "width": 64,
            "rates": (1e-3, 3e-3),
            "steps": 2000,
            "seeds": 2,
        },
        "smoke": {"length": 6, "width": 8, "rates": (1e-2,), "steps": 20, "seeds": 2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
