"""A network's variables by a scheme, one set for each seed."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.draw.own_init import OwnDraw, own_draw
from jaxinit.roles.network import Network
from jaxinit.schemes.drawing import SchemeDraw, scheme_draw
from jaxinit.schemes.named import resolved
from jaxinit.schemes.scheme import as_scheme

Array = jax.Array


def draw_of(network: Network, scheme: Any) -> OwnDraw | SchemeDraw:
    """The draw by a scheme or an initializer; by the model's own init for ``None``.

    Raises:
      TypeError: if ``scheme`` is none of these.
      ValueError: if it does not apply to the network, or the model holds its weights.
    """
    scheme = resolved(scheme)
    if scheme is not None:
        return scheme_draw(network, as_scheme(scheme))
    if not network.traced.draws:
        raise ValueError(
            f"`model` must draw its weights, got a {network.traced.name} that holds "
            "them. Pass its class or a factory: lambda rngs: Model(..., rngs=rngs)."
        )
    return own_draw(network.traced)


def seed_keys(root: Array, seeds: Sequence[int]) -> Array:
    """One key for each seed, by its number alone."""
    numbers = jnp.asarray(seeds, jnp.uint32)
    keys: Array = jax.vmap(lambda seed: jax.random.fold_in(root, seed))(numbers)
    return keys
