"""Low-rank adapters that look at data: LoRA-GA, EVA, CorDA."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxinit.initializers._check import check_choice, check_number
from jaxinit.transfer.lora import LowRank, adapter_dtype, kernel_matrix, split_kernel

_DAMPING = 0.01


def lora_ga(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    data: jax.Array,
    gamma: float = 16.0,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""The directions of the first gradient in the adapter, so that it learns as all.

    With the gradient's decomposition :math:`G = U S V^\top` (inputs by outputs) and
    :math:`n_\text{out}` outputs,

    .. math::
       A = \frac{n_\text{out}^{1/4}}{\sqrt\gamma} U_{1 \dots r}, \qquad
       B = \frac{n_\text{out}^{1/4}}{\sqrt\gamma} V_{r+1 \dots 2r}^\top, \qquad
       W' = W - s A B.

    Then the first step of the adapter is the best approximation, of its rank, of a
    first step of the whole kernel.

    Args:
      kernel: as in ``lora``.
      rank: as in ``lora``, but at most half of the smaller of inputs and outputs.
      key: not used.
      data: the gradient of the loss with respect to the kernel, of its shape; the
        mean over some batches.
      gamma: :math:`\gamma`; the larger, the smaller the adapter.
      scale: as in ``pissa``; the authors mean it with ``lora_scale(stabilized=True)``.
      num_in_axes: as in ``lora``.
      dtype: as in ``lora``.

    Returns:
      :math:`A`, :math:`B` and :math:`W'`.

    Raises:
      TypeError: if ``rank`` is not an integer or ``gamma`` no number.
      ValueError: as in ``lora``, or if ``data`` has another shape.

    Examples:
      >>> kernel = jnp.ones((8, 4))
      >>> a, b, base = lora_ga(kernel, 2, data=jnp.eye(8, 4))
      >>> bool(jnp.allclose(base + a @ b, kernel, atol=1e-6))
      True

    References:
      Wang, Yu and Li, "LoRA-GA: Low-Rank Adaptation with Gradient Approximation",
      2024, theorem 3.1 and equation 10; "ArB2r" and "stable" of its code.
    """
    del key
    kernel = jnp.asarray(kernel)
    matrix = kernel_matrix(kernel, rank, scale, num_in_axes)
    gamma = check_number("gamma", gamma, "The authors have 16.", low=0.0)
    if jnp.shape(data) != kernel.shape:
        raise ValueError(
            f"`data` must be a gradient of the kernel's shape {kernel.shape}, got "
            f"{jnp.shape(data)}."
        )
    if 2 * rank > min(matrix.shape):
        raise ValueError(
            f"`rank` must be at most {min(matrix.shape) // 2} for lora_ga, which takes "
            f"twice as many directions of a kernel of {matrix.shape[0]} inputs and "
            f"{matrix.shape[1]} outputs, got {rank}."
        )
    gradient = jnp.asarray(data).reshape(matrix.shape).astype(matrix.dtype)
    u, _, vt = jnp.linalg.svd(gradient, full_matrices=False)
    size = matrix.shape[1] ** 0.25 / gamma**0.5
    a, b = size * u[:, :rank], size * vt[rank : 2 * rank]
    return split_kernel(kernel, matrix, a, b, scale, dtype)


def eva(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    data: jax.Array,
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""The directions in which inputs vary most in :math:`A`, and :math:`B` zero.

    :math:`A` has the first right singular vectors of the layer's inputs as its
    columns: of all projections of this rank it keeps most of them. The output is
    exactly the base model's. (From memory: which vectors A has; that B is zero was
    seen in code. The paper also gives layers ranks by what they explain; here ranks
    are those of the model.)

    Args:
      kernel: as in ``lora``.
      rank: as in ``lora``.
      key: not used.
      data: the layer's inputs, ``(..., in)``, at least ``rank`` of them.
      scale: as in ``lora``.
      num_in_axes: as in ``lora``.
      dtype: as in ``lora``.

    Returns:
      :math:`A`, :math:`B` and the kernel as it was.

    Raises:
      TypeError: if ``rank`` is not an integer.
      ValueError: as in ``lora``, or if ``data`` is of another size.

    Examples:
      >>> a, b, _ = eva(jnp.ones((3, 2)), 1, data=jnp.array([[0.0, 2.0, 0.0]]))
      >>> abs(a[:, 0]), bool((b == 0).all())
      (Array([0., 1., 0.], dtype=float32), True)

    References:
      Paischer et al., "Parameter Efficient Fine-tuning via Explained Variance
      Adaptation", 2024, section 3.
    """
    del key
    kernel = jnp.asarray(kernel)
    matrix = kernel_matrix(kernel, rank, scale, num_in_axes)
    inputs = _inputs(data, matrix, rank)
    _, _, vt = jnp.linalg.svd(inputs, full_matrices=False)
    kind = adapter_dtype(kernel, dtype)
    return LowRank(
        vt[:rank].T.astype(kind), jnp.zeros((rank, matrix.shape[1]), kind), kernel
    )


def corda(
    kernel: jax.Array,
    rank: int,
    key: jax.Array | None = None,
    *,
    data: jax.Array,
    keep: Literal["knowledge", "task"] = "task",
    scale: float = 1.0,
    num_in_axes: int | None = None,
    dtype: DTypeLike | None = None,
) -> LowRank:
    r"""The kernel's components as the inputs see them, the first or the last.

    With the inputs' second moments :math:`C = X^\top X / n`, damped by a hundredth of
    their mean diagonal, and :math:`C W = U S V^\top`,

    .. math::
       A = C^{-1} U_r \sqrt{S_r / s}, \qquad B = \sqrt{S_r / s}\, V_r^\top, \qquad
       W' = W - s A B,

    of the first :math:`r` components to learn a task whose inputs these are, of the
    last ones to keep what the model knows of them.

    Args:
      kernel: as in ``lora``.
      rank: as in ``lora``.
      key: not used.
      data: the layer's inputs, ``(..., in)``, at least ``rank`` of them.
      keep: ``"task"``: the first components are trained; ``"knowledge"``: the last.
      scale: as in ``pissa``.
      num_in_axes: as in ``lora``.
      dtype: as in ``lora``.

    Returns:
      :math:`A`, :math:`B` and :math:`W'`.

    Raises:
      TypeError: if ``rank`` is not an integer.
      ValueError: as in ``lora``, or if ``data`` is of another size or ``keep``
        unknown.

    Examples:
      >>> kernel, inputs = jnp.eye(3), jnp.diag(jnp.array([3.0, 2.0, 1.0]))
      >>> base = corda(kernel, 1, data=inputs).base
      >>> bool(jnp.allclose(base, jnp.diag(jnp.array([0.0, 1.0, 1.0])), atol=1e-5))
      True

    References:
      Yang et al., "CorDA: Context-Oriented Decomposition Adaptation of Large Language
      Models", 2024, section 3; the damping is that of its code.
    """
    del key
    check_choice("keep", keep, ("knowledge", "task"), "It says what is trained.")
    kernel = jnp.asarray(kernel)
    matrix = kernel_matrix(kernel, rank, scale, num_in_axes)
    inputs = _inputs(data, matrix, rank)
    moments = _times(inputs.T, inputs) / len(inputs)
    damping = _DAMPING * jnp.diagonal(moments).mean()
    moments += damping * jnp.eye(len(moments), dtype=moments.dtype)
    u, s, vt = jnp.linalg.svd(_times(moments, matrix), full_matrices=False)
    part = slice(0, rank) if keep == "task" else slice(s.size - rank, s.size)
    root = jnp.sqrt(s[part] / scale)
    a = jnp.linalg.solve(moments, u[:, part]) * root
    return split_kernel(kernel, matrix, a, root[:, None] * vt[part], scale, dtype)


def _times(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _inputs(data: jax.Array, matrix: jax.Array, rank: int) -> jax.Array:
    """The inputs as a matrix ``(n, in)``."""
    inputs, size = jnp.asarray(data), matrix.shape[0]
    if not inputs.size or inputs.size % size or inputs.size // size < rank:
        raise ValueError(
            f"`data` must be inputs (..., {size}) of the layer, at least {rank} of "
            f"them, as many as the rank, got an array of shape {inputs.shape}."
        )
    return inputs.reshape(-1, size).astype(matrix.dtype)
