"""Weights of another task, as they are or shrunk, against random ones by label count.

python -m examples.papers.few_labels [--quick]
"""

from operator import itemgetter
from typing import Any

import jax
import numpy as np

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits


def tasks() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Digits below 5, and the others, each ``(images, labels)`` in a random order."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    low = labels < 5
    return (images[low], labels[low]), (images[~low], labels[~low])


def starts(
    model: MLP, source: tuple[np.ndarray, np.ndarray], steps: int, seeds: int
) -> dict[str, list[Any]]:
    """Where the second task begins, by kind, for each seed."""
    x, y = source
    he = jaxinit.he_normal()
    first = [jaxinit.initialize(model, he, seed, x) for seed in range(seeds)]
    fresh = [jaxinit.initialize(model, he, seeds + seed, x) for seed in range(seeds)]
    learned = study.fit(model, first, x, y, steps)["params"]
    # The readout of the first task is left out: it begins afresh.
    body = {name: leaves for name, leaves in learned.items() if name != "head"}
    each = [jax.tree.map(itemgetter(seed), body) for seed in range(seeds)]
    kept = [
        jaxinit.load_partial(start, {"params": layers})[0]
        for start, layers in zip(fresh, each, strict=True)
    ]
    shrunk = [
        jaxinit.shrink_perturb(variables, jax.random.key(seed))
        for seed, variables in enumerate(kept)
    ]
    return {"random": fresh, "pre-trained": kept, "shrunk and perturbed": shrunk}


def measure(
    width: int, budgets: tuple[int, ...], steps: int, seeds: int, held_out: int
) -> Found:
    source, (x, y) = tasks()
    held_x, held_y = x[-held_out:], y[-held_out:]
    model = MLP(2, width)
    begun = starts(model, source, steps, seeds)
    errors = {
        name: np.stack(
            [
                study.errors(
                    model, study.fit(model, of, x[:b], y[:b], steps), held_x, held_y
                )
                for b in budgets
            ]
        )
        for name, of in begun.items()
    }
    gains = errors["random"] - errors["pre-trained"]
    shrunk = errors["random"][-1] - errors["shrunk and perturbed"][-1]

    def said(i: int) -> str:
        each = ", ".join(f"{name} {v[i].mean():.1%}" for name, v in errors.items())
        return f"{each}; gain of pre-trained {_with_error(gains[i])}"

    claims = [
        Claim(
            f"Test error on digits 5 to 9, {budgets[0]} labels, weights of 0 to 4",
            "features of a related task help where labels are few",
            said(0),
            bool(gains[0].mean() > 2 * _error(gains[0])),
        ),
        Claim(
            f"The same, {budgets[-1]} labels",
            "helps less, the more labels there are",
            said(-1),
            bool(abs(gains[-1].mean()) < gains[0].mean()),
        ),
        Claim(
            f"Shrunk to 0.6 and perturbed by 0.01, {budgets[-1]} labels",
            "as good as a random start (Ash and Adams, 2020, for one task)",
            f"gain over random {_with_error(shrunk)}",
            bool(shrunk.mean() > -2 * _error(shrunk)),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, values) in zip(COLORS, errors.items(), strict=False):
            study.band(axes, budgets, values.T, color, name)
        axes.set(xlabel="labels", ylabel="test error", xscale="log")

    return Found(claims, draw)


def _error(values: np.ndarray) -> float:
    """The standard error of a mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def _with_error(values: np.ndarray) -> str:
    return f"{values.mean():.1%} ± {_error(values):.1%}"


STUDY = Study(
    "few_labels",
    "Few labels, weights of another task against random ones",
    "a question of practice, not a paper's; two relu layers on 8x8 digits, five "
    "classes to learn from first and five others to test; a fresh readout; one rate "
    "of Adam, all layers trained.",
    {
        "full": {
            "width": 256,
            "budgets": (10, 30, 100, 300, 590),
            "steps": 600,
            "seeds": 16,
            "held_out": 300,
        },
        "quick": {
            "width": 64,
            "budgets": (10, 100, 590),
            "steps": 200,
            "seeds": 8,
            "held_out": 300,
        },
        "smoke": {
            "width": 8,
            "budgets": (10, 20),
            "steps": 3,
            "seeds": 2,
            "held_out": 50,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
