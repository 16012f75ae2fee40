"""Reductions: sums, extremes and where they are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxinit.moments import layout
from jaxinit.moments.combine import combined
from jaxinit.moments.law import Law, discrete
from jaxinit.moments.mixtures import mixture, top
from jaxinit.moments.sums import largest, summed
from jaxinit.moments.values import Value
from jaxinit.program import versions


def _reduce(statistic: Callable[..., Law]) -> Callable[..., list[Value]]:
    def rule(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
        shape = equation.invars[0].aval.shape
        axes = equation.params["axes"]
        law = statistic(laws[0], {axis: shape[axis] for axis in axes})
        return [layout.without_axes(law, axes)]

    return rule


def _window(statistic: Callable[..., Law]) -> Callable[..., list[Value]]:
    def rule(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
        window = equation.params["window_dimensions"]
        counts = {axis: n for axis, n in enumerate(window) if n > 1}
        plain = Law(
            laws[0].values,
            laws[0].sources,
            laws[0].spread,
            (None,) * len(laws[0].codes),
        )
        law = statistic(plain, counts)
        # Entries of neighboring windows are taken to vary independently.
        return [_everywhere(law, laws[0])]

    return rule


def _everywhere(law: Law, before: Law) -> Law:
    """A law behind windows varies along the axes that it varied along before."""
    all_axes = frozenset[int]().union(*before.spread)
    old = before.keys
    spread = tuple(
        axes if source.key in old else all_axes
        for source, axes in zip(law.sources, law.spread, strict=True)
    )
    return Law(law.values, law.sources, spread, law.codes, law.sum)


def _negated(law: Law) -> Law:
    return combined(np.negative, [law])


def _smallest(law: Law, counts: dict[int, int]) -> Law:
    return _negated(largest(_negated(law), counts))


def _arg(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    """The place of an extreme: all are alike."""
    del laws
    shape = equation.invars[0].aval.shape
    size = math.prod(shape[axis] for axis in equation.params["axes"])
    return [_place(size, equation.outvars[0].aval)]


def _top_k(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    values, places = (var.aval for var in equation.outvars)
    axis = equation.params.get("axis", -1)
    size = equation.invars[0].aval.shape[axis]
    count = values.shape[axis]
    return [top(laws[0], size, count, values.shape), _place(size, places)]


# Of so many sums of first entries, evenly spaced, a running sum's law is made.
_SUMS = 16


def _running(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    """A sum of the first entries, of one as likely as of all."""
    shape, axis = equation.invars[0].aval.shape, equation.params["axis"]
    size = shape[axis]
    counts = np.unique(np.linspace(1, size, min(size, _SUMS)).astype(int))
    plain = replace(laws[0], codes=(None,) * len(laws[0].codes))
    sums = [(1.0, summed(plain, {axis: int(count)})) for count in counts]
    return [mixture(sums, shape)]


def _place(size: int, aval: Any) -> Law:
    numbers = np.unique(np.linspace(0, size - 1, min(size, 1024)).astype(aval.dtype))
    return discrete(numbers, np.full(len(numbers), 1 / len(numbers)), aval.shape)


RULES: dict[str, Callable[..., list[Value]]] = {
    "reduce_sum": _reduce(summed),
    "reduce_max": _reduce(largest),
    "reduce_min": _reduce(_smallest),
    "reduce_window_sum": _window(summed),
    "reduce_window_max": _window(largest),
    "reduce_window_min": _window(_smallest),
    "argmax": _arg,
    "argmin": _arg,
    "top_k": _top_k,
    "cumsum": _running,
}
