"""How far parameters should move as the width grows, by muP, and which ones do not."""

import math
from typing import NamedTuple

import numpy as np

from jaxinit._intervals import Interval
from jaxinit.roles.network import Network
from jaxinit.schemes.width.infinite_axes import Width, find_widths
from jaxinit.train.coord_sizes import CoordSizes

# Bounds are halfway between the furthest slope that is right and the nearest fault.
# Below the law of a weight (-1) and of all else (0): a rate divided once too often is 1
# lower. A multiplier in front of an input (the paper's table 9) lowers its law by 1/2.
_WEIGHT_BELOW, _OTHER_BELOW = 0.5, 0.75
# Until queries and keys become alike their gradients are sums of independent terms:
# under SGD their weights move less than the law says, by the root of the width.
_SCORES_BELOW = 0.75
# Above: Muon's updates of full rank, and a multiplier in front, raise a hidden weight's
# law by 1/2; a rate that is not divided does by 1. All else may get one times too many.
_HIDDEN_ABOVE, _OTHER_ABOVE = 0.75, 0.5


class Move(NamedTuple):
    """A parameter that moves otherwise than muP says.

    Attributes:
      param: its name.
      roles: what it does.
      slope: that of log2 of the movement on log2 width.
      law: what it should be.
    """

    param: str
    roles: tuple[str, ...]
    slope: Interval
    law: float

    def __str__(self) -> str:
        return (
            f"{self.param} moves with slope {self.slope.value:.2f}, where muP's law is "
            f"{self.law:.2g}"
        )


def laws(
    wide: Network, narrow: Network, roles: list[frozenset[str]], ratio: float
) -> np.ndarray:
    r"""The slope of each parameter's movement on the width, and its bounds.

    Features learn alike at all widths if the update of a weight changes its outputs
    alike. Updates are aligned with a layer's inputs, so that entries of a hidden or
    output weight must move as one over its fan-in; those of inputs, tables, biases and
    gains alike. It is the same for Adam and SGD, whose rates differ for that.

    Args:
      wide: the network of the largest width.
      narrow: that of the smallest.
      roles: of the parameters.
      ratio: of the two widths.

    Returns:
      ``(params, 3)``: the law, the lowest and the highest slope that are within chance
      and other parametrizations of it. NaN where there is none: for what does not
      grow, and a key's bias, whose gradient is rounding.

    Raises:
      ValueError: as ``mup_widths``.

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, tables 3, 8 and 9 and appendix J.
    """
    found = np.full((len(wide.params), 3), np.nan)
    for leaf, width in find_widths(wide, narrow).items():
        rounding = "key" in roles[leaf] and width.role == "vector"
        if width.role != "finite" and not rounding:
            found[leaf] = _law(width, roles[leaf], ratio)
    return found


def _law(width: Width, roles: frozenset[str], ratio: float) -> tuple[float, ...]:
    if width.role not in ("hidden", "output"):
        return 0.0, -_OTHER_BELOW, _OTHER_ABOVE
    law = -math.log(width.fan_in) / math.log(ratio)
    scores = {"query", "key"} & roles and "value" not in roles
    below = _SCORES_BELOW if scores else _WEIGHT_BELOW
    # A readout with a multiplier behind it may move as an input does: a change of the
    # output tells then what is too much.
    above = _HIDDEN_ABOVE if width.role == "hidden" else math.inf
    return law, law - below, law + above


def strays(check: CoordSizes, slopes: list[Interval]) -> list[Move]:
    """The parameters whose movement is off its law with its whole interval.

    Args:
      check: what was measured.
      slopes: of the movement of each parameter.

    Returns:
      Those that move too little or too much.
    """
    found = []
    rows = zip(check.params, check.param_roles, slopes, check.laws, strict=True)
    for name, roles, slope, (law, lowest, highest) in rows:
        low, high = slope.low, slope.high
        if math.isnan(low):
            low = high = slope.value
        if high < lowest or low > highest:
            found.append(Move(name, roles, slope, float(law)))
    return found
