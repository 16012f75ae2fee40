"""Hyper-connections: several residual streams, mixed by learned matrices."""

import numpy as np

from jaxinit._typing import Initializer
from jaxinit.initializers import from_array
from jaxinit.initializers._check import check_count


def hyper_connection(layer: int, streams: int) -> Initializer:
    r"""The matrix of a layer's hyper-connection, ``(streams, streams + 1)``.

    The first column of this :math:`\alpha`, :math:`e_{k \bmod n}`, has layer :math:`k`
    read one of the :math:`n` streams, and the rest is the identity, which passes them
    on. With :math:`\beta` of ones, which adds what the layer makes to every stream,
    and dynamic parts of zeros, a network whose streams all begin with the embedding is
    exactly its pre-norm residual one.

    Args:
      layer: :math:`k`, the number of the layer (attentions and MLPs both count), from
        0.
      streams: :math:`n`, the number of streams.

    Returns:
      An initializer for arrays of the shape ``(streams, streams + 1)``.

    Raises:
      TypeError: if an argument is no integer.
      ValueError: if ``layer`` is below 0 or ``streams`` below 1; when called, if the
        shape is another one.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> init = hyper_connection(layer=3, streams=2)
      >>> init(jax.random.key(0), (2, 3), jnp.float32)
      Array([[0., 1., 0.],
             [1., 0., 1.]], dtype=float32)

    References:
      Zhu et al., "Hyper-Connections", 2024, equation 14.
    """
    advice = "Attentions and MLPs both count, from 0."
    number = check_count("layer", layer, advice, minimum=0)
    count = check_count("streams", streams, "It is the number of streams.")
    alpha = np.zeros((count, count + 1), np.float32)
    alpha[number % count, 0] = 1.0
    alpha[:, 1:] = np.eye(count)
    return from_array(alpha)
