"""Kernels of recurrent cells: fused gates, identity recurrence."""

from typing import NamedTuple

from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_count
from jaxinit.initializers._value import family
from jaxinit.initializers.constants import zeros
from jaxinit.initializers.identity import identity
from jaxinit.initializers.normal import normal
from jaxinit.initializers.orthogonal import orthogonal
from jaxinit.initializers.stacks import blocked


@family
def orthogonal_gates(
    num_gates: int, scale: Scalar = 1.0, dtype: DTypeLike | None = None
) -> Initializer:
    """An orthogonal recurrent kernel for each of the gates fused along the last axis.

    A plain :func:`orthogonal` on the fused ``(units, gates * units)`` is orthogonal
    across gates, not within them: each gate's kernel comes out smaller by the root of
    their number, with singular values near zero.

    Args:
      num_gates: 4 for ``nnx.OptimizedLSTMCell``, 3 for ``nnx.GRUCell``. Cells with one
        kernel for each gate, as in Flax linen, take ``orthogonal()`` itself.
      scale: all singular values of each gate's kernel.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(units, gates * units)``.

    Raises:
      TypeError: if ``num_gates`` is not an integer or ``scale`` not a number.
      ValueError: if ``num_gates`` is below 1 or ``scale`` negative, or, when called,
        if ``num_gates`` does not divide the last axis.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> w = orthogonal_gates(4)(jax.random.key(0), (8, 32))
      >>> bool(jnp.allclose(w[:, :8].T @ w[:, :8], jnp.eye(8), atol=1e-5))
      True
    """
    check_count("num_gates", num_gates, "It counts the fused gates: 4 for an LSTM.")
    _draw.check_scale("scale", scale, "singular values of each gate's kernel")
    return blocked(orthogonal(scale), num_gates, dtype=dtype)


class IRNN(NamedTuple):
    """The three initializers of a relu recurrence that begins as an accumulator.

    Attributes:
      kernel: of the input kernel, ``N(0, 0.001^2)``.
      recurrent: of the recurrent kernel, the identity times a gain.
      bias: zeros.
    """

    kernel: Initializer
    recurrent: Initializer
    bias: Initializer


def irnn(gain: float = 1.0, stddev: float = 1e-3) -> IRNN:
    """Initializers for a simple recurrent cell with relu that keeps its state.

    With an identity for the recurrent kernel the state stays and inputs are added, and
    gradients pass through time unchanged.

    Args:
      gain: the factor of the identity; 0.01 where long memory hurts.
      stddev: the standard deviation of the input kernel.

    Returns:
      The initializers of the input kernel, the recurrent kernel and the bias.

    Raises:
      TypeError: if an argument is not a number.
      ValueError: if ``gain`` is not finite or ``stddev`` negative.

    Examples:
      >>> import jax
      >>> init = irnn()
      >>> init.recurrent(jax.random.key(0), (2, 2))
      Array([[1., 0.],
             [0., 1.]], dtype=float32)

    References:
      Le, Jaitly and Hinton, "A Simple Way to Initialize Recurrent Networks of
      Rectified Linear Units", 2015, section 3.
    """
    _draw.check_scale("stddev", stddev, "standard deviation of the input kernel")
    return IRNN(normal(stddev), identity(gain), zeros)
