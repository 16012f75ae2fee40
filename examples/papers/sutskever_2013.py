"""Sutskever et al. 2013: deep autoencoders need the right scale, and momentum.

python -m examples.papers.sutskever_2013 [--quick]
"""

import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Autoencoder, Claim, Found, Study


def nesterov(momentum: float) -> study.Callable[..., optax.GradientTransformation]:
    """Gradient descent with Nesterov's momentum, as a function of its rate."""
    return lambda rate: optax.sgd(rate, momentum=momentum or None, nesterov=True)


def measure(
    widths: tuple[int, ...],
    scales: tuple[float, ...],
    rates: tuple[float, ...],
    steps: int,
    seeds: int,
) -> Found:
    images = study.pixels()
    schemes = {f"{s:g}": jaxinit.scale(jaxinit.sparse(), s) for s in scales}
    errors = {}
    for momentum in (0.0, 0.99):
        result = jaxinit.race(
            Autoencoder(widths),
            (images, images),
            schemes=schemes if momentum else {"1": schemes["1"]},
            optimizer=nesterov(momentum),
            learning_rates=list(rates),
            steps=steps,
            seeds=seeds,
            loss=study.squared_error,
            solutions=0,
            diagnose=False,
        )
        errors[momentum] = {name: study.final(result, name) for name in result.schemes}
    fast, slow = errors[0.99], errors[0.0]["1"]
    mean = float(images.var(0).sum())
    smallest, largest = f"{scales[0]:g}", f"{scales[-1]:g}"
    claims = [
        Claim(
            "Squared error under sparse kernels, 15 incoming weights of deviation s",
            "s = 0.25: 16, s = 0.5: 16, s = 1: 0.074, s = 2: 0.083, s = 4: 0.35 "
            "(table 3)",
            ", ".join(f"s = {name}: {error:.2f}" for name, error in fast.items())
            + f" (the mean image: {mean:.2f})",
            fast["1"] < 0.5 * fast[smallest],
        ),
        Claim(
            f"Too large: s = {largest} against s = 1",
            "worse, but far from as bad as too small",
            f"{fast[largest]:.2f} against {fast['1']:.2f}",
            fast["1"] < fast[largest] < 0.5 * (fast[smallest] + fast["1"]),
        ),
        Claim(
            "s = 1 without momentum, against 0.99 of it",
            "worse: 0.48 against 0.074 with 0.999 (table 1)",
            f"{slow:.2f} against {fast['1']:.2f}",
            slow > 1.25 * fast["1"],
        ),
    ]

    def draw(axes: study.Axes) -> None:
        values = np.asarray(list(fast.values()))
        axes.plot(scales, values, "o-", color=COLORS[0], label="momentum 0.99")
        axes.plot([1], [slow], "s", color=COLORS[1], label="no momentum")
        axes.axhline(mean, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="deviation s of the weights", ylabel="squared error")
        axes.set_xscale("log", base=2)

    return Found(claims, draw)


STUDY = Study(
    "sutskever_2013",
    "Sutskever, Martens, Dahl and Hinton, On the importance of initialization and "
    "momentum in deep learning, 2013",
    "an autoencoder of 8x8 digits in place of curves, MNIST and faces; momentum of "
    "0.99 from the start in place of a schedule up to 0.999, and no drop of it at the "
    "end; some thousand steps in place of hundreds of thousands; the best of a few "
    "rates; not the recurrent networks.",
    {
        "full": {
            "widths": (96, 64, 32, 16, 6),
            "scales": (0.25, 0.5, 1.0, 2.0, 4.0),
            "rates": (0.003, 0.01, 0.03, 0.1),
            "steps": 6000,
            "seeds": 3,
        },
        "quick": {
            "widths": (64, 32, 16, 6),
            "scales": (0.25, 0.5, 1.0, 2.0, 4.0),
            "rates": (0.003, 0.01, 0.03),
            "steps": 1500,
            "seeds": 2,
        },
        "smoke": {
            "widths": (8, 4),
            "scales": (0.5, 1.0),
            "rates": (0.01,),
            "steps": 10,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
