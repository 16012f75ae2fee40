"""Operations that put entries elsewhere, and what they leave of their laws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from jaxinit.moments.law import Law, view, with_sources
from jaxinit.moments.mixtures import mixture
from jaxinit.moments.values import Value
from jaxinit.program import versions
from jaxinit.program.axes import reshape_groups

Axes = frozenset[int]


def without_axes(law: Law, gone: Sequence[int]) -> Law:
    """A law of entries of which nothing varies along the axes ``gone``."""

    def moved(axes: Axes) -> Axes:
        return frozenset(a - sum(g < a for g in gone) for a in axes if a not in gone)

    def smaller(codes: np.ndarray | None) -> np.ndarray | None:
        if codes is None or any(codes.shape[a] != 1 for a in gone):
            return None
        return np.squeeze(codes, tuple(gone))

    return _rearranged(law, moved, smaller)


def _rearranged(
    law: Law,
    moved: Callable[[Axes], Axes],
    codes: Callable[[np.ndarray | None], np.ndarray | None],
) -> Law:
    return replace(
        law,
        sources=tuple(
            replace(s, places=None) if s.places is not None else s for s in law.sources
        ),
        spread=tuple(map(moved, law.spread)),
        codes=tuple(map(codes, law.codes)),
    )


def _transpose(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    order = list(equation.params["permutation"])
    return [
        _rearranged(
            laws[0],
            lambda axes: frozenset(order.index(a) for a in axes),
            lambda codes: None if codes is None else np.transpose(codes, order),
        )
    ]


def _broadcast(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    to = equation.params["broadcast_dimensions"]
    rank = len(equation.outvars[0].aval.shape)

    def placed(codes: np.ndarray | None) -> np.ndarray | None:
        if codes is None:
            return None
        sizes = [1] * rank
        for axis, n in zip(to, codes.shape, strict=True):
            sizes[axis] = n
        return codes.reshape(sizes)

    return [_rearranged(laws[0], lambda axes: frozenset(to[a] for a in axes), placed)]


def _squeeze(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    rank = len(equation.invars[0].aval.shape)
    return [without_axes(laws[0], [d % rank for d in equation.params["dimensions"]])]


def _reshape(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    before = equation.invars[0].aval.shape
    after = equation.outvars[0].aval.shape
    groups = reshape_groups(before, after)

    def moved(axes: Axes) -> Axes:
        return frozenset(
            k for into, out in groups if axes & set(into) for k in out if after[k] > 1
        )

    def reshaped(codes: np.ndarray | None) -> np.ndarray | None:
        if codes is None:
            return None
        full, sizes = list(codes.shape), [1] * len(after)
        for into, out in groups:
            if any(codes.shape[a] > 1 for a in into):
                for a in into:
                    full[a] = before[a]
                for k in out:
                    sizes[k] = after[k]
        return np.broadcast_to(codes, full).reshape(sizes)

    return [_rearranged(laws[0], moved, reshaped)]


def _part(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    """Some of the entries, or all in another order."""
    params, before = equation.params, equation.invars[0].aval.shape
    results: list[Value] = []
    for number, var in enumerate(equation.outvars):
        after = var.aval.shape
        touched = {i for i, n in enumerate(before) if after[i] != n}
        if equation.primitive.name in ("rev", "sort"):
            touched |= set(params.get("dimensions", (params.get("dimension"),)))
        law = laws[number if equation.primitive.name == "sort" else 0]
        if any(axes & touched for axes in law.spread):
            what = (
                equation.primitive.name,
                str(sorted(params.items(), key=str)),
                number,
            )
            law = view(law, what)
        kept = frozenset(i for i, n in enumerate(after) if n > 1)
        spread = tuple(axes & kept for axes in law.spread)
        results.append(replace(law, spread=spread))
    return results


def _gather(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    """Entries that are looked up, each with the law of the whole table."""
    shape = equation.outvars[0].aval.shape
    everywhere = frozenset(i for i, n in enumerate(shape) if n > 1)
    law = view(laws[0], ("gather", id(equation)))
    # Two samples read one entry if all that the places depend on is the same.
    same = math.prod(source.alike for index in laws[1:] for source in index.sources)
    law = with_sources(law, lambda s: replace(s, alike=s.alike * same))
    return [_rearranged(law, lambda axes: everywhere if axes else axes, lambda _: None)]


def _concatenate(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    sizes = [float(math.prod(var.aval.shape)) for var in equation.invars]
    shape = equation.outvars[0].aval.shape
    return [mixture(list(zip(sizes, laws, strict=True)), shape)]


def _unstack(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    axis = equation.params["axis"] % len(equation.invars[0].aval.shape)
    results: list[Value] = []
    for number, _ in enumerate(equation.outvars):
        law = laws[0]
        if any(axis in axes for axes in law.spread):
            law = view(law, ("unstack", axis, number))
        plain = replace(law, codes=tuple(_taken(c, axis, number) for c in law.codes))
        results.append(without_axes(plain, [axis]))
    return results


def _taken(codes: np.ndarray | None, axis: int, number: int) -> np.ndarray | None:
    if codes is None or codes.shape[axis] == 1:
        return codes
    return codes.take([number], axis)


def _stack(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    return [mixture([(1.0, law) for law in laws], equation.outvars[0].aval.shape)]


def _pad(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    return [_within(equation, laws[0], laws[1], 0)]


def _update(equation: versions.Equation, laws: Sequence[Law]) -> list[Value]:
    return [_within(equation, laws[1], laws[0], 1)]


def _within(equation: versions.Equation, inner: Law, outer: Law, operand: int) -> Law:
    """``inner`` in a part of the result, ``outer`` in the rest."""
    shape = equation.outvars[0].aval.shape
    size = math.prod(shape)
    part = min(math.prod(equation.invars[operand].aval.shape), size)
    if part == size:
        return inner
    return mixture([(float(part), inner), (float(size - part), outer)], shape)


RULES: dict[str, Callable[[versions.Equation, Sequence[Law]], list[Value]]] = {
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "slice": _part,
    "dynamic_slice": _part,
    "split": _part,
    "rev": _part,
    "sort": _part,
    "gather": _gather,
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "pad": _pad,
    "dynamic_update_slice": _update,
}
