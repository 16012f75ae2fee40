"""Ainsworth et al. 2023: are two solutions the same, up to the order of units?

python -m examples.papers.ainsworth_2023 [--quick]
"""

import numpy as np
import optax
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study
from jaxinit.train.datasets import digits


def measure(widths: tuple[int, ...], steps: int, seeds: int) -> Found:
    plain, matched, losses = [], [], []
    for width in widths:
        model = nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
        result = jaxinit.race(
            model,
            digits(),
            schemes={"He": jaxinit.he_normal(), "orthogonal": jaxinit.orthogonal()},
            optimizer=optax.adam,
            learning_rates=[3e-3],
            steps=steps,
            seeds=seeds,
            solutions=seeds,
            diagnose=False,
        )
        barriers = [pair["barrier"] for pair in result.pairs]
        lower = [pair["matched_barrier"] for pair in result.pairs]
        plain.append(float(np.median(barriers)))
        matched.append(float(np.median(lower)))
        losses.append([study.final(result, name) for name in result.schemes])
    apart = max(abs(a - b) for a, b in losses)
    claims = [
        Claim(
            "The largest rise of the loss on the line between two solutions",
            "a barrier: they lie in different places",
            ", ".join(
                f"{b:.3f} above (width {w})" for w, b in zip(widths, plain, strict=True)
            ),
            min(plain) > 0.02,
        ),
        Claim(
            "The same after the hidden units of one are matched to the other's",
            "much lower, and lower the wider the network",
            ", ".join(
                f"{b:.3f} above (width {w})"
                for w, b in zip(widths, matched, strict=True)
            ),
            all(m < 0.5 * p for m, p in zip(matched, plain, strict=True))
            and matched[-1] <= matched[0],
        ),
        Claim(
            "Final losses of the two initializations",
            "the same: places differ, not how good they are",
            "; ".join(
                f"{a:.3f} (He), {b:.3f} (orthogonal) at width {w}"
                for w, (a, b) in zip(widths, losses, strict=True)
            ),
            apart < 0.05,
        ),
    ]

    def draw(axes: study.Axes) -> None:
        axes.plot(widths, plain, "o-", color=COLORS[1], label="as they are")
        axes.plot(widths, matched, "o-", color=COLORS[0], label="units matched")
        axes.set(xlabel="width", ylabel="barrier of the loss", xscale="log")

    return Found(claims, draw)


STUDY = Study(
    "ainsworth_2023",
    "Ainsworth, Hayase and Srinivasa, Git Re-Basin: Merging Models modulo Permutation "
    "Symmetries, 2023",
    "one hidden layer on 8x8 digits, in place of MLPs, VGG and ResNets; training loss.",
    {
        "full": {"widths": (32, 128, 512), "steps": 400, "seeds": 4},
        "quick": {"widths": (32, 256), "steps": 150, "seeds": 3},
        "smoke": {"widths": (8,), "steps": 10, "seeds": 2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
