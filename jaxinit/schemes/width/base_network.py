"""The model of the base width that a model's parameters are compared with."""

from collections.abc import Sequence
from typing import Any

from jaxinit.initializers._check import shown
from jaxinit.models.arguments import arguments, streams_and_kwargs
from jaxinit.models.trace import trace
from jaxinit.roles.network import Network, read_network


def base_network(
    base: Any,
    network: Network,
    base_args: Sequence[Any] | None,
    rngs: Sequence[str],
) -> Network:
    """The base model, traced with the target's arguments or with its own.

    What the user said of the target holds for it as well.
    """
    given = network.given
    if base_args is not None:
        _, kwargs = given.call(given.shapes)
        given = arguments(positional(base_args), kwargs)
    try:
        traced = trace(base, given, streams_and_kwargs(rngs, {})[0])
    except (TypeError, ValueError) as error:
        error.add_note(
            "This happened to `base`, which is called with the target's arguments. If "
            "it takes others, pass them as `base_args=(...)`."
        )
        raise
    return read_network(traced, given, network.hints)


def positional(base_args: Sequence[Any]) -> tuple[Any, ...]:
    """The positional inputs of the base model.

    Raises:
      TypeError: if they are no list of inputs, such as a single array.
    """
    if not isinstance(base_args, Sequence) or isinstance(base_args, str):
        raise TypeError(
            "`base_args` must be a tuple of the inputs of `base`, got "
            f"{shown(base_args)}. Write base_args=(x,)."
        )
    return tuple(base_args)
