"""What the zoo says about each of its models."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from flax import nnx


class Entry(NamedTuple):
    """One model of the zoo, with everything needed to run it.

    Attributes:
      name: its name in the registry.
      make: returns the model as `jaxinit.analyze` takes it: a linen module; a
        function from `nnx.Rngs` to an nnx module; for the rest a pair
        ``(init, apply)``, the two arguments of `jaxinit.Functional`.
      kind: "linen", "nnx" or "functional".
      args: returns the positional inputs.
      kwargs: the keyword inputs.
      folders: the parameter folders in the order in which data meets them, each once:
        a scanned layer has one folder, a layer used twice is named where it is used
        first. Empty where several readings are right.
      streams: names of the random streams that a forward pass asks for.
      differentiable: whether reverse-mode differentiation is possible.
    """

    name: str
    make: Callable[[], Any]
    kind: str
    args: Callable[[], tuple[Any, ...]]
    kwargs: Mapping[str, Any] = MappingProxyType({})
    folders: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    differentiable: bool = True


def variables(entry: Entry, seed: int = 0) -> Any:
    """The model's variables for one seed; an nnx model is its own variables."""
    model, args = entry.make(), entry.args()
    key = jax.random.key(seed)
    if entry.kind == "nnx":
        graph = nnx.graphdef(nnx.eval_shape(lambda: model(nnx.Rngs(0))))
        state = _run(lambda key: nnx.state(model(nnx.Rngs(key))), key)
        return nnx.merge(graph, state)
    if entry.kind == "functional":
        return model[0](key, *args, **entry.kwargs)
    rngs = {name: key for name in ("params", *entry.streams)}
    return _run(lambda r: model.init(r, *args, **entry.kwargs), rngs)


def forward(entry: Entry, variables: Any, seed: int = 1) -> Any:
    """The model's plain output, its new state dropped."""
    model, args = entry.make(), entry.args()
    if entry.kind == "nnx":
        graph, state = nnx.split(variables)
        return _run(lambda s: nnx.merge(graph, s)(*args, **entry.kwargs), state)
    if entry.kind == "functional":
        return _run(lambda v: model[1](v, *args, **entry.kwargs), variables)
    rngs = {name: jax.random.key(seed) for name in entry.streams}
    state = [name for name in variables if name != "params"]
    return _run(
        lambda v: model.apply(v, *args, **entry.kwargs, rngs=rngs, mutable=state)[0],
        variables,
    )


def _run(function: Callable[[Any], Any], argument: Any) -> Any:
    return jax.jit(function)(argument)
