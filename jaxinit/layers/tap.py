"""A name for a value that is not the output of a layer."""

from typing import TypeVar

import jax
from jax.ad_checkpoint import checkpoint_name

_PREFIX = "jaxinit.tap:"

T = TypeVar("T")


def tap(x: T, name: str) -> T:
    """Returns ``x`` unchanged and makes it a row of the analyzer's report.

    Layers are found without any help. A tap is for the values between them: attention
    logits, a gate, the state of a solver.

    Args:
      x: an array, or a pytree of arrays, inside the model's forward pass.
      name: the row's name. In a pytree, each array's path is appended.

    Returns:
      ``x``, with the same values and gradients. Outside the analyzer it costs nothing.

    Raises:
      ValueError: if ``name`` is empty.

    Examples:
      >>> import jax.numpy as jnp
      >>> tap(jnp.ones(2), "logits")
      Array([1., 1.], dtype=float32)
    """
    if not name:
        raise ValueError(
            "`name` must not be empty, got ''. It becomes the row's name in the report."
        )
    leaves, treedef = jax.tree_util.tree_flatten_with_path(x)
    named = [
        checkpoint_name(leaf, _PREFIX + name + jax.tree_util.keystr(path))
        for path, leaf in leaves
    ]
    result: T = jax.tree_util.tree_unflatten(treedef, named)
    return result


def tap_label(name: str) -> str | None:
    """The user's name of a tap, from the name that its equation bears."""
    return name[len(_PREFIX) :] if name.startswith(_PREFIX) else None
