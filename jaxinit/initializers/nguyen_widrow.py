"""Tanh layers whose linear regions together cover the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_count, check_number
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import family

_ADVICE = "The authors take 0.7, a mild overlap of the units' regions."


@family
def nguyen_widrow(factor: float = 0.7, dtype: DTypeLike | None = None) -> Initializer:
    r"""Incoming weights in random directions, all of norm
    :math:`\beta = 0.7\, H^{1/n}`.

    For a layer of :math:`H` tanh units on :math:`n` inputs in :math:`[-1, 1]`, as in
    regression on few variables. Each unit is roughly linear in one slab of the input
    space; with biases from :func:`nguyen_widrow_bias`, the slabs cover it.

    Args:
      factor: the number 0.7.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(n, H)``.

    Raises:
      TypeError: if ``factor`` is not a number.
      ValueError: if ``factor`` is not positive, or, when called, if the shape does not
        have two axes.

    Examples:
      >>> w = nguyen_widrow()(jax.random.key(0), (2, 16))
      >>> bool(jnp.allclose(jnp.linalg.norm(w, axis=0), jnp.full(16, 0.7 * 4)))
      True

    References:
      Nguyen and Widrow, "Improving the learning speed of 2-layer neural networks by
      choosing initial values of the adaptive weights", 1990, section 4.
    """
    factor = check_number("factor", factor, _ADVICE, low=0)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        inputs, units = shape
        w = _draw.uniform(key, shape, dtype, -1.0, 1.0, sharding=sharding)
        return _with_norm(w, factor * units ** (1 / inputs))

    law = f"columns of norm {factor:.4g} units^(1/inputs), uniform directions"
    return _draw.from_sampler(
        sampler, dtype, check_shape=_check_shape, kinds="real", law=law
    )


@family
def nguyen_widrow_bias(
    num_inputs: int, factor: float = 0.7, dtype: DTypeLike | None = None
) -> Initializer:
    r"""Samples of :math:`U(-\beta, \beta)`, for the biases of :func:`nguyen_widrow`.

    Args:
      num_inputs: the number :math:`n` of inputs, which a bias does not show.
      factor: the number 0.7, as for the kernel.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(H,)``.

    Raises:
      TypeError: if an argument is not a number.
      ValueError: if ``num_inputs`` is below 1 or ``factor`` not positive.

    Examples:
      >>> b = nguyen_widrow_bias(num_inputs=2)(jax.random.key(0), (16,))
      >>> bool(abs(b).max() <= 2.8)
      True

    References:
      Nguyen and Widrow, "Improving the learning speed of 2-layer neural networks by
      choosing initial values of the adaptive weights", 1990, section 4.
    """
    check_count("num_inputs", num_inputs, "It is the fan-in of the kernel.")
    factor = check_number("factor", factor, _ADVICE, low=0)

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        bound = factor * shape[-1] ** (1 / num_inputs) if shape else factor
        return _draw.uniform(key, shape, dtype, -1.0, 1.0, bound, sharding)

    law = f"uniform, bound {factor:.4g} units^(1/{num_inputs})"
    return _draw.from_maker(make, dtype, kinds="real", law=law)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"`shape` must be (inputs, units), got {shape}: the rule is for dense "
            "layers. Use `he_normal` for convolutions."
        )


@jit()
def _with_norm(w: jax.Array, norm: float) -> jax.Array:
    """``w`` with columns of the given norm."""
    # A column of zeros has no direction: take that of ones.
    w = jnp.where(jnp.all(w == 0, axis=0, keepdims=True), jnp.ones_like(w), w)
    # Without the largest magnitude, tiny columns would have a square of zero.
    w = w / jnp.max(jnp.abs(w), axis=0, keepdims=True)
    squares = jnp.sum(w * w, axis=0, keepdims=True)
    return w * (norm / jnp.sqrt(squares))
