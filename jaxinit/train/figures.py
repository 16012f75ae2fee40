"""Figures of races, coordinate checks and transfers; matplotlib's state is kept."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinit.report.plot import require_matplotlib
from jaxinit.train import standing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxinit.train.coord_result import CoordCheck
    from jaxinit.train.race_result import Race
    from jaxinit.train.transfer_result import RateTransfer

# Okabe and Ito's colors, which can be told apart without color vision.
_COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    "#999999",
)


def draw_race(race: "Race") -> "Figure":
    """Loss curves with bands at each best rate, and the final loss against rates."""
    figure = _figure(11, 4.2)
    curves, rates = figure.subplots(1, 2)
    finals = standing.finals(race)
    for i, name in enumerate(race.schemes):
        color, best = _COLORS[i % len(_COLORS)], standing.best_rate(race, i)
        if best is None:
            continue
        steps = np.arange(race.losses.shape[-1])
        low, middle, high = _quantiles(race.losses[i, best])
        curves.plot(steps, middle, color=color, label=name)
        curves.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        low, middle, high = _quantiles(finals[i].T)
        rates.plot(race.learning_rates, middle, color=color, marker="o")
        rates.fill_between(
            race.learning_rates, low, high, color=color, alpha=0.2, linewidth=0
        )
    curves.set(xlabel="step", ylabel="loss", title="each at its best learning rate")
    rates.set(xlabel="learning rate", ylabel="final loss", xscale="log")
    rates.axhline(race.reference, color="#999999", linestyle=":")
    if np.nanmin(race.losses, initial=1.0) > 0:
        curves.set_yscale("log")
    curves.legend(frameon=False)
    rates.set_title("median and quartiles over seeds")
    return figure


def draw_coord_check(check: "CoordCheck") -> "Figure":
    """Sizes against the width, a panel a step, activations above their changes."""
    steps = check.activations.shape[2]
    figure = _figure(2.6 * steps + 1, 6.4)
    axes = figure.subplots(2, steps, sharex=True, sharey="row", squeeze=False)
    for line, values in enumerate((check.activations, check.updates)):
        for step in range(steps):
            ax = axes[line, step]
            for row, name in enumerate(check.layers):
                size = np.median(values[:, :, step, row, 1], axis=1)
                known = np.isfinite(size) & (size > 0)
                color = _COLORS[row % len(_COLORS)]
                ax.plot(check.sizes[known], size[known], color=color, label=name)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log", base=2)
            if line == 0:
                ax.set_title(f"after {step} steps")
            else:
                ax.set_xlabel(check.axis)
        axes[line, 0].set_ylabel(("rms", "rms of the change")[line])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=7)
    return figure


def draw_transfer(transfer: "RateTransfer") -> "Figure":
    """Final loss against the learning rate, a line a width, a panel a kind."""
    kinds = transfer.parametrizations
    figure = _figure(4.6 * len(kinds), 4)
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for ax, kind, finals in zip(axes, kinds, transfer.finals, strict=True):
        for i, width in enumerate(transfer.sizes):
            shade = 0.3 + 0.7 * i / max(len(transfer.sizes) - 1, 1)
            middle = _quantiles(finals[i].T)[1]
            ax.plot(
                transfer.learning_rates,
                middle,
                color=_COLORS[0],
                alpha=shade,
                marker="o",
                label=f"{width}",
            )
        ax.set(xscale="log", xlabel="learning rate", title=kind)
    axes[0].set_ylabel("final loss, median over seeds")
    axes[-1].legend(title=transfer.axis, frameon=False)
    return figure


def _quantiles(values: np.ndarray) -> Any:
    """Quartiles over seeds, ``(seeds, n)``; where not finite, nothing is drawn."""
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=0)
    last = len(ordered) - 1
    rows = [ordered[round(share * last)] for share in (0.25, 0.5, 0.75)]
    return [np.where(np.isfinite(row), row, np.nan) for row in rows]


def _figure(width: float, height: float) -> "Figure":
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")
