"""Glorot & Bengio 2010: gradients shrink layer by layer, unless kernels are scaled.

python -m examples.papers.glorot_2010 [--quick]
"""

import jax
import numpy as np
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study


def measure(width: int, seeds: int) -> Found:
    # Small enough that tanh is near its linear regime, which the equations assume.
    x = 0.3 * jax.random.normal(jax.random.key(0), (128, width))
    schemes = {
        # The "commonly used heuristic" of the paper, U(-1/sqrt n, 1/sqrt n).
        "standard": jaxinit.variance_scaling(1 / 3, "fan_in", "uniform"),
        "normalized": jaxinit.glorot_uniform(),
    }
    model = MLP(5, width, nn.tanh)
    reports = {
        name: jaxinit.analyze(model, x, scheme=scheme, seeds=seeds, judge=False)
        for name, scheme in schemes.items()
    }
    names = reports["standard"].layers
    hidden = [i for i, name in enumerate(names) if name != "head"]

    def per_layer(scheme: str, metric: str) -> tuple[float, np.ndarray]:
        report = reports[scheme]
        values = (report.backward | report.forward)[metric][:, hidden]
        falls = (values[:, 0] / values[:, -1]) ** (1 / (len(hidden) - 1))
        return float(np.median(falls)), values

    gradient, gradients = per_layer("standard", "grad_rms")
    kept, kepts = per_layer("normalized", "grad_rms")
    signal, _ = per_layer("standard", "rms")
    claims = [
        Claim(
            "Gradients under the standard initialization, towards the input",
            f"times sqrt(1/3) = {3**-0.5:.3f} a layer (equation 15, linear regime)",
            f"times {gradient:.3f} a layer",
            abs(gradient / 3**-0.5 - 1) < 0.1,
        ),
        Claim(
            "Gradients under the normalized initialization",
            "about the same in all layers (figure 7)",
            f"times {kept:.3f} a layer",
            abs(kept - 1) < 0.15,
        ),
        Claim(
            "Activations under the standard initialization, towards the output",
            "shrink with each layer (figure 6)",
            f"times {1 / signal:.3f} a layer",
            signal > 1.1,
        ),
    ]

    def draw(axes: study.Axes) -> None:
        depth = np.arange(1, len(hidden) + 1)
        for color, name, values in (
            (COLORS[1], "standard", gradients),
            (COLORS[0], "normalized", kepts),
        ):
            study.band(axes, depth, values / values[:, -1:], color, name)
        axes.set(xlabel="hidden layer", ylabel="gradient's rms over the last's")
        axes.set_yscale("log")

    return Found(claims, draw)


STUDY = Study(
    "glorot_2010",
    "Glorot and Bengio, Understanding the difficulty of training deep feedforward "
    "neural networks, 2010",
    "five tanh layers, as in figures 6 and 7, all of one width, where the normalized "
    "law is that of fan-in alone; normal inputs of deviation 0.3 in place of Shapeset, "
    "MNIST and CIFAR-10, with as many features as units; gradients of a random probe "
    "at the readout, not of a loss, as root mean squares, not histograms; no sigmoid, "
    "no softsign; no training, so neither the errors of table 1 nor how saturation "
    "evolves.",
    {
        "full": {"width": 1000, "seeds": 16},
        "quick": {"width": 400, "seeds": 8},
        "smoke": {"width": 64, "seeds": 8},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
