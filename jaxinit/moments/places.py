"""Where a convolution's outputs are large: fewer of its taps meet data at a border.

Norms over positions leave that as it is, and the next convolution meets the middle of
an image with more of its taps than the border.
"""

import itertools
import math

import numpy as np

from jaxinit.moments.law import Law
from jaxinit.moments.slopes import by_deviation
from jaxinit.program import versions


def terms_by_place(
    equation: versions.Equation, met: Law, terms: float
) -> tuple[float, np.ndarray | None]:
    """How many products a convolution's outputs sum, by the size of what they meet.

    Args:
      equation: the convolution.
      met: the law of its first operand.
      terms: the mean number of products with data.

    Returns:
      The mean number, and the relative variance of outputs by place.
    """
    params = equation.params
    numbers, steps = params["dimension_numbers"], params["window_strides"]
    left, right = (var.aval.shape for var in equation.invars[:2])
    after = equation.outvars[0].aval.shape
    if any(n != 1 for n in params["lhs_dilation"]):
        return terms, None
    sizes = _sizes(met, left)
    if sizes is None and not any(n for pair in params["padding"] for n in pair):
        return terms, None
    lengths = [left[a] for a in numbers.lhs_spec[2:]]
    inside = np.ones(lengths)
    if sizes is not None:
        turned = np.transpose(sizes, numbers.lhs_spec)
        if turned.shape[:2] != (1, 1):
            return terms, None
        inside = inside * turned[0, 0]
    taps = [range(right[a]) for a in numbers.rhs_spec[2:]]
    outputs = [after[a] for a in numbers.out_spec[2:]]
    found = np.zeros(outputs)
    for tap in itertools.product(*taps):
        part, out = [], []
        for axis, t in enumerate(tap):
            start = t * params["rhs_dilation"][axis] - params["padding"][axis][0]
            place = start + np.arange(outputs[axis]) * steps[axis]
            met_by = np.flatnonzero((place >= 0) & (place < lengths[axis]))
            part.append(place[met_by])
            out.append(met_by)
        found[np.ix_(*out)] += inside[np.ix_(*part)]
    mean = float(found.mean())
    if not mean > 0:
        return terms, None
    shape = [1] * len(after)
    for axis, n in zip(numbers.out_spec[2:], outputs, strict=True):
        shape[axis] = n
    order = np.argsort(numbers.out_spec[2:])
    places = np.transpose(found / mean, order).reshape(shape)
    return right[numbers.rhs_spec[1]] * mean, places


def _sizes(law: Law, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mean square of a law's entries by place, relatively; ``None`` if alike."""
    found = None
    for source in law.sources:
        places = source.places
        if places is None or source.nodes is None or places.ndim != len(shape):
            continue
        if any(n not in (1, m) for n, m in zip(places.shape, shape, strict=True)):
            continue
        power = by_deviation(law, source)
        if math.isfinite(power):
            found = places**power * (1.0 if found is None else found)
    return None if found is None else found / found.mean()
