"""Helpers to read the structure of a model and to name what is in it."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

import jaxinit
from jaxinit.layers.find import Sites
from jaxinit.layers.names import row_names
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.roles.network import Network, read_network
from jaxinit.roles.structure import Structure
from tests.layers.zoo_analysis import model_of
from tests.zoo import ZOO


class Read(NamedTuple):
    """A model's structure, with names for its parameters and layers."""

    structure: Structure
    sites: Sites
    params: tuple[str, ...]
    names: dict[int, str]

    @property
    def roles(self) -> dict[str, set[str]]:
        """The roles of each parameter by its path."""
        return dict(zip(self.params, map(set, self.structure.roles), strict=True))

    def named(self, numbers: Iterable[int]) -> list[str]:
        return [self.names[number] for number in numbers]


def network_of(
    model: Any, *args: Any, streams: tuple[str, ...] = (), **kwargs: Any
) -> Network:
    """A model as schemes see it, on these arguments."""
    given = arguments(args, kwargs)
    return read_network(trace(model, given, streams), given)


def read(model: Any, *args: Any, streams: tuple[str, ...] = (), **kwargs: Any) -> Read:
    """The structure of a model on these arguments."""
    network = network_of(model, *args, streams=streams, **kwargs)
    sites = network.sites
    names = dict(
        zip(sites.numbers, row_names(sites, network.traced.params), strict=True)
    )
    params = tuple("/".join(parts) for parts in network.traced.params)
    return Read(network.structure, sites, params, names)


@functools.cache
def of_zoo(name: str, **changed: Any) -> Read:
    """The structure of a model of the zoo."""
    entry = ZOO[name]
    kwargs = {**entry.kwargs, **changed}
    return read(model_of(name), *entry.args(), streams=entry.streams, **kwargs)


def function(shapes: dict[str, tuple[int, ...]], apply: Any) -> jaxinit.Functional:
    """A model whose parameters are one flat dictionary."""

    def init(key: jax.Array, *args: Any) -> dict[str, jax.Array]:
        del args
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    return jaxinit.Functional(init, apply)
