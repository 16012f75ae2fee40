"""The models of the zoo, traced and read for layers once each."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxinit
from jaxinit.layers.find import Sites, find_sites
from jaxinit.layers.names import row_names
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import Traced, trace
from jaxinit.program import versions
from jaxinit.signal.inputs import batch_size
from jaxinit.signal.statistics import Analysis
from tests.zoo import ZOO


class Case(NamedTuple):
    """A model's analysis and values for its program's inputs."""

    analysis: Analysis
    names: tuple[str, ...]
    values: list[Any]

    @property
    def traced(self) -> Traced:
        return self.analysis.traced

    @property
    def sites(self) -> Sites:
        return self.analysis.sites


def model_of(name: str) -> Any:
    """The model as ``analyze`` takes it."""
    entry = ZOO[name]
    made = entry.make()
    return jaxinit.Functional(*made) if entry.kind == "functional" else made


@functools.cache
def case(name: str) -> Case:
    """The named model with random weights and its own inputs."""
    entry = ZOO[name]
    args = entry.args()
    given = arguments(args, dict(entry.kwargs))
    traced = trace(model_of(name), given, entry.streams)
    sites = find_sites(
        traced.forward,
        traced.param_positions,
        traced.input_positions,
        [parts[:-1] for parts in traced.params],
    )
    key = jax.random.key(0)
    inputs = [jnp.asarray(x) for x in given.inputs]
    init = jax.jit(lambda *values: versions.evaluate(traced.init, values))
    variables = init(key, *inputs)
    analysis = Analysis(
        traced, sites, batch_size(inputs, ()), None, entry.differentiable
    )
    names = row_names(sites, traced.params)
    return Case(analysis, names, [*variables, jax.random.key(1), *inputs])
