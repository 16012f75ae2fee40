"""What one more forward pass of a seed tells: curves, outputs, units and losses."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit.roles.network import Network
from jaxinit.signal.curves import Curve, look
from jaxinit.signal.trial import spreads

Array = jax.Array


class Looked(NamedTuple):
    """What one more forward pass of a seed tells.

    Attributes:
      curves: the records of the curves, as ``look`` returns them.
      undefined: the share of the model's outputs that are NaN.
      infinite: the share of those that are infinite.
      apart: `(params,)`: how far the units of each parameter are apart.
      losses: `(2,)`: the user's loss of the outputs, and of zeros in their place; NaN
        where there is none.
    """

    curves: dict[tuple[int, ...], Any]
    undefined: Any
    infinite: Any
    apart: Any
    losses: Any


def look_at(
    network: Network,
    curves: Sequence[Curve],
    loss: Callable[[Any], Array] | None,
    roll: bool = False,
    options: dict[str, Any] | None = None,
) -> Callable[[Sequence[Array], Array, Sequence[Array]], Looked]:
    """The function ``(variables, key, inputs) -> Looked`` of one seed, on the host.

    It is not for ``jit``: units are compared leaf by leaf, by a program for each shape.

    Args:
      network: the model, read.
      curves: what is looked at inside it.
      loss: the user's loss, or None.
      roll: whether blocks that repeat are run as loops.
      options: for the compiler.
    """
    watched = look(network, curves, roll)

    def passed(variables: Sequence[Any], key: Array, inputs: Sequence[Any]) -> Looked:
        outputs, records = watched(variables, key, inputs)
        floats = [out for out in outputs if jnp.issubdtype(out.dtype, jnp.inexact)]
        # Else a compiler may look at them in a wider dtype than they have.
        floats = jax.lax.optimization_barrier(floats)
        count = sum(out.size for out in floats)

        def share(test: Callable[[Array], Array]) -> Array:
            number = sum((test(out).sum() for out in floats), jnp.zeros((), int))
            found: Array = number / max(count, 1)
            return found

        return Looked(
            records,
            share(jnp.isnan),
            share(jnp.isinf),
            None,
            _losses(network, loss, outputs),
        )

    program = jax.jit(passed, compiler_options=options)

    def run(variables: Sequence[Array], key: Array, inputs: Sequence[Array]) -> Looked:
        looked: Looked = jax.device_get(program(variables, key, inputs))
        return looked._replace(apart=spreads(network, variables))

    return run


def _losses(
    network: Network, loss: Callable[[Any], Array] | None, outputs: Sequence[Array]
) -> Array:
    if loss is None:
        return jnp.full(2, jnp.nan)
    made = network.traced.output(list(outputs))
    nothing = jax.tree.map(jnp.zeros_like, made)
    return jnp.stack([jnp.asarray(loss(y), jnp.float32) for y in (made, nothing)])
