"""Random frequencies that let a network see detail in low-dimensional inputs."""

from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_number
from jaxinit.initializers._value import family
from jaxinit.initializers.normal import normal


@family
def fourier_features(stddev: float, dtype: DTypeLike | None = None) -> Initializer:
    r"""Frequencies :math:`B \sim N(0, \sigma^2)` for the features
    :math:`[\cos 2\pi B x, \sin 2\pi B x]`.

    The kernel of these features is shift invariant, with a width of about
    :math:`1/(2\pi\sigma)` in the units of :math:`x`: a small :math:`\sigma` blurs, a
    large one gives noise. ``B`` of shape ``(in, frequencies)`` is usually not trained.

    Args:
      stddev: the standard deviation :math:`\sigma` of the frequencies, in cycles per
        unit of :math:`x`, above 0. The paper's images, with :math:`x` in
        :math:`[0, 1]`, wanted about 10.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer.

    Raises:
      TypeError: if ``stddev`` is not a number.
      ValueError: if ``stddev`` is not positive.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> b = fourier_features(10.0)(jax.random.key(0), (2, 128))
      >>> x = jnp.array([[0.3, 0.4]])
      >>> turns = 2 * jnp.pi * x @ b
      >>> jnp.concatenate([jnp.cos(turns), jnp.sin(turns)], axis=-1).shape
      (1, 256)

    References:
      Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in
      Low Dimensional Domains", 2020, section 5.
    """
    advice = "It is the bandwidth: 10 is common for inputs in [0, 1]."
    return normal(check_number("stddev", stddev, advice, low=0), dtype)
