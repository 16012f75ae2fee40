"""Kernels that pass their input on."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import (
    as_number,
    check_count,
    check_factor,
    shown,
)
from jaxinit.initializers._value import family, number_of, times
from jaxinit.initializers.delta_orthogonal import check_convolution
from jaxinit.initializers.fans import check_groups


@family
def identity(gain: Scalar = 1.0, dtype: DTypeLike | None = None) -> Initializer:
    """``gain`` times the identity on the last two axes, repeated over the others.

    Rectangular kernels pass on the first ``min(in, out)`` units. As the recurrent
    kernel of a ReLU network with zero biases it makes the state an integrator (IRNN).

    Args:
      gain: the value on the diagonal; 0.01 where a long memory hurts.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes ``(..., in, out)``. It draws nothing.

    Raises:
      ValueError: if ``gain`` is not finite or ``dtype`` is an integer dtype; when
        called, if the shape has fewer than two axes.

    Examples:
      >>> identity()(jax.random.key(0), (2, 3))
      Array([[1., 0., 0.],
             [0., 1., 0.]], dtype=float32)

    References:
      Le, Jaitly and Hinton, "A Simple Way to Initialize Recurrent Networks of
      Rectified Linear Units", 2015, section 3.
    """
    gain = _checked_gain(gain)

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(
                f"`shape` must be `(..., in, out)`, got {shape}. Use `ones` or "
                "`constant` for vectors."
            )

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        row, col = (_index(shape, axis) for axis in (-2, -1))
        return jnp.where(row == col, jnp.asarray(gain, dtype), jnp.zeros((), dtype))

    law = times(gain, "identity")
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


@family
def idinit(
    gain: Scalar = 1.0, stddev: Scalar = 0.0, dtype: DTypeLike | None = None
) -> Initializer:
    r"""The identity, repeated where the kernel is not square, and loosened by noise.

    Weight :math:`(i, j)` is ``gain`` if :math:`i = j` modulo the smaller of inputs and
    outputs, so that the rank is full and every unit is used: a layer that widens
    repeats its inputs, one that narrows adds them up. Units that repeat an input are
    equal; ``stddev`` makes them differ.

    In a residual network the first kernels of a branch have ``gain=1.0`` and the last
    one ``gain=1e-6``, which hardly changes the stream but leaves no weight without a
    gradient.

    Args:
      gain: the value of the ones, 1 to keep the signal and ``1e-6`` to begin with
        nearly none.
      stddev: the standard deviation of the normal noise that is added, at least 0.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes ``(in, out)``. Without ``stddev`` it draws nothing.

    Raises:
      ValueError: if ``gain`` or ``stddev`` is not finite, ``stddev`` is negative or
        ``dtype`` is an integer dtype; when called, if the shape has not two axes.

    Examples:
      >>> idinit()(jax.random.key(0), (2, 3))
      Array([[1., 0., 1.],
             [0., 1., 0.]], dtype=float32)

    References:
      Pan, Wang, Wu, Wang, Zhang and Xu, "IDInit: A Universal and Stable Initialization
      Method for Neural Network Training", 2025, section 3: the padded identity, with
      the values 1 and 1e-6 of the identity and the zero that it keeps. Its rule for
      convolutions is left out; see :func:`dirac`.
    """
    gain = _checked_gain(gain)
    stddev = _draw.check_scale("stddev", stddev, "standard deviation of the noise")
    if np.ndim(stddev):
        raise TypeError(f"`stddev` must be a number, got {shown(stddev)}.")

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) != 2:
            raise ValueError(
                f"`shape` must be `(in, out)`, got {shape}. Use `dirac` or "
                "`zero_hadamard` for convolutions, `stacked` for stacks of matrices."
            )

    quiet = as_number(stddev) == 0

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        hit = (_index(shape, -2) - _index(shape, -1)) % min(shape) == 0
        ones = jnp.where(hit, jnp.asarray(gain, dtype), jnp.zeros((), dtype))
        if quiet:
            return ones
        return ones + _draw.normal(key, shape, dtype, stddev, sharding)

    law = times(gain, "identity, repeated where not square")
    if not quiet:
        law = f"{law}, plus normal noise, std {number_of(stddev)}"
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


@family
def dirac(
    groups: int = 1, gain: Scalar = 1.0, dtype: DTypeLike | None = None
) -> Initializer:
    """The convolution that returns its input, times ``gain``.

    The center tap :math:`(k - 1) // 2`, which padding ``"SAME"`` aligns with the
    output, is the identity from the inputs of each group to its first outputs; the
    other taps are zero. (PyTorch's ``dirac_`` uses tap :math:`k // 2`, which differs
    for even sizes.)

    Args:
      groups: the number of groups of the convolution.
      gain: the value of the ones.
      dtype: the dtype of the result where the caller gives none.

    Returns:
      An initializer for shapes ``(*spatial, in / groups, out)`` with one to three
      spatial axes. It draws nothing.

    Raises:
      ValueError: if ``groups`` is below 1, ``gain`` is not finite or ``dtype`` is an
        integer dtype; when called, if the shape has another number of axes or
        ``groups`` does not divide its outputs.

    Examples:
      >>> dirac()(jax.random.key(0), (3, 1, 1)).ravel()
      Array([0., 1., 0.], dtype=float32)

    References:
      Zagoruyko and Komodakis, "DiracNets: Training Very Deep Neural Networks Without
      Skip-Connections", 2017, section 3, for the name.
    """
    gain = _checked_gain(gain)
    check_count("groups", groups, "It counts the groups of the convolution.")

    def check_shape(shape: tuple[int, ...]) -> None:
        check_convolution(shape)
        check_groups(groups, shape[-1], shape)

    def sample(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        hit = _index(shape, -2) == _index(shape, -1) % (shape[-1] // groups)
        for axis, size in enumerate(shape[:-2]):
            hit = hit & (_index(shape, axis) == (size - 1) // 2)
        return jnp.where(hit, jnp.asarray(gain, dtype), jnp.zeros((), dtype))

    law = f"{times(gain, 'identity')}, at the center tap"
    return _draw.from_sampler(sample, dtype, check_shape=check_shape, law=law)


def _index(shape: tuple[int, ...], axis: int) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis % len(shape))


def _checked_gain(gain: Scalar) -> Scalar:
    found = check_factor("gain", gain, "It multiplies the ones.")
    if np.ndim(found):
        raise TypeError(f"`gain` must be a number, got {shown(gain)}.")
    return found
