"""Huang et al. 2020, T-Fixup: transformers without LayerNorm and without warm-up.

python -m examples.papers.huang_2020_t_fixup [--quick]
"""

import numpy as np
import optax

import jaxinit
from examples.deep_transformer import Transformer, windows
from examples.papers import study
from examples.papers.study import Claim, Found, Study


def measure(blocks: int, width: int, length: int, steps: int, seeds: int) -> Found:
    schemes = {"Xavier": jaxinit.glorot_uniform(), "T-Fixup": jaxinit.t_fixup()}
    inputs, targets = windows(length)
    result = jaxinit.race(
        Transformer(blocks, width),
        (np.asarray(inputs), np.asarray(targets)),
        schemes=schemes,
        optimizer=optax.adam,
        learning_rates=[3e-4, 3e-3],
        steps=steps,
        seeds=seeds,
        batch_size=16,
        solutions=0,
        diagnose=False,
    )
    xavier, fixup = (study.share(result, name) for name in schemes)
    losses = [study.final(result, name) for name in schemes]
    claims = [
        Claim(
            f"{blocks} blocks without LayerNorm, Adam without warm-up, under T-Fixup",
            "trains, and to a better result than with both",
            f"{fixup:.0%} of runs train at its better rate, loss {losses[1]:.3f}",
            fixup > 0.5,
        ),
        Claim(
            "The same under Xavier's kernels",
            "does not train",
            f"{xavier:.0%} of runs train at its better rate, loss {losses[0]:.3g}",
            xavier < 0.5,
        ),
    ]
    return Found(claims, lambda axes: study.draw_losses(axes, result))


STUDY = Study(
    "huang_2020_t_fixup",
    "Huang, Perez, Ba and Volkovs, Improving Transformer Optimization Through Better "
    "Initialization, 2020",
    "a small decoder over the bytes of one text in place of translation; whether the "
    "result is better than with LayerNorm and warm-up is not measured.",
    {
        "full": {"blocks": 18, "width": 64, "length": 32, "steps": 200, "seeds": 2},
        "quick": {"blocks": 18, "width": 32, "length": 16, "steps": 60, "seeds": 2},
        "smoke": {"blocks": 2, "width": 16, "length": 8, "steps": 10, "seeds": 1},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
