"""What may be known of a value, and what is known of the whole network so far."""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jaxinit.moments import law as laws
from jaxinit.moments.law import Law, points, view
from jaxinit.program import primitives, versions
from jaxinit.program.paths import Path
from jaxinit.roles.network import Network


@dataclass(frozen=True, eq=False)
class Known:
    """A value that depends neither on data nor on what is still to be chosen."""

    array: np.ndarray

    @functools.cached_property
    def law(self) -> Law:
        """It as a variable: the same one, however often it is used."""
        return laws.known(self.array, laws.fresh())


class Weight(NamedTuple):
    """Kernels of mean zero whose variances are chosen when data meet them.

    Attributes:
      of: the leaves, and which of their stacked layers, outermost first.
      factor: what the model multiplies them by.
      shape: of the value.
    """

    of: tuple[tuple[int, tuple[int, ...]], ...]
    factor: float
    shape: tuple[int, ...]


class Key:
    """A random key, or what it is made of."""


class Unknown:
    """Nothing is known of a value."""


KEY, UNKNOWN = Key(), Unknown()
Value: TypeAlias = Known | Law | Weight | Key | Unknown
Chosen: TypeAlias = dict[tuple[int, ...], float]


class Rearranged(Exception):
    """Weights are not used as they are: the model computes its kernels from them."""

    def __init__(self, leaves: frozenset[int]) -> None:
        super().__init__(leaves)
        self.leaves = leaves


Watch: TypeAlias = Callable[[Path, int, Sequence[Value]], Sequence[Value]]


class Product(NamedTuple):
    """One layer's product, as the moments of its output need it.

    Attributes:
      at: the equation.
      operand: the law of what the weight meets.
      variance: of the weight's entries.
      terms: the number of products in each output.
      sizes: the numbers of entries of what it meets and of its output.
      std: of the output.
    """

    at: tuple[Path, int | None]
    operand: Law
    variance: float
    terms: float
    sizes: tuple[int, int]
    std: float


@dataclass
class Context:
    """The network, and what was found in it.

    Attributes:
      network: the network.
      chosen: for each weight, and each of its stacked layers, its variance.
      unknown: variables whose law nobody knows, by the input that they are.
      last: the name of the weight that data met last, for messages.
      watch: is told of the results of each equation, by where it is, and says what to
        go on with; or ``None``.
      path: the way in to the program that is read.
      at: the equation of it that is read; ``None`` outside of all programs.
      inside: whether products with the zeros of a padding are left out.
      products: for each layer's output, by its variable: what was summed.
      batch: the number of samples; 0 if nobody asks how alike they are.
      stops: why values are not known, if reading goes on behind these; ``None`` if it
        is to raise.
    """

    network: Network
    chosen: dict[int, Chosen] = field(default_factory=dict)
    unknown: dict[Hashable, str] = field(default_factory=dict)
    last: str = ""
    watch: Watch | None = None
    path: Path = ()
    at: int | None = None
    inside: bool = False
    products: dict[Hashable, Product] = field(default_factory=dict)
    batch: int = 0
    stops: list[str] | None = None

    def variance(self, weight: Weight, fan_in: float, second_moment: float) -> float:
        """The variance of a kernel's entries; chosen now if it has none yet."""
        self.last = self.network.params[weight.of[0][0]].name
        known = []
        for leaf, index in weight.of:
            chosen = self.chosen.setdefault(leaf, {})
            if index not in chosen and not math.isfinite(second_moment):
                raise ValueError(
                    f"autoinit finds no finite second moment for what {self.last} is "
                    "multiplied with: something before it grows like an exponential. "
                    "Put a norm between, or use lsuv(), which looks at data."
                )
            if index not in chosen and second_moment * fan_in > 0:
                gain = weight.factor**2 * fan_in * second_moment
                if gain > 0:
                    chosen[index] = 1.0 / gain
            if index in chosen:
                known.append(chosen[index])
            if not chosen:
                del self.chosen[leaf]
        return weight.factor**2 * float(np.mean(known)) if known else 0.0

    def check_known(self, law: Law, equation: Any) -> None:
        """Raises if a law depends on integers that nobody knows the law of."""
        for source in law.sources:
            for key in source.origins | {source.key}:
                if key in self.unknown:
                    name = self.unknown[key]
                    raise ValueError(
                        f"autoinit does not know how {name}, an input of integers, is "
                        f"distributed, and {equation.primitive.name} computes with "
                        "it. Give the model real numbers there, or use lsuv(), which "
                        "looks at data."
                    )


def known(value: Any, dtype: Any = None) -> Value:
    """A concrete value, or a key."""
    if primitives.is_key(value):
        return KEY
    array = np.asarray(value, dtype)
    if primitives.is_float(array) and not np.issubdtype(array.dtype, np.inexact):
        array = array.astype(np.float32)  # a narrow format that NumPy does not know
    return Known(array)


def as_law(value: Value) -> Law:
    """Any value but a key as a law.

    Raises:
      Rearranged: for a weight.
      ValueError: if nothing is known.
    """
    if isinstance(value, Law):
        return value
    if isinstance(value, Weight):
        raise Rearranged(frozenset(leaf for leaf, _ in value.of))
    if isinstance(value, Unknown):
        raise ValueError("nothing is known of a value that decides what runs")
    assert isinstance(value, Known)
    return value.law


def chance_of(law: Law, number: int, count: int) -> float:
    """The probability of an index, clamped as ``cond`` clamps it."""
    values, weights = points(law)
    return float(np.sum(weights[np.clip(values.astype(int), 0, count - 1) == number]))


def first_slice(value: Value, index: int) -> Value:
    """An entry along the first axis, as a scan takes it."""
    if isinstance(value, Known):
        return Known(value.array[index])
    if isinstance(value, Weight):
        of = tuple((leaf, (*at, index)) for leaf, at in value.of)
        return Weight(of, value.factor, value.shape[1:])
    if isinstance(value, Law):
        law = view(value, ("step", index))
        spread = tuple(frozenset(a - 1 for a in axes if a > 0) for axes in law.spread)
        return Law(law.values, law.sources, spread, law.codes)
    return value


def no_rule(context: Context, equation: versions.Equation, why: str) -> ValueError:
    shapes = ", ".join(
        f"{v.aval.dtype}{list(v.aval.shape)}"
        if hasattr(v.aval, "dtype")
        else str(v.aval)
        for v in equation.invars
    )
    where = f" behind {context.last}" if context.last else ""
    return ValueError(
        f"autoinit cannot tell the moments of what {equation.primitive.name} makes of "
        f"{shapes}{where} in {context.network.traced.name}: {why}. Write that part "
        "with other operations, or use lsuv(), which looks at data."
    )
