"""Large orthogonal kernels from small ones."""

import functools
import math

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Axes, Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._value import family, times
from jaxinit.initializers.orthogonal import (
    matrix_axes,
    orthogonal_kernel,
    orthogonal_matrices,
    scaled,
)


@family
def kronecker_orthogonal(
    scale: Scalar = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    *,
    batch_axis: Axes = (),
) -> Initializer:
    r"""The Kronecker product of two Haar distributed orthogonal matrices.

    As :func:`orthogonal`, :math:`W^\top W = \text{scale}^2 I`, or
    :math:`W W^\top = \text{scale}^2 I` for more columns than rows, at the price of
    about a product of numbers for each weight: the factors of a matrix of size
    :math:`n` have size :math:`\sqrt n`. Take it where a factorization of the whole is
    too dear. The law is another: :math:`W` has :math:`O(n)` random numbers, and its
    weights, products of two, have heavier tails than normal ones.

    The factors are the cheapest pair that the numbers of rows and columns allow. If
    the larger of the two is prime there is none, and the matrix is that of
    :func:`orthogonal`.

    Args:
      scale: the singular values, at least 0.
      column_axis: the axis that holds the columns; all others are rows.
      dtype: the dtype of the result where the caller gives none.
      batch_axis: axes along which independent matrices are stacked.

    Returns:
      An initializer for shapes with at least two axes that are not batch axes.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is an integer
        dtype; when called, if the shape has too few axes or the axes do not fit it.

    Examples:
      >>> w = kronecker_orthogonal()(jax.random.key(0), (24, 16))
      >>> bool(jax.numpy.allclose(w.T @ w, jax.numpy.eye(16), atol=1e-5))
      True

    References:
      Jose, Cisse and Fleuret, "Kronecker Recurrent Units", 2018, section 3.
    """
    scale = _draw.check_scale("scale", scale, "common value of the singular values")
    broadcasting = _draw.broadcasting("scale", scale)

    def check_shape(shape: tuple[int, ...]) -> None:
        matrix_axes(shape, column_axis, batch_axis)
        if broadcasting is not None:
            broadcasting(shape)

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        w = orthogonal_kernel(
            key, shape, column_axis, batch_axis, dtype, sharding, _products
        )
        return scaled(w, scale)

    law = times(scale, "Kronecker product of two orthogonal matrices")
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


def _products(
    key: jax.Array,
    batch: tuple[int, ...],
    rows: int,
    cols: int,
    dtype: DTypeLike,
    sharding: NamedSharding | None,
) -> jax.Array:
    """Matrices of shape ``(*batch, rows, cols)``, by their factors."""
    tall = factors(max(rows, cols), min(rows, cols))
    (rows_1, cols_1), (rows_2, cols_2) = tall if rows >= cols else _turned(tall)
    if 1 in (rows_1 * cols_1, rows_2 * cols_2):
        return orthogonal_matrices(key, batch, rows, cols, dtype, sharding)
    key_1, key_2 = jax.random.split(key)
    first = orthogonal_matrices(key_1, batch, rows_1, cols_1, dtype)
    second = orthogonal_matrices(key_2, batch, rows_2, cols_2, dtype)
    product = first[..., :, None, :, None] * second[..., None, :, None, :]
    return product.reshape(*batch, rows, cols)


Pair = tuple[tuple[int, int], tuple[int, int]]


def _turned(pair: Pair) -> Pair:
    (a, b), (c, d) = pair
    return (b, a), (d, c)


@functools.lru_cache(maxsize=1024)
def factors(rows: int, cols: int) -> Pair:
    """The shapes of two tall factors, of the least work, of a tall matrix."""
    pairs = [
        ((r, c), (rows // r, cols // c))
        for r in _divisors(rows)
        for c in _divisors(cols)
        if r >= c and rows // r >= cols // c
    ]
    return min(pairs, key=lambda pair: sum(r * c**2 for r, c in pair))


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
