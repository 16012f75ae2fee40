"""What a coordinate check measured: sizes of activations, step by step."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinit.train.result import Result


@dataclass(frozen=True, eq=False)
class CoordSizes(Result):
    """Sizes of activations at several widths or depths, step by step.

    Attributes:
      model: the model's name.
      axis: ``"width"`` or ``"depth"``.
      sizes: ``(sizes,)``, the widths or depths.
      seeds: ``(seeds,)``.
      layers: names of what was looked at in all models; the last one is the output.
      roles: for each of them, what its parameters do.
      activations: ``(sizes, seeds, steps + 1, layers, 2)``: the mean absolute value
        and the root mean square before the first step and after each.
      updates: likewise of the change since before the first step.
      params: names of the parameters that all models have.
      param_roles: for each, what it does.
      moved: ``(sizes, seeds, steps + 1, params)``, root mean squares of their changes.
      laws: ``(params, 3)``: the slope of each one's movement on the width by muP, the
        lowest and the highest that agree with it; NaN where there is none, as by depth.
      losses: ``(sizes, seeds, steps + 1)``.
      unscaled: whether updates stopped shrinking once the loss was multiplied by a
        large number, which no update of Adam's depends on but through its epsilon.
      tolerance: slopes within it are flat.
      confidence: that of the intervals.
      settings: how it was run.
    """

    SCHEMA = "jaxinit.coord_check"

    model: str
    axis: str
    sizes: np.ndarray
    seeds: np.ndarray
    layers: tuple[str, ...]
    roles: tuple[tuple[str, ...], ...]
    activations: np.ndarray
    updates: np.ndarray
    params: tuple[str, ...]
    param_roles: tuple[tuple[str, ...], ...]
    moved: np.ndarray
    laws: np.ndarray
    losses: np.ndarray
    unscaled: bool
    tolerance: float
    confidence: float
    settings: dict[str, Any]
