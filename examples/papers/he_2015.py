"""He et al. 2015: thirty rectified layers converge under He's kernels, not Xavier's.

python -m examples.papers.he_2015 [--quick]
"""

import optax

import jaxinit
from examples.papers import study
from examples.papers.study import MLP, Claim, Found, Study
from jaxinit.train.datasets import digits


def measure(depth: int, width: int, steps: int, seeds: int) -> Found:
    schemes = {"Xavier": jaxinit.glorot_normal(), "He": jaxinit.he_normal()}
    result = jaxinit.race(
        MLP(depth, width),
        digits(),
        schemes=schemes,
        optimizer=lambda rate: optax.sgd(rate, momentum=0.9),
        learning_rates=[0.001, 0.003, 0.01, 0.03],
        steps=steps,
        seeds=seeds,
        solutions=0,
        diagnose=False,
    )
    xavier, he = (study.share(result, name) for name in schemes)
    ends = [study.final(result, name) for name in schemes]
    claims = [
        Claim(
            f"{depth} rectified layers under Xavier's kernels",
            "learning stalls (figure 3)",
            f"{xavier:.0%} of runs train at the best of four rates, loss {ends[0]:.3f}",
            xavier < 0.5,
        ),
        Claim(
            "The same under He's kernels",
            "converges (figure 3)",
            f"{he:.0%} of runs train, loss {ends[1]:.3f}",
            he > 0.5,
        ),
    ]
    return Found(claims, lambda axes: study.draw_losses(axes, result))


STUDY = Study(
    "he_2015",
    "He, Zhang, Ren and Sun, Delving Deep into Rectifiers: Surpassing Human-Level "
    "Performance on ImageNet Classification, 2015",
    "dense layers of width 64 on 8x8 digits, in place of convolutions on ImageNet; a "
    "few hundred steps.",
    {
        "full": {"depth": 30, "width": 64, "steps": 500, "seeds": 8},
        "quick": {"depth": 30, "width": 64, "steps": 200, "seeds": 4},
        "smoke": {"depth": 30, "width": 32, "steps": 20, "seeds": 2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
