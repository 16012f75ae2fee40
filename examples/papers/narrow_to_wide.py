"""Does a ranking of initializations on a narrow model, or a short run, carry over?

python -m examples.papers.narrow_to_wide [--quick]
"""

import math
from typing import Any

import numpy as np
import optax

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, MLP, Claim, Found, Study
from jaxinit.train.datasets import digits

CHANCE = math.log(10)
# A difference paired over seeds counts if it is as many standard errors from 0.
ERRORS = 3.0


def at_best_rate(losses: np.ndarray) -> np.ndarray:
    """Final losses at each scheme's best rate, none above chance.

    Args:
      losses: ``(schemes, rates, seeds, steps)``.

    Returns:
      ``(schemes, seeds)``; the means over the last tenth of the steps.
    """
    finals = losses[..., -max(losses.shape[-1] // 10, 1) :].mean(-1)
    finals = np.minimum(np.nan_to_num(finals, nan=np.inf), CHANCE)
    best = np.median(finals, axis=-1).argmin(-1)
    return finals[np.arange(len(finals)), best]


def order(scores: np.ndarray) -> np.ndarray:
    """For each pair of schemes 1 if the first is better beyond doubt, -1 if worse.

    Args:
      scores: losses ``(schemes, seeds)``.

    Returns:
      ``(schemes, schemes)``; 0 where it cannot be told.
    """
    differences = scores[None] - scores[:, None]
    mean = differences.mean(-1)
    error = differences.std(-1, ddof=1) / math.sqrt(scores.shape[-1])
    return np.where(abs(mean) > ERRORS * error, np.sign(mean), 0).astype(int)


def carried(before: np.ndarray, after: np.ndarray) -> tuple[str, bool]:
    """What became of the decided pairs, and whether some stay and none turns."""
    pairs = np.triu(before != 0, 1)
    stay = int((pairs & (after == before)).sum())
    turn = int((pairs & (after == -before)).sum())
    decided = int(pairs.sum())
    said = (
        f"of {decided} pairs told apart, {stay} stay, {decided - stay - turn} can no "
        f"longer be told, {turn} turn"
    )
    return said, stay > 0 and not turn


def measure(
    depth: int,
    widths: tuple[int, ...],
    rates: tuple[float, ...],
    short: int,
    steps: int,
    seeds: int,
) -> Found:
    narrow, wide = widths[0], widths[-1]
    fixed = "one deviation for all widths"
    schemes = {
        "He": jaxinit.he_normal(),
        "LeCun": jaxinit.lecun_normal(),
        "orthogonal": jaxinit.orthogonal(math.sqrt(2)),
        "U(±1/sqrt n)": jaxinit.variance_scaling(1 / 3, "fan_in", "uniform"),
        fixed: jaxinit.normal(math.sqrt(2 / wide)),  # He's at the widest
    }
    how: dict[str, Any] = {
        "learning_rates": list(rates),
        "steps": steps,
        "seeds": seeds,
    }
    races = [
        jaxinit.race(
            MLP(depth, width),
            digits(),
            schemes=schemes,
            optimizer=optax.adam,
            solutions=0,
            diagnose=False,
            **how,
        )
        for width in widths
    ]
    transfer = jaxinit.learning_rate_transfer(
        lambda width: MLP(depth, width),
        widths,
        digits(),
        optimizer=optax.adam,
        parametrizations={"He": lambda _: (schemes["He"], optax.adam)},
        **how,
    )
    scores = [at_best_rate(study.finished(race).losses) for race in races]
    at_start = at_best_rate(races[0].losses[..., :short])
    first, last = order(scores[0]), order(scores[-1])
    fan = len(schemes) - 1  # all but the last know the fan
    kept, keeps = carried(first[:fan, :fan], last[:fan, :fan])
    longer, lasts = carried(order(at_start)[:fan, :fan], first[:fan, :fan])
    ends = np.median([scores[0], scores[-1]], axis=-1)
    (slope,) = transfer.slopes()
    names = list(schemes)[:fan]
    claims = [
        Claim(
            f"Schemes by final loss at their best rates, width {narrow} to {wide}",
            "assumed whenever one is chosen on a small model",
            f"{kept} ({_listed(names, ends[0])} at width {narrow}; "
            f"{_listed(names, ends[1])} at width {wide})",
            keeps,
        ),
        Claim(
            f"The same at width {narrow}, {short} steps to {steps}",
            "assumed whenever one is chosen by a short run",
            f"{longer} ({_listed(names, np.median(at_start, -1))} after {short} steps)",
            lasts,
        ),
        Claim(
            f"He's deviation at width {wide} taken for all widths, against He's",
            "worse where it does not fit, level where it does",
            f"{ends[0, fan]:.3f} against {ends[0, 0]:.3f} at width {narrow}, "
            f"{ends[1, fan]:.3f} against {ends[1, 0]:.3f} at width {wide}",
            bool(first[0, fan] == 1 and last[0, fan] == 0),
        ),
        Claim(
            f"Slope of log2 best rate on log2 width, {narrow} to {wide}, Adam, He",
            "negative for the usual parametrization (Yang et al., 2022, figure 1)",
            f"{slope.value:.2f}, from {slope.low:.2f} to {slope.high:.2f}",
            slope.high < 0,
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for i, name in enumerate(schemes):
            values = np.stack([score[i] for score in scores], -1)
            study.band(axes, widths, values, COLORS[i], name)
        axes.set(xlabel="width", ylabel="final loss at the best rate")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")

    return Found(claims, draw)


def _listed(names: list[str], values: np.ndarray) -> str:
    return ", ".join(f"{n} {v:.3f}" for n, v in zip(names, values, strict=False))


STUDY = Study(
    "narrow_to_wide",
    "Narrow to wide, whether a ranking of initializations carries over",
    "a question of practice, not a paper's; dense relu layers on 8x8 digits, training "
    "loss, one optimizer, six to eight times the width. Two schemes are "
    f"told apart if the mean of their paired differences is {ERRORS:g} standard errors "
    "from 0.",
    {
        "full": {
            "depth": 8,
            "widths": (32, 64, 128, 256),
            "rates": tuple(2.0**-k for k in range(13, 5, -1)),
            "short": 20,
            "steps": 150,
            "seeds": 8,
        },
        "quick": {
            "depth": 8,
            "widths": (16, 96),
            "rates": tuple(2.0**-k for k in range(10, 5, -1)),
            "short": 15,
            "steps": 60,
            "seeds": 5,
        },
        "smoke": {
            "depth": 2,
            "widths": (4, 8),
            "rates": (1e-3, 1e-2),
            "short": 2,
            "steps": 4,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
