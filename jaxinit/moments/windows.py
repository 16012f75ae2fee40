"""Windows of a pooling: which there are, and how often they meet each entry."""

import math

import numpy as np

from jaxinit.program import versions


def is_plain(equation: versions.Equation) -> bool:
    """Whether neither the windows nor what they lie on has gaps."""
    return all(
        n == 1
        for name in ("base_dilation", "window_dilation")
        for n in equation.params[name]
    )


def overlap(equation: versions.Equation) -> bool:
    sizes, steps = (
        equation.params[name] for name in ("window_dimensions", "window_strides")
    )
    return any(size > step for size, step in zip(sizes, steps, strict=True))


def covered(equation: versions.Equation) -> float:
    """In how many windows without gaps an entry is, on average."""
    params, counts = equation.params, list[float]()
    before, after = (v.aval.shape for v in (equation.invars[0], equation.outvars[0]))
    for axis, (low, _) in enumerate(params["padding"]):
        starts = np.arange(after[axis]) * params["window_strides"][axis] - low
        place = starts[:, None] + np.arange(params["window_dimensions"][axis])
        inside = (place >= 0) & (place < before[axis])
        counts.append(float(inside.sum()) / before[axis])
    return math.prod(counts)
