"""A remedy that can be tried, as the text that is printed of it."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

NORMALIZE = "x = (x - x.mean()) / x.std()"
BY_COLUMN = "x = (x - x.mean(0)) / (x.std(0) + 1e-6)"


@dataclass(frozen=True)
class Candidate:
    """Initializers for some parameters, and maybe normalized inputs.

    What is tried is the value of the text that is printed, so that it works as
    printed.

    Attributes:
      code: what is printed, without its comment; empty to print the scheme.
      where: the comment: for which parameters, or between which layers.
      rules: pairs of where and what, each the text of an expression; the first that
        matches a parameter takes it.
      base: the text of a scheme for all other parameters, if it is no rule.
      normalize: whether each input of real numbers is brought to mean 0 and
        deviation 1, as ``NORMALIZE`` says it.
      by_column: whether as ``BY_COLUMN`` says it.
      simulates: whether ``code`` is a change of the model's code, of which the rules
        are as good as a simulation.
    """

    code: str
    where: str = ""
    rules: tuple[tuple[str, str], ...] = ()
    base: str | None = None
    normalize: bool = False
    by_column: bool = False
    simulates: bool = False

    @property
    def line(self) -> str:
        """What is printed."""
        code = self.code or f"scheme={self.scheme}"
        return f"{code}  # {self.where}" if self.where and self.code else code

    @property
    def scheme(self) -> str | None:
        """The text of the scheme; ``None`` where only the inputs change."""
        if not self.rules:
            return self.base
        pairs = ", ".join(f"({where}, {what})" for where, what in self.rules)
        if self.base is not None:
            return f"jaxinit.override({self.base}, [{pairs}])"
        return f"jaxinit.rules([{pairs}])"

    def over(self, base: str | None) -> "Candidate":
        """The same on top of a scheme that the user measures with."""
        if base is None or self.base is not None:
            return self
        return replace(self, base=base)

    def and_also(self, other: "Candidate") -> "Candidate":
        """Both; where they differ this one holds.

        A rule of the other's for the same parameters would take none, which is an
        error.
        """
        taken = {where for where, _ in self.rules}
        both = replace(
            self,
            rules=self.rules + tuple(r for r in other.rules if r[0] not in taken),
            base=self.base or other.base,
            normalize=self.normalize or other.normalize,
            by_column=self.by_column or other.by_column,
            simulates=self.simulates or other.simulates,
        )
        where = " and ".join(filter(None, (self.where, other.where)))
        if self.code == other.code:
            return replace(both, where=where)
        words = {one.code.partition("=")[0] for one in (self, other)}
        if len(words) < 2 or "" in words:
            return replace(both, code="")
        return replace(both, code=f"{self.code}, {other.code}", where=where)


def evaluated(text: str, scheme: Any = None) -> Any:
    """The scheme that a text makes.

    Args:
      text: an expression of ``jaxinit``, ``jax``, ``jnp`` and ``scheme``.
      scheme: the user's own.
    """
    import jaxinit

    names = {"jaxinit": jaxinit, "jax": jax, "jnp": jnp, "scheme": scheme}
    # The text is our own: names of parameters stand in it as literals of strings.
    return eval(text, names)
