"""Functions of entries at the same place of several arrays."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from jaxinit.moments.law import (
    Law,
    Source,
    binned,
    discrete,
    normal,
    points,
    with_sources,
)
from jaxinit.moments.pairs import alike

# Values on a grid, at most; beyond, a law is reduced to one variable.
_GRID = 2**18


def combined(function: Callable[..., np.ndarray], laws: Sequence[Law]) -> Law:
    """A function of entries at the same place of several arrays."""
    aligned = _lifted(_frozen(list(laws)))
    aligned = _small_enough(aligned)
    merged: dict[Hashable, tuple[Source, frozenset[int], np.ndarray | None]] = {}
    for law in aligned:
        for source, spread, codes in zip(
            law.sources, law.spread, law.codes, strict=True
        ):
            if source.key in merged:
                other = merged[source.key][0].alike
                if other != source.alike and not math.isnan(source.alike):
                    source = replace(source, alike=math.nan)
                spread = spread | merged[source.key][1]
                codes = codes if codes is not None else merged[source.key][2]
            merged[source.key] = (source, spread, codes)
    order = list(merged)
    arrays = []
    for law in aligned:
        mine = [source.key for source in law.sources]
        turned = np.transpose(
            law.values, [mine.index(key) for key in order if key in mine]
        )
        sizes = [len(merged[k][0].weights) if k in mine else 1 for k in order]
        arrays.append(turned.reshape(sizes))
    values = function(*arrays)
    full = tuple(len(merged[key][0].weights) for key in order)
    values = np.broadcast_to(values, np.broadcast_shapes(values.shape, full))
    sources, spreads, codes_ = (
        zip(*merged.values(), strict=True) if merged else ((),) * 3
    )
    return Law(values, sources, spreads, codes_)


def plus(first: Law, second: Law, sign: float = 1.0) -> Law:
    """The sum or difference; of independent normal variables, again one variable."""
    one, two = _frozen([first, second])
    if (
        one.is_normal
        and two.is_normal
        and one.spread == two.spread
        and one.sources[0].key != two.sources[0].key
        and not (one.sources[0].of or two.sources[0].of)
    ):
        joined = normal(
            one.mean + sign * two.mean,
            one.variance + two.variance,
            (),
            spread=one.spread[0],
            alike=_alike_of_sum(one, two),
        )
        places = _places_of_sum(one, two)
        return with_sources(joined, lambda s: replace(s, places=places))
    return combined(lambda a, b: a + b if sign > 0 else a - b, [one, two])


def _alike_of_sum(one: Law, two: Law) -> float:
    parts = [(law.variance, law.sources[0].alike) for law in (one, two)]
    return sum(v * a for v, a in parts) / sum(v for v, _ in parts)


def _places_of_sum(one: Law, two: Law) -> np.ndarray | None:
    parts = [(law.variance, law.sources[0].places) for law in (one, two)]
    known = {places.shape for _, places in parts if places is not None}
    if len(known) != 1:
        return None
    (v, p), (w, q) = parts
    here, there = (np.ones(1) if x is None else x for x in (p, q))
    return np.asarray((v * here + w * there) / (v + w))


def collapsed(law: Law) -> Law:
    """The same law as a function of one new variable."""
    if not law.sources:
        return law
    values, weights = binned(*points(law))
    spread = frozenset[int]().union(*law.spread)
    of = frozenset[Hashable]().union(*(s.of for s in law.sources))
    # The shape is not needed where the axes are given.
    return discrete(values, weights, (), spread, of, alike(law))


def _frozen(laws: list[Law]) -> list[Law]:
    """Sums beside their own summands, at their mean."""
    result, over = [], set[Source]()
    for number, law in enumerate(laws):
        beside = frozenset[Hashable]().union(
            *(
                source.origins
                for i, other in enumerate(laws)
                if i != number
                for source in other.sources
            )
        )
        result.append(_without(law, beside))
        over |= {s for s in law.sources if s.samples and s.of & beside}
    return [_centered(law, over) for law in result] if over else result


def _centered(law: Law, over: set[Source]) -> Law:
    """What was centered and scaled by sums over its samples: these then add up to 0.

    Two of n numbers with the sum 0 have the correlation -1/(n-1).
    """
    counts = {s.samples for s in over}
    count = counts.pop() if len(counts) == 1 and law.is_normal else math.inf
    same = -1 / (count - 1) if math.isfinite(count) else math.nan
    of = frozenset[Hashable]().union(*(s.of for s in over))
    return replace(
        law,
        sources=tuple(
            replace(s, alike=same) if s.origins & of else s for s in law.sources
        ),
    )


def _without(law: Law, summands: frozenset[Hashable] | None) -> Law:
    """A law with sums at their mean: those of ``summands``, or all."""
    for axis in reversed(range(len(law.sources))):
        of = law.sources[axis].of
        if of if summands is None else of & summands:
            keep = [i for i in range(len(law.sources)) if i != axis]
            law = Law(
                np.take(law.values, 0, axis=axis),
                tuple(law.sources[i] for i in keep),
                tuple(law.spread[i] for i in keep),
                tuple(law.codes[i] for i in keep),
            )
    return law


def _lifted(laws: list[Law]) -> list[Law]:
    """Variables that others refine, replaced by these."""
    finer = {
        source.parent: source
        for law in laws
        for source in law.sources
        if source.parent is not None
    }
    result = []
    for law in laws:
        for axis, source in enumerate(law.sources):
            fine = finer.get(source.key)
            if fine is None or fine.lifts is None:
                continue
            sources, codes = list(law.sources), list(law.codes)
            old, new = codes[axis], fine.codes
            alike = old is not None and new is not None and old.shape == new.shape
            sources[axis], codes[axis] = fine, new if alike else None
            law = Law(
                np.take(law.values, fine.lifts, axis=axis),
                tuple(sources),
                law.spread,
                tuple(codes),
            )
        result.append(law)
    return result


def _small_enough(laws: list[Law]) -> list[Law]:
    """Laws whose product of variables is not too large.

    If it is, sums are as good as constant, and then the largest laws forget of which
    variables they are functions.
    """

    def size() -> int:
        sources = {s.key: len(s.weights) for law in laws for s in law.sources}
        return math.prod(sources.values())

    if size() > _GRID:
        laws = [_without(law, None) for law in laws]
    while size() > _GRID:
        several = [i for i, law in enumerate(laws) if len(law.sources) > 1]
        if not several:
            break
        largest = max(several, key=lambda i: laws[i].values.size)
        laws = [collapsed(x) if i == largest else x for i, x in enumerate(laws)]
    return laws
