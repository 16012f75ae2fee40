"""The operation that makes an output infinite, where none of it was meant to be.

Masks are written with infinities: what a model fills in, or adds, is left alone. What
makes one of finite numbers is not, nor is a maximum over nothing but masked entries.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.draw.compiling import quick_options
from jaxinit.roles.network import Network
from jaxinit.signal.broken import Find, describe, records_of

Array = jax.Array

_EXTREMES = frozenset({"reduce_max", "reduce_min"})
_MAKES = _EXTREMES | frozenset(
    "add sub mul div exp exp2 log log1p pow integer_pow square rsqrt reduce reduce_sum "
    "reduce_prod cumsum cumprod dot_general conv_general_dilated reduce_window_sum "
    "convert_element_type atanh tan erf_inv add_any".split()
)


def find_infinite(network: Network) -> Find:
    """Finds the first operation that makes an infinity of what layers make.

    Args:
      network: the model, read.

    Returns:
      A function of variables, a key and inputs, as ``find_broken`` returns it; ``how``
      is ``"inf"``, or ``"empty"`` for an extreme over masked entries alone.
    """
    anchors = network.anchors
    nodes = [
        node
        for node in anchors.flow.nodes
        if node.primitive in _MAKES
        and anchors.flow.data[node.results[0]]
        and anchors.nearest_weights(node.operands)
    ]
    options = quick_options(network.sites, 1)
    look = jax.jit(records_of(network, nodes, _shares), compiler_options=options)

    def find(
        variables: Sequence[Array], key: Array, inputs: Sequence[Array]
    ) -> dict[str, Any] | None:
        looked = look(variables, key, inputs)
        for number, record in sorted(looked.items()):
            made, entered = np.asarray(record).reshape(-1, 2).T
            node = nodes[number]
            if made.any() and not entered[made > 0].any():
                return describe(network, node, "inf", float(made.mean()))
            if made.any() and node.primitive in _EXTREMES:
                return describe(network, node, "empty", float(made.mean()))
        return None

    return find


def _shares(values: Sequence[Any]) -> Array:
    """The shares of infinities in a result, and in all that it is made of."""
    *operands, result = (_infinite(value) for value in values)
    return jnp.stack([result, sum(operands, jnp.zeros(()))])


def _infinite(value: Any) -> Array:
    x = jnp.asarray(value)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros(())
    # Else a compiler may look at it in a wider dtype than it has.
    x = jax.lax.optimization_barrier(x)
    return jnp.mean(jnp.isinf(x).astype(jnp.float32))
