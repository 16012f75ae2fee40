"""Schemes that learn from data, beginning with the weights of another scheme."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Own, Refine, Refined, Scheme, as_scheme

Array = jax.Array
Learn = Callable[[list[Array], list[Array], Array, Sequence[Array]], list[Array]]
"""``(params, state, key, inputs) -> params``"""


def starting(start: Any) -> Scheme:
    """The scheme that learning begins with; an empty one keeps the model's own init."""
    return Own() if start is None else as_scheme(start)


@dataclass(frozen=True)
class Learned(Scheme, abc.ABC):
    """A scheme that learns.

    It runs step by step, so that progress can be shown and loops interrupted; where
    the caller is traced it is a compiled loop.

    Attributes:
      start: the scheme whose weights learning begins with.
    """

    start: Scheme

    @property
    def traceable(self) -> bool:
        return False

    def leaves(self, parameter: Parameter) -> str:
        return self.start.leaves(parameter)

    @abc.abstractmethod
    def learning(self, network: Network) -> Learn:
        """What this scheme does with the weights of ``start``.

        Raises:
          ValueError: if the scheme does not apply to this network.
        """

    def assign(self, network: Network) -> list[Assignment]:
        return self.start.assign(network)

    def refine(self, network: Network) -> Refine:
        learn = self.learning(network)
        before = self.start.refine(network)
        if before is not None and self.start.traceable:
            before = jax.jit(before)

        def refine(
            params: list[Array], state: list[Array], key: Array, inputs: Sequence[Array]
        ) -> Refined:
            for_start, for_learning = jax.random.split(key)
            complaints: dict[str, Array] = {}
            for _ in range(self.start.passes if before is not None else 0):
                assert before is not None
                found = before(params, state, for_start, inputs)
                if isinstance(found, Refined):
                    params, complaints = found
                else:
                    params = found
            return Refined(learn(params, state, for_learning, inputs), complaints)

        return refine
