"""Schemes: how all parameters of a network are to be initialized."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from jaxinit._typing import Initializer
from jaxinit.initializers._value import law_of
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import fitted

Array = jax.Array


class Refined(NamedTuple):
    """What data made of the parameters.

    Attributes:
      params: the new values, in the order of the old ones.
      complaints: by message, whether there is something to complain about.
    """

    params: list[Array]
    complaints: dict[str, Array]


Refine = Callable[
    [list[Array], list[Array], Array, Sequence[Array]], list[Array] | Refined
]
"""``(params, state, key, inputs) -> params``: changes weights by looking at data."""


class Assignment(NamedTuple):
    """What becomes of one parameter.

    Attributes:
      leaf: the parameter's index.
      init: called with the parameter's own shape; ``None`` with ``change``.
      rule: which rule of the scheme this is, for ``explain``.
      law: the law of the samples in a few words, for ``explain``.
      change: instead of ``init``, a function of the values that the model's own
        init draws.
      fresh: whether ``init`` makes a new array that nobody else holds, so that its
        memory may be used again for the refined values.
    """

    leaf: int
    init: Initializer | None
    rule: str
    law: str
    change: Callable[[Array], Array] | None = None
    fresh: bool = False


class Scheme:
    """How a network is initialized: laws for its parameters, then what data say.

    Parameters to which nothing is assigned keep the values that the model's own init
    draws.
    """

    @property
    def traceable(self) -> bool:
        """Whether ``refine`` is to be compiled as a whole."""
        return True

    @property
    def reads_data(self) -> bool:
        """Whether ``refine`` looks at the values of the model's inputs."""
        return True

    @property
    def passes(self) -> int:
        """How often ``refine`` runs; what it complains of last is said."""
        return 1

    def leaves(self, parameter: Parameter) -> str:
        """Why this scheme leaves a weight on purpose; empty if it means to draw it."""
        del parameter
        return ""

    def assign(self, network: Network) -> list[Assignment]:
        """The parameters that this scheme draws or changes, each at most once.

        Raises:
          ValueError: if the scheme does not apply to this network.
        """
        del network
        return []

    def refine(self, network: Network) -> Refine | None:
        """The part that looks at data, or ``None`` if there is none."""
        del network
        return None


class Own(Scheme):
    """What the model's own init draws."""

    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "the model's own init is asked for"


@dataclass(frozen=True)
class _Everywhere(Scheme):
    """One initializer for every weight."""

    init: Initializer

    def assign(self, network: Network) -> list[Assignment]:
        weights = network.having("weight")
        if not any("weight" in parameter.roles for parameter in network.params):
            raise ValueError(
                f"an initializer as a scheme is for weights, and {network.traced.name} "
                "has none. Use rules([(where, initializer)])."
            )
        rule = "every weight"
        return [
            drawn(weight, self.init, rule)
            for weight in weights
            if "embedding" not in weight.roles
        ]


def drawn(
    parameter: Parameter,
    init: Initializer,
    rule: str,
    law: str | None = None,
) -> Assignment:
    """Draws ``parameter`` with ``init``; as a weight, with its real fans.

    Args:
      parameter: what to draw.
      init: an initializer. For a weight it is shown ``(*spatial, in, out)``, whatever
        the layout, once for each stacked layer, each group and each part of a fused
        kernel.
      rule: which rule this is.
      law: the law in a few words, by default read off ``init``.

    Returns:
      The assignment.
    """
    init_here = init
    if parameter.use is not None and "embedding" not in parameter.roles:
        init_here = fitted(init, parameter)
    return Assignment(parameter.leaf, init_here, rule, law or law_of(init))


def as_scheme(scheme: Any) -> Scheme:
    """A scheme as it is, or one initializer for every weight; either by its name.

    Raises:
      TypeError: if it is neither.
      ValueError: if nothing has this name.
    """
    if isinstance(scheme, str):
        from jaxinit.schemes.named import resolved  # which looks into all schemes

        found = resolved(scheme)
        scheme = Own() if found is None else found
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, type) or not callable(scheme):
        raise TypeError(
            "`scheme` must be a scheme such as jaxinit.lsuv(), rules([...]) or an "
            "initializer such as jaxinit.he_normal(), or the name of one, as "
            f"'he_normal', got {scheme!r}."
        )
    if getattr(scheme, "makes_initializers", False):
        name = getattr(scheme, "__name__", "he_normal")
        raise TypeError(
            "`scheme` must be an initializer, which is called for an array, got the "
            f"factory {name}, which makes one. Call it: {name}()."
        )
    return _Everywhere(scheme)
