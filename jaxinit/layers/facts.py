"""What is known of a value while a program is read: its color and its ancestry.

A value is a *parameter value* (computed from parameter leaves alone), a *data value*
(it depends on the inputs), or neither (constants, state, random numbers).
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxinit.layers.factors import Chain
from jaxinit.program.axes import Layout
from jaxinit.program.paths import Location
from jaxinit.program.primitives import LINEAR

_STRAIGHT_STEPS = LINEAR | {"dropout"}


class Unary(NamedTuple):
    """A value that is an elementwise function of one event's output.

    Attributes:
      event: that event.
      steps: names of the primitives or functions applied, in order.
      at: where the value is computed.
      real: whether it is a real number; a comparison is not.
    """

    event: int
    steps: tuple[str, ...]
    at: Location
    real: bool = True

    @property
    def nonlinear(self) -> bool:
        return any(step not in _STRAIGHT_STEPS for step in self.steps)


class Fact(NamedTuple):
    """All that is known of one value.

    Attributes:
      data: whether it depends on the model's inputs.
      params: for a parameter value, the leaves that it is computed from.
      layout: set when it is parameter leaves, rearranged.
      up: for a data value, the events nearest upstream.
      of: the event whose output it is, up to layout and constant factors.
      unary: set when it is an elementwise function of an event's output.
      statistic: whether it is computed from reductions of data alone.
      rooted: whether it is a root of such a statistic, or was multiplied with one.
      scales: an event whose parameter scaled a statistic and waits to be applied.
      source: the input leaf that an integer value was taken from.
      latents: leaves that kernels among the parameters were applied to, which so may
        be learned data; the layout is then that of the last kernel's outputs.
      chain: for a product of kernels and constants, which kernels it is made of.
      masked: whether something was added that no parameter made, as masks are.
      one_hot: the input leaf whose integers it marks with a one each, -1 if unknown.
        Of a constant, whether it is the identity matrix.
      spread: the axes along which it has just been repeated.
      part: which of how many equal blocks along the last axis of a value it is.
      spectrum: for a parameter value, over how many points it was Fourier transformed.
    """

    data: bool = False
    params: frozenset[int] = frozenset()
    layout: Layout | None = None
    up: frozenset[int] = frozenset()
    of: int | None = None
    unary: Unary | None = None
    statistic: bool = False
    rooted: bool = False
    scales: int | None = None
    source: int | None = None
    spectrum: int = 1
    one_hot: int | None = None
    spread: tuple[int, ...] = ()
    latents: frozenset[int] = frozenset()
    masked: bool = False
    chain: Chain | None = None
    part: tuple[int, int] | None = None

    @property
    def is_param(self) -> bool:
        return bool(self.params) and not self.data

    @property
    def base(self) -> int | None:
        """The event that it is an elementwise function of, if any."""
        return self.unary.event if self.unary else self.of


NEITHER = Fact()


def union(facts: Sequence[Fact]) -> Fact:
    """What is known of a value computed from ``facts`` in some unknown way."""
    data = any(f.data for f in facts)
    params: frozenset[int] = frozenset().union(*(f.params for f in facts))
    up: frozenset[int] = frozenset().union(*(f.up for f in facts))
    spectrum = 1 if data else max((f.spectrum for f in facts), default=1)
    params = frozenset() if data else params
    latents = frozenset[int]().union(*(f.latents for f in facts if not data))
    masked = not data and any(f.masked for f in facts)
    return Fact(data, params, up=up, spectrum=spectrum, latents=latents, masked=masked)
