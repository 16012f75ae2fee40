"""Biases: small and positive, or the prior of what the output should say."""

import math

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike, DTypeLike

from jaxinit._typing import Initializer, Numbers
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_number, shown
from jaxinit.initializers._value import family
from jaxinit.initializers.constants import constant


@family
def relu_bias(value: float = 0.1, dtype: DTypeLike | None = None) -> Initializer:
    """A small positive constant, so that relu units begin active.

    Zero is the usual choice and right with He initialization; this one costs a little
    signal accuracy in return for fewer units that never fire.

    Args:
      value: the bias.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``value`` is not a number.
      ValueError: if ``value`` is not finite.

    Examples:
      >>> relu_bias()(jax.random.key(0), (2,))
      Array([0.1, 0.1], dtype=float32)
    """
    return _bias(check_number("value", value, "It is the bias itself."), dtype)


@family
def prior_bias(probability: float, dtype: DTypeLike | None = None) -> Initializer:
    r"""The logit :math:`\log(p / (1-p))`, for a sigmoid output of a rare event.

    The first predictions are then :math:`p`, so that the loss does not begin with
    unlearning one half for every one of many negatives.

    Args:
      probability: the frequency :math:`p` of the positive class, between 0 and 1.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``probability`` is not a number.
      ValueError: if ``probability`` is not strictly between 0 and 1.

    Examples:
      >>> prior_bias(0.01)(jax.random.key(0), (1,))
      Array([-4.59512], dtype=float32)

    References:
      Lin et al., "Focal Loss for Dense Object Detection", 2017, section 4.1.
    """
    advice = "It is the frequency of the positive class: 0.01 for a rare one."
    p = check_number("probability", probability, advice, low=0, high=1)
    return _bias(math.log(p) - math.log1p(-p), dtype)


@family
def class_prior_bias(
    frequencies: Numbers, dtype: DTypeLike | None = None
) -> Initializer:
    """Logarithms of the class frequencies, for a softmax output.

    With a zero kernel the first predictions are the frequencies, and the first loss is
    their entropy, not the logarithm of the number of classes.

    Args:
      frequencies: positive counts or probabilities, ``(classes,)``. They are divided
        by their sum.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., classes)``.

    Raises:
      ValueError: if a frequency is not positive and finite, or, when called, if the
        number of classes is another one.

    Examples:
      >>> class_prior_bias([3, 1])(jax.random.key(0), (2,))
      Array([-0.2876821, -1.3862944], dtype=float32)
    """
    try:
        counts = np.asarray(frequencies, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            "`frequencies` must be one number for each class, got "
            f"{shown(frequencies)}. They are counts or probabilities."
        ) from error
    kind = np.asarray(frequencies).dtype.kind
    if (
        kind in "bUSO"
        or counts.ndim != 1
        or counts.size == 0
        or not (np.isfinite(counts).all() and (counts > 0).all())
    ):
        raise ValueError(
            "`frequencies` must be one positive, finite number for each class, got "
            f"{np.array2string(counts, threshold=8)}. Add 1 to counts that are zero."
        )
    return _bias(np.log(counts / counts.sum()), dtype)


@family
def fan_in_uniform_bias(fan_in: float, dtype: DTypeLike | None = None) -> Initializer:
    r"""Samples of :math:`U(\pm 1/\sqrt{\text{fan-in}})`, as PyTorch's layers draw.

    A bias does not show the fan-in of its layer, so it is an argument. Their kernels
    are ``variance_scaling(1 / 3, "fan_in", "uniform")``.

    Args:
      fan_in: the fan-in of the *kernel*, taps included; see :func:`fans`.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``fan_in`` is not a number.
      ValueError: if ``fan_in`` is not positive.

    Examples:
      >>> b = fan_in_uniform_bias(fan_in=100)(jax.random.key(0), (1000,))
      >>> bool(abs(b).max() <= 0.1)
      True
    """
    advice = "It is the fan-in of the kernel: 144 for 3x3 taps and 16 channels."
    bound = 1 / math.sqrt(check_number("fan_in", fan_in, advice, low=0))

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return _draw.uniform(key, shape, dtype, -1.0, 1.0, bound, sharding)

    law = f"uniform, std {bound / math.sqrt(3):.4g}"
    return _draw.from_maker(make, dtype, kinds="real", law=law, refit=True)


def _bias(value: ArrayLike, dtype: DTypeLike | None) -> Initializer:
    """A constant, which no integer dtype holds."""
    _draw.check_dtype(dtype)
    return constant(value, dtype)
