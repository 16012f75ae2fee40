"""A row of the table of all initializers."""

from dataclasses import dataclass
from typing import Literal

from jax.sharding import PartitionSpec

from jaxinit.initializers import Initializer

_BY_BOTH = PartitionSpec("x", "y")


@dataclass(frozen=True)
class Member:
    """An initializer with what is promised of it.

    ``name`` is a public name of ``jaxinit.initializers``, with a variant in brackets
    where one name has several rows: ``"orthogonal[batch]"``.
    """

    name: str
    init: Initializer

    shape: tuple[int, ...] = (24, 16)
    """A shape that it supports. Every new shape compiles, so keep to this one."""

    spec: PartitionSpec = _BY_BOTH
    """How ``shape`` is sharded over a mesh of x=4 by y=2."""

    empty: tuple[int, ...] | None = (0, 16)
    """A shape without elements, or None if there is none that it supports."""

    std: float | None = None
    """The standard deviation of its samples over ``std_shape``, if the law has one."""

    complex_std: float | None = None
    """That of its complex samples, where it is another."""

    mean: float = 0.0
    """Their mean."""

    kurtosis: float = 3.0
    """Their fourth central moment over the variance squared, an upper bound."""

    std_shape: tuple[int, ...] = (256, 128)
    """Where the moments are taken."""

    random: bool = True
    """Whether the values depend on the key."""

    is_complex: bool = True
    """Whether complex dtypes are supported; otherwise they must be refused."""

    integers: bool = False
    """Whether integer and bool dtypes are supported; otherwise they are refused."""

    elementwise: bool = False
    """Whether it promises that no device ever holds the whole of a sharded array."""

    layers: Literal["any", "matrix", "convolution", "none"] = "any"
    """The Flax layers whose kernel shapes it supports."""

    @property
    def public_name(self) -> str:
        """The name without the variant."""
        return self.name.partition("[")[0]
