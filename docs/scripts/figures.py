"""Draws the pictures of the README and the site.

    python docs/scripts/figures.py [name ...]

Networks of 20 layers of width 128, 16 seeds each: half a minute on two cores.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import linen as nn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import jaxinit

IMAGES = Path(__file__).parents[1] / "images"
# Told apart by those who see few colors, and by their shades in print.
COLORS = ("#d55e00", "#0072b2", "#009e73")
DEPTH, WIDTH, SEEDS = 20, 128, 16


class Deep(nn.Module):
    """A plain network; what its kernels and biases are drawn with is given."""

    activation: Callable[[jax.Array], jax.Array]
    kernel: Any
    bias: Any = jaxinit.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(DEPTH):
            dense = nn.Dense(WIDTH, kernel_init=self.kernel, bias_init=self.bias)
            x = self.activation(dense(x))
        return nn.Dense(10, kernel_init=self.kernel)(x)


def variance(value: float) -> Any:
    """Kernels of variance ``value`` over the fan-in."""
    return jaxinit.variance_scaling(value, "fan_in", "normal")


def measured(activation: Any, kernel: Any, bias: Any = jaxinit.zeros) -> Any:
    x = jax.random.normal(jax.random.key(0), (64, 64))
    model = Deep(activation, kernel, bias)
    return jaxinit.analyze(model, x, seeds=SEEDS, judge=False, roll=False)


def band(axes: Axes, values: np.ndarray, color: str, label: str) -> None:
    """The median over seeds against depth, and where nine in ten lie."""
    low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95), axis=0)
    depth = np.arange(1, len(middle) + 1)
    axes.plot(depth, middle, color=color, label=label)
    axes.fill_between(depth, low, high, color=color, alpha=0.2, linewidth=0)


def finished(figure: Figure, name: str) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})


def curves(name: str, metric: str, title: str, reports: dict[str, Any], log: bool):
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for color, (label, report) in zip(COLORS, reports.items(), strict=False):
        group = report.backward if metric in report.backward else report.forward
        band(axes, group[metric][:, :DEPTH], color, label)
    axes.set(xlabel="layer", ylabel=title, yscale="log" if log else "linear")
    axes.legend(frameon=False)
    finished(figure, name)


def relu_reports() -> dict[str, Any]:
    return {
        "variance 1/n (LeCun)": measured(nn.relu, variance(1.0)),
        "variance 2/n (He)": measured(nn.relu, variance(2.0)),
        "variance 3/n": measured(nn.relu, variance(3.0)),
    }


def pictures_of_relu() -> None:
    reports = relu_reports()
    moment = "second moment of the output"
    gradient = "rms of the gradient"
    curves("metric-second-moment", "second_moment", moment, reports, log=True)
    curves("metric-grad-rms", "grad_rms", gradient, reports, log=True)
    two = dict(list(reports.items())[:2])
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, metric, title in zip(
        figure.subplots(1, 2),
        ("second_moment", "grad_rms"),
        (moment, gradient),
        strict=True,
    ):
        for color, (label, report) in zip(COLORS, two.items(), strict=False):
            group = report.backward if metric == "grad_rms" else report.forward
            name = "Flax's default" if "LeCun" in label else "jaxinit.he_normal()"
            band(axes, group[metric][:, :DEPTH], color, name)
        axes.set(xlabel="layer", ylabel=title, yscale="log")
    figure.axes[0].legend(frameon=False)
    finished(figure, "default-and-he")
    relative = Figure(figsize=(6, 3), layout="constrained")
    axes = relative.subplots()
    for color, (label, report) in zip(COLORS, two.items(), strict=False):
        kernels = [i for i, n in enumerate(report.params) if n.endswith("kernel")]
        band(axes, report.weights["wgrad_rel"][:, kernels[:DEPTH]], color, label)
    axes.set(xlabel="layer", ylabel="gradient's norm / weight's", yscale="log")
    axes.legend(frameon=False)
    finished(relative, "metric-wgrad-rel")


def picture_of_cos() -> None:
    deviation_w, deviation_b = jaxinit.critical_init("tanh", 0.3)
    bias = jaxinit.normal(deviation_b)
    edge = deviation_w**2
    reports = {
        "ordered": measured(jnp.tanh, variance(edge / 2), bias),
        "critical": measured(jnp.tanh, variance(edge), bias),
        "chaotic": measured(jnp.tanh, variance(edge * 2), bias),
    }
    title = "mean cosine between samples"
    curves("metric-cos", "cos", title, reports, log=False)


def picture_of_dead() -> None:
    reports = {
        "bias -0.5": measured(nn.relu, variance(2.0), jaxinit.constant(-0.5)),
        "bias 0": measured(nn.relu, variance(2.0)),
    }
    curves("metric-dead", "dead", "share of dead channels", reports, log=False)


def picture_of_layers() -> None:
    """A small program: where parameters meet data is a layer."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 3.2))
    axes.set_axis_off()
    data, params, meet = "#0072b2", "#d55e00", "#009e73"
    boxes = (
        (0.2, 1.0, "x", data),
        (2.0, 1.0, "dot", meet),
        (3.8, 1.0, "relu", data),
        (5.6, 1.0, "dot", meet),
        (7.6, 1.0, "+", data),
        (9.0, 1.0, "out", data),
        (2.0, 2.4, "up/kernel", params),
        (5.6, 2.4, "down/kernel", params),
    )
    for left, low, text, color in boxes:
        width = 1.4 if "/" in text else 0.8
        corner = (left - (width - 0.8) / 2, low)
        axes.add_patch(
            FancyBboxPatch(corner, width, 0.5, "round,pad=0.08", fc="white", ec=color)
        )
        axes.text(left + 0.4, low + 0.25, text, ha="center", va="center", color=color)
    arrow = {"arrowstyle": "->", "color": "#555555"}
    ends = ((1.1, 1.9), (2.9, 3.7), (4.7, 5.5), (6.5, 7.5), (8.5, 8.9))
    for start, end in ends:
        axes.annotate("", (end, 1.25), (start, 1.25), arrowprops=arrow)
    for column in (2.4, 6.0):
        axes.annotate("", (column, 1.6), (column, 2.3), arrowprops=arrow)
    skip = arrow | {"connectionstyle": "arc3,rad=0.25"}
    axes.annotate("", (8.0, 0.9), (0.6, 0.9), arrowprops=skip)
    for column, text in ((2.4, "layer “up”"), (6.0, "layer “down”"), (8.0, "join")):
        axes.text(column, 0.62, text, ha="center", color=meet, fontsize=9)
    finished(figure, "layers")


PICTURES = {
    "relu": pictures_of_relu,
    "cos": picture_of_cos,
    "dead": picture_of_dead,
    "layers": picture_of_layers,
}


if __name__ == "__main__":
    # The same names for the same marks, so that files change only with what they show.
    matplotlib.rcParams["svg.hashsalt"] = "jaxinit"
    IMAGES.mkdir(exist_ok=True)
    for chosen in sys.argv[1:] or PICTURES:
        PICTURES[chosen]()
