"""Residual branches scaled by their number."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxinit._typing import Initializer
from jaxinit.initializers import he_normal, scale
from jaxinit.initializers._check import check_initializer, check_number
from jaxinit.roles.network import Network
from jaxinit.schemes.residual.structure import kernels, residual_branches
from jaxinit.schemes.scheme import Assignment, Scheme, drawn


def branch_scaling(
    base: Initializer | None = None,
    factor: str | float | Callable[[int], float] = "1/sqrt(L)",
) -> Scheme:
    r"""Draws all weights with ``base``, and scales the last one of each branch.

    Where :math:`L` branches of variance 1 are added to a stream, its second moment
    grows :math:`2^L`-fold. With branches times :math:`1/\sqrt L` it grows
    :math:`(1 + 1/L)^L < e`-fold. :math:`L` counts the branches of one stream, each
    layer of a scan by itself; encoder and decoder are two streams. Tables that are
    looked up, biases and all else keep what the model draws.

    Args:
      base: an initializer for the weights, by default ``he_normal()``.
      factor: ``"1/sqrt(L)"``, ``"1/L"``, a number, or a function of :math:`L`.

    Returns:
      A scheme.

    Raises:
      TypeError: if ``base`` is not callable or ``factor`` is of no such kind.
      ValueError: if ``factor`` is an unknown word or not finite; when used, if the
        network has no residual branches, or one weight ends branches of two streams
        with different factors.

    Examples:
      >>> import jax
      >>> scheme = branch_scaling(jax.nn.initializers.lecun_normal(), "1/L")

    References:
      Hayou et al., "Stable ResNet", 2021, section 3.
    """
    base = he_normal() if base is None else base
    check_initializer("base", base)
    if isinstance(factor, str):
        if factor not in _FACTORS:
            raise ValueError(
                f"`factor` must be {' or '.join(map(repr, _FACTORS))}, a number or a "
                f"function of L, got {factor!r}."
            )
        return _BranchScaling(base, _FACTORS[factor], factor)
    if callable(factor):
        return _BranchScaling(base, factor, getattr(factor, "__name__", "factor"))
    number = check_number(
        "factor", factor, "It multiplies the last weight of branches."
    )
    return _BranchScaling(base, number, f"{number:.6g}")


@dataclass(frozen=True)
class _BranchScaling(Scheme):
    base: Initializer
    factor: float | Callable[[int], float]
    text: str

    def assign(self, network: Network) -> list[Assignment]:
        factors = self._factors(network)
        found = []
        for weight in network.having("weight"):
            if "embedding" in weight.roles:
                continue
            factor = factors.get(weight.leaf)
            if factor is None:
                found.append(drawn(weight, self.base, "weights"))
                continue
            rule = f"ends of branches, {self.text}"
            found.append(drawn(weight, scale(self.base, factor), rule))
        return found

    def _factors(self, network: Network) -> dict[int, float]:
        branches = residual_branches(network, "branch_scaling")
        counts: dict[int, int] = {}
        for branch in branches:
            counts[branch.stream] = counts.get(branch.stream, 0) + branch.numbers.size
        factors: dict[int, float] = {}
        for branch in branches:
            count = counts[branch.stream]
            factor = self.factor(count) if callable(self.factor) else self.factor
            for weight in kernels(network, branch.ends):
                if weight.leaf in network.taken:
                    continue
                known = factors.setdefault(weight.leaf, factor)
                if known != factor:
                    raise ValueError(
                        f"{weight.name} ends branches of two streams, whose factors "
                        f"are {known:.6g} and {factor:.6g}. Give it a rule of its own: "
                        f"override(branch_scaling(), [({weight.name!r}, initializer)])."
                    )
        return factors


_FACTORS: dict[str, Callable[[int], float]] = {
    "1/sqrt(L)": lambda count: 1 / math.sqrt(count),
    "1/L": lambda count: 1 / count,
}
