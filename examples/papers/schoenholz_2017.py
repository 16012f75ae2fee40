"""Schoenholz et al. 2017: how deep a network trains follows how far correlations reach.

python -m examples.papers.schoenholz_2017 [--quick]
"""

import jax.numpy as jnp
import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits

VAR_B = 0.05


def scheme(var_w: float) -> jaxinit.schemes.Scheme:
    """Kernels of variance ``var_w / n`` and biases of variance ``VAR_B``."""
    return jaxinit.rules(
        [
            (
                jaxinit.role("weight"),
                jaxinit.variance_scaling(var_w, "fan_in", "normal"),
            ),
            (jaxinit.role("bias"), jaxinit.normal(VAR_B**0.5)),
        ]
    )


def measure(
    var_ws: tuple[float, ...],
    depths: tuple[int, ...],
    width: int,
    steps: int,
    seeds: int,
) -> Found:
    reach = jaxinit.theory.fixed_point(jnp.tanh, np.asarray(var_ws), VAR_B).xi_c
    trains = np.zeros((len(var_ws), len(depths)))
    for j, depth in enumerate(depths):
        result = jaxinit.race(
            MLP(depth, width, jnp.tanh),
            digits(),
            schemes={f"{var_w:g}": scheme(var_w) for var_w in var_ws},
            optimizer=lambda rate: optax.rmsprop(rate),
            learning_rates=[3e-4, 1e-3],
            steps=steps,
            seeds=seeds,
            solutions=0,
            diagnose=False,
        )
        trains[:, j] = [study.share(result, name) for name in result.schemes]
    deepest = [
        max((d for d, s in zip(depths, row, strict=True) if s >= 0.5), default=0)
        for row in trains
    ]
    # The closest depth of the grid below 6 xi_c is what the paper leads one to expect.
    expected = [
        max((d for d in depths if d <= 6 * xi), default=0)
        if np.isfinite(xi)
        else depths[-1]
        for xi in reach
    ]
    rank = _rank_correlation(deepest, np.minimum(6 * reach, 1e3))
    claims = [
        Claim(
            f"Deepest tanh network that trains in {steps} steps, biases of variance "
            f"{VAR_B}",
            "about 6 xi_c, the depth over which correlations decay",
            "; ".join(
                f"variance {v:g}: 6 xi_c = {6 * xi:.0f}, trains to {d}"
                for v, xi, d in zip(var_ws, reach, deepest, strict=True)
            )
            + f" (of depths {', '.join(map(str, depths))})",
            all(
                depths.index(max(a, depths[0])) - depths.index(max(b, depths[0]))
                in (-1, 0, 1)
                for a, b in zip(deepest, expected, strict=True)
            ),
        ),
        Claim(
            "The trend: does the one rise and fall with the other?",
            "yes, deepest at the edge of chaos",
            f"rank correlation {rank:.2f}",
            bool(rank > 0.6),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        axes.plot(var_ws, deepest, "o", color=COLORS[0], label="deepest that trains")
        grid = np.linspace(min(var_ws), max(var_ws), 60)
        xi = jaxinit.theory.fixed_point(jnp.tanh, grid, VAR_B).xi_c
        axes.plot(
            grid, np.minimum(6 * xi, 2 * depths[-1]), color=COLORS[1], label="6 xi_c"
        )
        axes.set(xlabel="variance of weights times n", ylabel="layers", yscale="log")

    return Found(claims, draw)


def _rank_correlation(first: object, second: object) -> float:
    """Spearman's; 0 where one of the two does not vary."""
    a, b = (_ranks(values) - np.mean(_ranks(values)) for values in (first, second))
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size else 0.0


def _ranks(values: object) -> np.ndarray:
    """Ranks, equal values at their mean rank."""
    values = np.asarray(values, float)
    return np.array(
        [(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values]
    )


STUDY = Study(
    "schoenholz_2017",
    "Schoenholz, Gilmer, Ganguli and Sohl-Dickstein, Deep Information Propagation, "
    "2017",
    "digits of 8x8 pixels, width 64 in place of 300, a few hundred steps of rmsprop at "
    "the better of two rates, a coarse grid of depths.",
    {
        "full": {
            "var_ws": (1.0, 1.3, 1.76, 2.2, 3.0, 4.0),
            "depths": (8, 16, 32, 64, 128),
            "width": 64,
            "steps": 300,
            "seeds": 3,
        },
        "quick": {
            "var_ws": (1.0, 1.76, 3.0),
            "depths": (8, 32, 64),
            "width": 64,
            "steps": 100,
            "seeds": 2,
        },
        "smoke": {
            "var_ws": (1.0, 1.76),
            "depths": (8,),
            "width": 16,
            "steps": 10,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
