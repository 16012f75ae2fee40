"""Low-rank adapters of pretrained kernels: LoRA, PiSSA, MiLoRA, OLoRA."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._check import (
    check_count,
    check_initializer,
    check_integer,
    check_number,
)
from jaxinit.initializers._draw import check_dtype, compute_dtype
from jaxinit.initializers.variance_scaling import variance_scaling


class LowRank(NamedTuple):
    r"""An adapter: the layer's kernel is :math:`W' + s A B`.

    Attributes:
      a: :math:`A`, ``(in, rank)``.
      b: :math:`B`, ``(rank, out)``.
      base: :math:`W'`, with the shape and dtype of the pretrained kernel.
    """

    a: jax.Array
    b: jax.Array
    base: jax.Array


LowRankMethod: TypeAlias = Callable[..., LowRank]
"""``(kernel, rank, key, *, num_in_axes, dtype) -> LowRank``."""


def lora_scale(rank: int, alpha: float, *, stabilized: bool = False) -> float:
    r"""An adapter's factor :math:`s`: :math:`\alpha / r` or :math:`\alpha / \sqrt r`.

    With :math:`\alpha / r` the adapter learns more slowly the higher its rank; with
    the square root (rsLoRA) the size of its output and gradient does not depend on it.

    Args:
      rank: :math:`r \ge 1`.
      alpha: :math:`\alpha > 0`.
      stabilized: whether to take the square root.

    Returns:
      :math:`s`.

    Raises:
      TypeError: if an argument is not a number.
      ValueError: if one is out of its range.

    Examples:
      >>> lora_scale(16, alpha=8), lora_scale(16, alpha=8, stabilized=True)
      (0.5, 2.0)

    References:
      Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
      2023, for the square root.
    """
    rank = check_count("rank", rank, "It is the number of columns of A.")
    alpha = check_number("alpha", alpha, "Often 1 or 2 times the rank.", low=0.0)
    return alpha / (math.sqrt(rank) if stabilized else rank)


def lora(
    kernel: jax.Array,
    rank: int,
    key: jax.Array,
    *,
    a_init: Initializer | None = None,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""Random :math:`A`, zero :math:`B`: the output is exactly the base model's.

    =====================  ==================================================
    law of :math:`A`       ``a_init``
    =====================  ==================================================
    bound 1/sqrt(in)       ``None``: uniform, as in the authors' code
    :math:`N(0, 1/r^2)`    ``normal(1 / rank)``
    He uniform             ``he_uniform()``, as in ``nnx.LoRA``
    =====================  ==================================================

    Args:
      kernel: the pretrained kernel, ``(..., in, out)``; any number of axes from two.
      rank: :math:`r`, from 1 to the smaller of inputs and outputs.
      key: a PRNG key.
      a_init: the law of :math:`A`, ``(in, rank)``.
      scale: :math:`s`; it plays no part, as :math:`B` is zero. ``nnx.LoRA`` has 1.
      num_in_axes: how many leading axes of the kernel are inputs. By default all but
        the last: convolutions, and the output kernel of attention. For query, key
        and value kernels ``(in, heads, head_dim)`` pass 1.
      dtype: the dtype of :math:`A` and :math:`B`. By default float32 for a kernel of
        fewer bits, otherwise the kernel's.

    Returns:
      :math:`A`, :math:`B` and the kernel as it was.

    Raises:
      TypeError: if ``a_init`` is not callable or ``rank`` not an integer.
      ValueError: if ``rank`` or ``num_in_axes`` does not fit the kernel, ``scale`` is
        not positive, or a dtype is an integer dtype.

    Examples:
      >>> kernel = jnp.ones((64, 32))
      >>> a, b, base = lora(kernel, 4, jax.random.key(0))
      >>> a.shape, b.shape, bool((base + a @ b == kernel).all())
      ((64, 4), (4, 32), True)

    References:
      Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021,
      section 4.1.
    """
    kernel = jnp.asarray(kernel)
    rows, cols = _matrix_shape(kernel, rank, scale, num_in_axes)
    if a_init is None:
        a_init = variance_scaling(1 / 3, "fan_in", "uniform")
    check_initializer("a_init", a_init)
    kind = adapter_dtype(kernel, dtype)
    return LowRank(
        a_init(key, (rows, rank), kind), jnp.zeros((rank, cols), kind), kernel
    )


def pissa(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""The leading singular vectors in the adapter, the rest in the base.

    With :math:`W = U S V^*`: :math:`A = U_r \sqrt{S_r / s}`,
    :math:`B = \sqrt{S_r / s}\, V_r^*`, :math:`W' = W - s A B`. The output is the base
    model's up to rounding, and training changes the directions that matter most.

    The product is formed from :math:`A` and :math:`B` as they are returned, and
    subtracted in float32 or wider; a base of fewer bits is rounded once, after that.
    So :math:`W' + s A B` is :math:`W` to about :math:`10^{-6}` of its largest entries
    in float32; for a bfloat16 base to :math:`2^{-9}` of the entries of :math:`W'`.

    Args:
      kernel: as in :func:`lora`.
      rank: as in :func:`lora`.
      key: not used.
      scale: :math:`s > 0`: 1 for ``nnx.LoRA``, or what :func:`lora_scale` gives.
      num_in_axes: as in :func:`lora`.
      dtype: as in :func:`lora`.

    Returns:
      :math:`A`, :math:`B` and :math:`W'`.

    Raises:
      TypeError: if ``rank`` is not an integer.
      ValueError: as in :func:`lora`.

    Examples:
      >>> kernel = jnp.diag(jnp.array([3.0, 2.0, 1.0]))
      >>> base = pissa(kernel, 1).base
      >>> bool(jnp.allclose(base, jnp.diag(jnp.array([0, 2, 1])), atol=1e-6))
      True

    References:
      Meng, Wang and Zhang, "PiSSA: Principal Singular Values and Singular Vectors
      Adaptation of Large Language Models", 2024.
    """
    del key
    return _singular(kernel, rank, scale, num_in_axes, dtype, leading=True)


def milora(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""The last singular vectors in the adapter, the rest in the base.

    As :func:`pissa` with the :math:`r` smallest singular values: training starts in
    the directions that the pretrained model uses least.

    Args:
      kernel: as in :func:`lora`.
      rank: as in :func:`lora`.
      key: not used.
      scale: as in :func:`pissa`.
      num_in_axes: as in :func:`lora`.
      dtype: as in :func:`lora`.

    Returns:
      :math:`A`, :math:`B` and :math:`W'`.

    Raises:
      TypeError: if ``rank`` is not an integer.
      ValueError: as in :func:`lora`.

    Examples:
      >>> kernel = jnp.diag(jnp.array([3.0, 2.0, 1.0]))
      >>> bool(jnp.allclose(milora(kernel, 1).base, jnp.diag(jnp.array([3, 2, 0]))))
      True

    References:
      Wang et al., "MiLoRA: Harnessing Minor Singular Components for
      Parameter-Efficient LLM Finetuning", 2024.
    """
    del key
    return _singular(kernel, rank, scale, num_in_axes, dtype, leading=False)


def olora(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""Orthonormal rows of :math:`B`, from the QR factors of the kernel.

    With :math:`W^\top = Q R`: :math:`B = Q_r^\top`, the first :math:`r` columns,
    :math:`A = R_r^\top`, the first rows, and :math:`W' = W - s A B`. The output is the
    base model's up to rounding, as :func:`pissa` says.

    Args:
      kernel: as in :func:`lora`.
      rank: as in :func:`lora`.
      key: not used.
      scale: as in :func:`pissa`.
      num_in_axes: as in :func:`lora`.
      dtype: as in :func:`lora`.

    Returns:
      :math:`A`, :math:`B` and :math:`W'`.

    Raises:
      TypeError: if ``rank`` is not an integer.
      ValueError: as in :func:`lora`.

    Examples:
      >>> _, b, _ = olora(jnp.arange(12.0).reshape(4, 3), 2)
      >>> bool(jnp.allclose(b @ b.T, jnp.eye(2), atol=1e-6))
      True

    References:
      Büyükakyüz, "OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models",
      2024.
    """
    del key
    kernel = jnp.asarray(kernel)
    matrix = kernel_matrix(kernel, rank, scale, num_in_axes)
    q, r = jnp.linalg.qr(matrix.T)
    return split_kernel(kernel, matrix, r[:rank].T, q[:, :rank].T, scale, dtype)


def _singular(
    kernel: jax.Array,
    rank: int,
    scale: float,
    num_in_axes: int | None,
    dtype: DTypeLike | None,
    *,
    leading: bool,
) -> LowRank:
    kernel = jnp.asarray(kernel)
    matrix = kernel_matrix(kernel, rank, scale, num_in_axes)
    u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
    part = slice(0, rank) if leading else slice(s.size - rank, s.size)
    root = jnp.sqrt(s[part] / scale)
    a, b = u[:, part] * root, root[:, None] * vt[part]
    return split_kernel(kernel, matrix, a, b, scale, dtype)


def split_kernel(
    kernel: jax.Array,
    matrix: jax.Array,
    a: jax.Array,
    b: jax.Array,
    scale: float,
    dtype: DTypeLike | None,
) -> LowRank:
    """The adapter in its dtype, and what it leaves of the kernel."""
    kind = adapter_dtype(kernel, dtype)
    a, b = a.astype(kind), b.astype(kind)
    wide = matrix.dtype
    product = jnp.matmul(
        a.astype(wide), b.astype(wide), precision=jax.lax.Precision.HIGHEST
    )
    base = (matrix - scale * product).astype(kernel.dtype).reshape(kernel.shape)
    return LowRank(a, b, base)


def kernel_matrix(
    kernel: jax.Array, rank: int, scale: float, num_in_axes: int | None
) -> jax.Array:
    """The kernel as a matrix ``(in, out)`` in the dtype of the computation."""
    shape = _matrix_shape(kernel, rank, scale, num_in_axes)
    return kernel.reshape(shape).astype(compute_dtype(np.dtype(kernel.dtype)))


def _matrix_shape(
    kernel: jax.Array, rank: int, scale: float, num_in_axes: int | None
) -> tuple[int, int]:
    check_dtype(kernel.dtype, name="kernel")
    check_number("scale", scale, "`lora_scale` computes it.", low=0.0)
    shape = kernel.shape
    split = len(shape) - 1
    if num_in_axes is not None:
        split = check_integer("num_in_axes", num_in_axes, "It counts leading axes.")
    if not 1 <= split < len(shape):
        raise ValueError(
            "`num_in_axes` must leave an axis or more for inputs and for outputs, got "
            f"{num_in_axes} for a kernel of shape {shape}."
        )
    rows, cols = math.prod(shape[:split]), math.prod(shape[split:])
    check_count("rank", rank, "It is the number of columns of A.")
    if rank > min(rows, cols):
        raise ValueError(
            f"`rank` must be at most {min(rows, cols)} for a kernel of {rows} inputs "
            f"and {cols} outputs, got {rank}."
        )
    return rows, cols


def adapter_dtype(kernel: jax.Array, dtype: DTypeLike | None) -> np.dtype:
    if dtype is not None:
        return check_dtype(dtype)
    return compute_dtype(np.dtype(kernel.dtype))
