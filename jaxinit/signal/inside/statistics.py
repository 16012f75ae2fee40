"""The statistics of one step of training, as ``observe`` returns them."""

import dataclasses
import functools

import jax
import numpy as np

Array = jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["forward", "backward", "weights"],
    meta_fields=["rows", "params"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class StepStatistics:
    """Statistics of one step: a pytree of a few small arrays.

    It goes through ``jit``, ``vmap``, ``scan`` and ``pmean`` as other pytrees do; its
    arrays then have axes in front. A metric that is not defined for a row is NaN
    there, and all are in a step that ``every`` passes over.

    Attributes:
      forward: metric -> `(rows,)`, statistics of the activations.
      backward: metric -> `(rows,)`, of the gradients with respect to them.
      weights: metric -> `(params,)`, of the parameters and their gradients.
      rows: names of the rows, those of the report.
      params: names of the parameters.
    """

    forward: dict[str, Array]
    backward: dict[str, Array]
    weights: dict[str, Array]
    rows: tuple[str, ...]
    params: tuple[str, ...]

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """The statistics as a flat dict of numbers, for loggers of experiments.

        Args:
          prefix: what all names begin with, as in ``Report.scalars``.

        Returns:
          ``{"rms/Dense_0": 0.98, ...}``, what is NaN left out: nothing for a step
          that ``every`` passed over.

        Raises:
          TypeError: if ``prefix`` is no string.
          ValueError: if the arrays have further axes, over steps or devices.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"`prefix` must be a string, got {prefix!r:.80}.")
        found = {}
        groups = jax.device_get((self.forward, self.backward, self.weights))
        for metrics, names in zip(
            groups, (self.rows, self.rows, self.params), strict=True
        ):
            for metric, values in metrics.items():
                if np.ndim(values) != 1:
                    raise ValueError(
                        "`scalars` needs the statistics of one step, got arrays of "
                        f"shape {np.shape(values)}. Take one of them: "
                        "jax.tree.map(lambda x: x[-1], statistics)."
                    )
                for name, value in zip(names, values.tolist(), strict=True):
                    if value == value:  # not NaN
                        found[f"{metric}/{name}"] = value
        return {f"{prefix}/{name}" if prefix else name: v for name, v in found.items()}
