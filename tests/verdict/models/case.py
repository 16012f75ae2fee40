"""A small model with the right answer beside it, and the data that it is fed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxinit
from jaxinit.report.report import Report


class Net(nn.Module):
    """A linen module whose body is a function of the module and its inputs."""

    body: Callable[..., Any]

    @nn.compact
    def __call__(self, *args, **kwargs):
        return self.body(self, *args, **kwargs)


class Healthy(NamedTuple):
    """A model that nothing is wrong with.

    Attributes:
      name: of the case.
      model: a linen module, an nnx class, a Functional, or the body of a ``Net``.
      inputs: what it is fed.
      loss: of its output, None for a probe.
      rngs: the streams that it draws from, besides its init.
    """

    name: str
    model: Any
    inputs: tuple[Any, ...]
    loss: Any = None
    rngs: tuple[str, ...] = ()


class Faulty(NamedTuple):
    """A model with one fault, its right name, and its cured twin.

    Attributes:
      name: of the case.
      model: as in ``Healthy``.
      inputs: what it is fed.
      kind: the right kind of finding.
      place: a part of the right row's name; alternatives are separated by ``|``.
      cured: the model without its fault.
      cured_inputs: what the cured twin is fed, if not the same.
      loss: of its output, None for a probe.
      cured_loss: of the twin's output.
      rngs: the streams that it draws from, besides its init.
    """

    name: str
    model: Any
    inputs: tuple[Any, ...]
    kind: str
    place: str
    cured: Any
    cured_inputs: tuple[Any, ...] | None = None
    loss: Any = None
    cured_loss: Any = None
    rngs: tuple[str, ...] = ()

    @property
    def twin(self) -> Healthy:
        """The cured twin, a healthy model."""
        inputs = self.inputs if self.cured_inputs is None else self.cured_inputs
        return Healthy(self.name, self.cured, inputs, self.cured_loss, self.rngs)


def analyze(case: Healthy | Faulty, seeds: int = 8) -> Report:
    """The report of a case."""
    model = case.model
    plain = callable(model) and not isinstance(
        model, type | nn.Module | jaxinit.Functional
    )
    if plain:
        model = Net(model)
    return jaxinit.analyze(
        model,
        *case.inputs,
        seeds=seeds,
        loss=case.loss,
        rngs=case.rngs,
        progress=False,
        remedies="none",  # what the rules say, as they say it
    )


def is_right(case: Faulty, report: Report) -> bool:
    """Whether the most severe finding has the right kind and place."""
    top = report.findings[0]
    places = case.place.split("|")
    return top.kind == case.kind and any(p in (top.row or "") for p in places)


def drawn(*shape: int, key: int = 7) -> jax.Array:
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(key), shape)


X, SEQ, IMG, LONG = drawn(32, 16), drawn(8, 12, 16), drawn(8, 8, 8, 3), drawn(8, 24, 8)
TOKENS = jax.random.randint(jax.random.key(1), (8, 12), 0, 64)
PIXELS = 255 * jax.random.uniform(jax.random.key(2), (8, 8, 8, 3))


def scaled(init, factor):
    """An initializer whose samples are multiplied."""
    return lambda key, shape, dtype=jnp.float32: factor * init(key, shape, dtype)
