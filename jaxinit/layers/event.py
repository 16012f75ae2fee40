"""The places where parameters meet data, and where data meets data."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jaxinit.layers.facts import Unary
from jaxinit.program.axes import Shape
from jaxinit.program.paths import Location, Path

Kind = Literal["layer", "join", "tap", "source"]


class Loop(NamedTuple):
    """A program that runs several times around an event.

    Attributes:
      kind: ``"layers"`` for a scan over stacked parameters, ``"steps"`` for a scan
        whose parameters stay the same, ``"while"`` for an unknown number of steps,
        ``"shards"`` for the devices of a ``shard_map``.
      path: the way in to the looping equation.
      length: how often it runs; 0 if unknown.
      reverse: whether the last index comes first.
    """

    kind: Literal["layers", "steps", "while", "shards"]
    path: Path
    length: int
    reverse: bool = False


class Place(NamedTuple):
    """Where an equation is.

    Attributes:
      at: its location.
      loops: the loops around it, outermost first.
    """

    at: Location
    loops: tuple[Loop, ...]


class Use(NamedTuple):
    """How an equation uses a weight: the real fans, and the leaf's axes behind them.

    Attributes:
      leaf: index of the parameter leaf.
      fan_in: number of products summed into each output; the mean over outputs for
        a strided transposed convolution.
      fan_out: number of outputs that each input reaches.
      in_axis, out_axis, batch_axis: axes of the leaf; all others are taps of a
        convolution. Empty where the leaf was reshaped beyond recognition.
      groups: into how many groups a convolution splits its channels; the output axis
        then numbers the outputs of all groups.
      behind: whether it takes what another weight of the same layer gives, with which
        it was multiplied before data met them.
    """

    leaf: int
    fan_in: int
    fan_out: int
    in_axis: tuple[int, ...]
    out_axis: tuple[int, ...]
    batch_axis: tuple[int, ...]
    groups: int = 1
    behind: bool = False


@dataclass(frozen=True)
class Event:
    """A layer, a join of two paths, a user's tap, or a source that data comes from.

    Attributes:
      kind: which of them.
      at: where its output is computed; for a source where data enters.
      operation: the primitive of its first equation.
      params: the parameter leaves that act in it, weights first.
      uses: the weights among them, with their fans.
      parents: the events nearest upstream.
      loops: the loops around it, outermost first.
      shape: the output's shape.
      dtype: the output's dtype.
      channels: the output's axes along which its parameter varies.
      skip: for a join, the events nearest upstream of the shortcut.
      branch: for a join, those of what is added to it.
      activation: the elementwise function that is applied to the output, if any.
      label: for a tap, its name.
      conditional: whether it may not run at all (a branch of ``cond``).
      start: where its first equation is.
      shortcut: for a join with a skip, which of its two operands that is.
      part: for a join of equal blocks of layers' outputs, which of how many these are.
      masked: whether the output may hold a mask's numbers, which are no statistics.
      copies: how many devices of a ``shard_map`` hold the same output.
      inside: for a function that is taken as a whole, where in it weights are used.
      above: the numbers of all events upstream of it and its own, as bits.
    """

    kind: Kind
    at: Location
    start: Location
    operation: str = ""
    params: tuple[int, ...] = ()
    uses: tuple[Use, ...] = ()
    parents: frozenset[int] = frozenset()
    loops: tuple[Loop, ...] = ()
    shape: Shape = ()
    dtype: str = ""
    channels: tuple[int, ...] = ()
    skip: frozenset[int] = frozenset()
    branch: frozenset[int] = frozenset()
    activation: Unary | None = None
    label: str = ""
    conditional: bool = False
    shortcut: int | None = None
    inside: tuple[Location, ...] = ()
    copies: int = 1
    masked: bool = False
    part: tuple[int, int] | None = None
    above: int = field(default=0, repr=False)

    @property
    def weights(self) -> frozenset[int]:
        """The leaves that it uses as weights."""
        return frozenset(use.leaf for use in self.uses)

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts events by when their output is computed."""
        steps = tuple(i for step in self.at.path for i in step)
        return (*steps, self.at.equation, self.at.result)


class Lookup(NamedTuple):
    """A table read at integers that come from an input.

    Attributes:
      source: index of the input leaf.
      size: number of rows in the table.
      leaf: index of the parameter leaf that is the table.
    """

    source: int
    size: int
    leaf: int
