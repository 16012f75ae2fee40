"""Kernels whose columns, or rows, are orthonormal."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from jaxinit._lapack import one_by_one
from jaxinit._typing import Axes, Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._jit import jit
from jaxinit.initializers._sharding import constrain
from jaxinit.initializers._value import family, times
from jaxinit.initializers.fans import as_axes, normalize_axes


@family
def orthogonal(
    scale: Scalar = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    *,
    batch_axis: Axes = (),
) -> Initializer:
    r"""Uniformly distributed (Haar) orthogonal matrices, times ``scale``.

    The kernel is read as a matrix :math:`W` with ``shape[column_axis]`` columns and
    all other axes as rows. If it has at least as many rows as columns,
    :math:`W^\top W = \text{scale}^2 I`, otherwise :math:`W W^\top = \text{scale}^2 I`.
    Complex kernels are unitary.

    A flattened convolution kernel is an orthogonal matrix, not an orthogonal
    convolution; for that see :func:`delta_orthogonal`.

    :math:`W` is the orthogonal factor of a Gaussian matrix :math:`A = QR` whose
    :math:`R` has a positive diagonal. That factor is unique, so the method may follow
    the place: LAPACK's QR for matrices that are nearly square on CPU, shifted Cholesky
    QR, whose work is matrix products, elsewhere and wherever the result is sharded.
    They agree up to the conditioning of :math:`A`, about :math:`10^{-4}` of an
    element's size at 2048 columns in float32.

    Args:
      scale: the singular values, at least 0: ``calculate_gain(activation)``, or
        :math:`\sqrt 2` before a ReLU. In reinforcement learning a policy's last layer
        often has 0.01 and a value's 1.
      column_axis: the axis that holds the columns.
      dtype: the dtype of the result where the caller gives none.
      batch_axis: axes along which independent matrices are stacked.

    Returns:
      An initializer for shapes with at least two axes that are not batch axes.

    Raises:
      TypeError: if ``scale`` is not a number.
      ValueError: if ``scale`` is negative or not finite, or ``dtype`` is an integer
        dtype; when called, if the shape has too few axes or the axes do not fit it.

    Examples:
      >>> w = orthogonal(2.0)(jax.random.key(0), (5, 3))
      >>> bool(jnp.allclose(w.T @ w, 4 * jnp.eye(3), atol=1e-5))
      True

    References:
      Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
      learning in deep linear neural networks", 2013, section 3. Mezzadri, "How to
      generate random matrices from the classical compact groups", 2007, section 5,
      for the signs. Fukaya et al., "Shifted Cholesky QR for computing the QR
      factorization of ill-conditioned matrices", 2020, section 3.
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
        w = orthogonal_kernel(key, shape, column_axis, batch_axis, dtype, sharding)
        return scaled(w, scale)

    law = times(scale, "orthogonal")
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


def orthogonal_kernel(
    key: jax.Array,
    shape: tuple[int, ...],
    column_axis: int,
    batch_axis: Axes,
    dtype: DTypeLike,
    sharding: NamedSharding | None = None,
    matrices: Callable[..., jax.Array] | None = None,
) -> jax.Array:
    """A kernel with singular values of 1; arguments as :func:`orthogonal` has them.

    Args:
      key: a PRNG key.
      shape: the shape of the kernel, without zeros.
      column_axis: the axis that holds the columns.
      batch_axis: axes along which independent matrices are stacked.
      dtype: a compute dtype.
      sharding: the sharding of the result, if it is to have one.
      matrices: what draws them, by default :func:`orthogonal_matrices`.

    Returns:
      The kernel.
    """
    batch, rows, column = matrix_axes(shape, column_axis, batch_axis)
    w = (matrices or orthogonal_matrices)(
        key,
        tuple(shape[axis] for axis in batch),
        math.prod(shape[axis] for axis in rows),
        shape[column],
        dtype,
        sharding,
    )
    order = (*batch, *rows, column)
    if order == tuple(range(len(shape))):
        return w if w.shape == shape else w.reshape(shape)
    w = w.reshape(tuple(shape[axis] for axis in order))
    return jnp.transpose(w, [order.index(axis) for axis in range(len(order))])


def orthogonal_matrices(
    key: jax.Array,
    batch: tuple[int, ...],
    rows: int,
    cols: int,
    dtype: DTypeLike,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """Independent Haar distributed matrices of shape ``(*batch, rows, cols)``.

    Args:
      key: a PRNG key.
      batch: the leading axes of the result.
      rows: the number of rows.
      cols: the number of columns.
      dtype: a compute dtype; complex gives unitary matrices.
      sharding: if given, the work is split over the mesh axes that it uses.

    Returns:
      Matrices with orthonormal columns, or orthonormal rows if they are wide.
    """
    return _matrices(key, batch, rows, cols, np.dtype(dtype), sharding)


def scaled(x: jax.Array, scale: Scalar) -> jax.Array:
    """``x * scale`` in the dtype of ``x``."""
    if isinstance(scale, float) and scale == 1:
        return x
    factor = jnp.asarray(scale, x.dtype)
    return x * (jnp.broadcast_to(factor, x.shape) if factor.ndim else factor)


@jit("batch", "rows", "cols", "dtype", "sharding")
def _matrices(
    key: jax.Array,
    batch: tuple[int, ...],
    rows: int,
    cols: int,
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    tall = (*batch, max(rows, cols), min(rows, cols))
    by_rows = _row_sharding(tall, sharding)
    a = _draw.normal(key, tall, dtype, sharding=by_rows)
    if by_rows is not None:
        q = _cholesky_qr(a, by_rows)
    else:
        q = jax.lax.platform_dependent(
            a,
            cpu=one_by_one(
                _cholesky_qr if _is_very_tall(*tall[-2:]) else _householder_qr
            ),
            default=_cholesky_qr,
        )
    # The conjugate of a Haar matrix is one too, so a plain transpose will do.
    return q if rows >= cols else q.mT


def _is_very_tall(rows: int, cols: int) -> bool:
    """Whether Cholesky QR beats LAPACK's QR on CPU: see `benchmarks/initializers.py`.

    It does about as many operations for a square matrix, whose condition asks for
    three passes, and far fewer for a tall one, which is well conditioned.
    """
    return cols >= 256 and rows >= 2 * cols


def _householder_qr(a: jax.Array) -> jax.Array:
    q, r = jnp.linalg.qr(a)
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    # LAPACK leaves the signs of R's diagonal to chance; Haar needs them positive.
    phase = jnp.where(diagonal == 0, jnp.ones_like(diagonal), jnp.sign(diagonal))
    return q * phase[..., None, :]


def _cholesky_qr(a: jax.Array, sharding: NamedSharding | None = None) -> jax.Array:
    r"""The Q of ``a = QR`` with a positive diagonal, by repeated Cholesky QR.

    One pass replaces :math:`Q` by :math:`Q L^{-*}` where :math:`L L^* = Q^* Q + s I`.
    The product of the triangular factors is triangular with a positive diagonal,
    so the limit is the unique factor. A Gaussian matrix is too ill-conditioned for
    :math:`s = 0`: a shift of the size of the rounding errors of :math:`Q^* Q` keeps it
    positive definite, and each pass divides the condition by about
    :math:`1/\sqrt s`. Two to four passes are typical; the last begins close enough to
    orthogonal that one step reaches rounding error.
    """
    rows, cols = a.shape[-2:]
    eye = jnp.broadcast_to(jnp.eye(cols, dtype=a.dtype), (*a.shape[:-2], cols, cols))
    shift = cols * float(np.finfo(a.dtype).eps)
    matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def more(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, rough, passes = state
        return rough & (passes < _MAX_PASSES)

    def one_pass(
        state: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        q, _, passes = state
        gram = matmul(jnp.conj(q.mT), q)
        rough = jnp.abs(gram - eye).max() > 0.1
        lower = jnp.linalg.cholesky(
            gram + jnp.where(rough, shift, 0).astype(a.dtype) * eye,
            symmetrize_input=False,
        )
        if sharding is None:
            q = jax.lax.linalg.triangular_solve(
                lower, q, lower=True, transpose_a=True, conjugate_a=True
            )
        else:
            # A solve would gather q on every device; a product with the inverse of
            # the small factor keeps its rows apart.
            inverse = jax.lax.linalg.triangular_solve(
                lower, eye, left_side=True, lower=True
            )
            q = constrain(matmul(q, jnp.conj(inverse.mT)), sharding)
        return q, rough, passes + 1

    # The largest singular value of a Gaussian matrix is close to this sum.
    q = a / (math.sqrt(rows) + math.sqrt(cols))
    # Read off `q`, so that under `shard_map` it varies over the mesh as `q` does.
    rough = jnp.real(q[(0,) * q.ndim]) * 0 == 0
    state = (q, rough, jnp.asarray(0, jnp.int32))
    q, _, _ = jax.lax.while_loop(more, one_pass, state)
    return jnp.asarray(q)


_MAX_PASSES = 12
"""Never reached: each pass gains three decimal digits or more of condition."""


def _row_sharding(
    shape: tuple[int, ...], sharding: NamedSharding | None
) -> NamedSharding | None:
    """The rows of tall matrices over the mesh axes that the result is split over."""
    if sharding is None:
        return None
    used: list[str] = []
    parts = 1
    for axis in _mesh_axes(sharding.spec):
        size = sharding.mesh.shape[axis]
        if shape[-2] % (parts * size) == 0:
            used.append(axis)
            parts *= size
    spec = PartitionSpec(*[None] * (len(shape) - 2), tuple(used) or None, None)
    return NamedSharding(sharding.mesh, spec)


def _mesh_axes(spec: PartitionSpec) -> list[str]:
    axes: list[str] = []
    for part in spec:
        if isinstance(part, str):
            axes.append(part)
        elif isinstance(part, tuple):
            axes.extend(part)
    return axes


def matrix_axes(
    shape: tuple[int, ...], column_axis: int, batch_axis: Axes
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The batch axes, the axes of the rows, and the axis of the columns."""
    if len(shape) - len(as_axes(batch_axis)) < 2:
        raise ValueError(
            f"`shape` must have two axes or more beside `batch_axis` {batch_axis}, got "
            f"{shape}. Use `normal` for vectors."
        )
    (column,) = normalize_axes("column_axis", column_axis, shape)
    batch = normalize_axes("batch_axis", batch_axis, shape)
    if column in batch:
        raise ValueError(
            f"`batch_axis` {batch_axis} holds `column_axis` {column_axis}, for the "
            f"shape {shape}. Name another axis for the columns."
        )
    rows = tuple(
        axis for axis in range(len(shape)) if axis != column and axis not in batch
    )
    return batch, rows, column
