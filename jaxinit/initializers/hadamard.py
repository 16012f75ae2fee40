"""Kernels of zeros and ones, and a Hadamard matrix where a layer widens."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_kernel
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._value import family


@family
def zero_hadamard(dtype: DTypeLike | None = None) -> Initializer:
    r"""Zeros and ones where a layer narrows, a Hadamard matrix where it widens.

    With at least as many inputs as outputs, a partial identity. Otherwise, as
    ``(out, in)``, the first rows and columns of the :math:`2^m \times 2^m` Hadamard
    matrix times :math:`2^{-m/2}`, :math:`m = \lceil \log_2 \text{out} \rceil`; a
    partial identity would leave the new units equal. Singular values are all 1 if the
    layer narrows or its outputs are a power of two; else some are smaller. Convolutions
    have it at their center tap. Ends of residual branches are to be ``zeros``.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for shapes ``(*spatial, in, out)``. It does not use its key.

    Raises:
      ValueError: when called, if the shape has fewer than two axes.

    Examples:
      >>> zero_hadamard()(jax.random.key(0), (2, 4))
      Array([[ 0.5,  0.5,  0.5,  0.5],
             [ 0.5, -0.5,  0.5, -0.5]], dtype=float32)

    References:
      Zhao et al., "ZerO Initialization: Initializing Neural Networks with only Zeros
      and Ones", 2022, algorithm 1.
    """

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        *spatial, ins, outs = shape
        rows = jnp.arange(ins, dtype=np.uint32)[:, None]
        columns = jnp.arange(outs, dtype=np.uint32)[None, :]
        if ins >= outs:
            matrix = (rows == columns).astype(dtype)
        else:
            # Sylvester's matrix has (-1)^(number of common bits of row and column).
            odd = jax.lax.population_count(rows & columns) % 2
            factor = 2.0 ** (-(outs - 1).bit_length() / 2)
            matrix = (1 - 2 * odd.astype(dtype)) * factor
        if not spatial:
            return matrix
        center = tuple((size - 1) // 2 for size in spatial)
        return jnp.zeros(shape, dtype).at[center].set(matrix)

    law = "partial identity, or Hadamard where a layer widens"
    return from_sampler(sampler, dtype, check_shape=check_kernel, law=law)
