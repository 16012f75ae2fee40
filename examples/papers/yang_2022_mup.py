"""Yang et al. 2022, muP: the best rate of a narrow model is that of a wide one.

python -m examples.papers.yang_2022_mup [--quick]
"""

import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits


def measure(
    widths: tuple[int, ...], rates: tuple[float, ...], steps: int, seeds: int
) -> Found:
    result = jaxinit.learning_rate_transfer(
        lambda width: MLP(3, width),
        widths,
        digits(),
        optimizer=optax.adam,
        learning_rates=rates,
        steps=steps,
        seeds=seeds,
    )
    slopes = dict(zip(result.parametrizations, result.slopes(), strict=True))
    usual, mup = result.parametrizations
    best = result.best_rates()
    said = {
        name: f"slope {slopes[name].value:.2f}, from {slopes[name].low:.2f} to "
        f"{slopes[name].high:.2f}; best rates "
        + ", ".join(f"{rate:.2g}" for rate in best[i])
        for i, name in enumerate(result.parametrizations)
    }
    across = f"Slope of log2 best rate on log2 width, {widths[0]} to {widths[-1]}"
    claims = [
        Claim(
            f"{across}, muP, Adam",
            "0: the rate carries over (figure 1)",
            said[mup],
            bool(abs(slopes[mup].value) < 0.25),
        ),
        Claim(
            "The same, the usual parametrization",
            "the best rate falls with the width (figure 1)",
            said[usual],
            bool(slopes[usual].value < slopes[mup].value - 0.25),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        medians = np.median(result.finals, axis=-1)
        for i, name in enumerate(result.parametrizations):
            for j, width in enumerate(widths):
                shade = 0.3 + 0.7 * j / max(len(widths) - 1, 1)
                axes.plot(
                    rates,
                    np.where(np.isfinite(medians[i, j]), medians[i, j], np.nan),
                    color=COLORS[i],
                    alpha=shade,
                    label=f"{name}, width {width}",
                )
        axes.set(xlabel="learning rate", ylabel="final loss", xscale="log")
        axes.set_yscale("log")

    return Found(claims, draw)


STUDY = Study(
    "yang_2022_mup",
    "Yang et al., Tensor Programs V: Tuning Large Neural Networks via Zero-Shot "
    "Hyperparameter Transfer, 2022",
    "a network of three hidden layers on 8x8 digits in place of transformers; "
    "short runs.",
    {
        "full": {
            "widths": (32, 128, 512),
            "rates": tuple(2.0**-k for k in range(12, 3, -1)),
            "steps": 60,
            "seeds": 3,
        },
        "quick": {
            "widths": (32, 128, 512),
            "rates": tuple(2.0**-k for k in range(11, 4, -1)),
            "steps": 20,
            "seeds": 2,
        },
        "smoke": {"widths": (8, 16), "rates": (1e-3, 1e-2), "steps": 4, "seeds": 2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
