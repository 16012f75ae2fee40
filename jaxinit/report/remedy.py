"""What would mend a model, and what came of trying it."""

import math
from typing import Literal, NamedTuple

from jaxinit.report.findings import Kind
from jaxinit.report.numbers import compact
from jaxinit.report.text import visible


class Remedy(NamedTuple):
    """One change of a model, of its initializers or of its inputs.

    Attributes:
      line: what to write, as one line of code, with a comment that says where.
      scheme: the same as an expression of a scheme for ``initialize`` and
        ``analyze(..., scheme=...)``, with ``jaxinit``, ``jax`` and ``jnp`` imported;
        ``None`` for a change of the model's code or of its inputs.
      change: what is changed.
      tried: whether the model was analyzed with it. If not, theory or practice names
        it, and nothing was measured.
      before: the verdict without it.
      after: the verdict with it, ``None`` if it was not tried.
      seeds: on how many seeds it was tried.
      spread_before: decades between the largest and the smallest second moment of
        the layers, and between their gradients' norms; NaN where not known.
      spread_after: the same with it.
    """

    line: str
    scheme: str | None
    change: Literal["initializers", "inputs", "code"]
    tried: bool
    before: Kind
    after: Kind | None
    seeds: int
    spread_before: tuple[float, float]
    spread_after: tuple[float, float]

    @property
    def mends(self) -> bool:
        """Whether the model is healthy with it, as far as it was tried."""
        return self.after == "ok"

    @property
    def printed(self) -> str:
        """The line, and what is known of it."""
        return visible(f"{self.line}{_joint(self.line)}{self._known()}")

    def _known(self) -> str:
        if not self.tried:
            return "named, not tried"
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        parts = [f"tried on {seeds}: {self.before} -> {self.after}"]
        for what, before, after in zip(
            ("signal", "gradient"), self.spread_before, self.spread_after, strict=True
        ):
            if math.isfinite(before) and math.isfinite(after):
                parts.append(f"{what} over {compact(before)} -> {compact(after)}")
        return ", ".join(parts) + (" decades" if len(parts) > 1 else "")

    def __str__(self) -> str:
        return self.printed


def _joint(line: str) -> str:
    return "; " if "  # " in line else "  # "
