"""Denoising autoencoders of one layer, for pre-training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinit.initializers._check import check_choice, check_count, check_share, shown
from jaxinit.schemes.learned._repeat import minibatches, repeat

Array = jax.Array
Error = Literal["squared", "cross_entropy"]
Hidden = Callable[[Array], Array]
"""An elementwise function on `(samples, units)`."""


class Autoencoder(NamedTuple):
    """A layer that encodes, and what else its transpose needs to decode.

    Attributes:
      weight: `(visible, hidden)`.
      hidden_bias: `(hidden,)`.
      visible_bias: `(visible,)`.
    """

    weight: Array
    hidden_bias: Array
    visible_bias: Array


def denoising_autoencoder(
    *,
    corruption: float = 0.25,
    error: Error = "squared",
    optimizer: Any = None,
    epochs: int = 20,
    batch_size: int = 100,
) -> "DenoisingAutoencoder":
    r"""Pre-training of a dense layer as a denoising autoencoder with tied weights.

    Each entry of a sample :math:`x` is set to 0 with probability ``corruption``. The
    layer encodes the result, :math:`h = s(\tilde x W + b)` with the model's own
    nonlinearity :math:`s`, and its transpose decodes it, :math:`z = h W^T + c`. Learned
    are :math:`W`, :math:`b` and :math:`c`, so that the reconstruction is near
    :math:`x`; :math:`c` is dropped afterwards.

    Args:
      corruption: the probability of losing an entry; 0 for a plain autoencoder. The
        authors took 0.1 to 0.5.
      error: ``"squared"``: :math:`\sum_i (z_i - x_i)^2`, for any data.
        ``"cross_entropy"``: that of :math:`x_i` and the logistic function of
        :math:`z_i`, for data from 0 to 1; hidden layers must then be sigmoid.
      optimizer: an optax transformation; by default ``optax.adam(1e-3)``.
      epochs: passes over the data, for each layer.
      batch_size: samples in a batch; at most as many as there are.

    Returns:
      A method for ``greedy_pretrain``.

    Raises:
      TypeError: if a number is none, or ``optimizer`` no transformation.
      ValueError: if a number is out of range or ``error`` is unknown.

    References:
      Vincent, Larochelle, Bengio and Manzagol, "Extracting and Composing Robust
      Features with Denoising Autoencoders", 2008, section 2; Vincent et al., "Stacked
      Denoising Autoencoders", 2010. They use plain stochastic gradient descent.
    """
    corruption = check_share("corruption", corruption, "The authors took 0.1 to 0.5.")
    check_choice("error", error, get_args(Error), "It measures the reconstruction.")
    counts = check_counts(epochs, batch_size)
    if optimizer is None:
        optimizer = optax.adam(1e-3)
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise TypeError(
            "`optimizer` must be an optax transformation, such as optax.adam(1e-3), "
            f"got {shown(optimizer)}."
        )
    return DenoisingAutoencoder(corruption, error, optimizer, *counts)


def check_counts(epochs: int, batch_size: int) -> tuple[int, int]:
    """Both as integers of at least 1."""
    return (
        check_count("epochs", epochs, "It counts passes over the data."),
        check_count("batch_size", batch_size, "It counts the samples of a batch."),
    )


@dataclass(frozen=True)
class DenoisingAutoencoder:
    """See ``denoising_autoencoder``.

    Attributes:
      corruption: the probability of losing an entry.
      error: the measure of the reconstruction.
      optimizer: an optax transformation.
      epochs: passes over the data.
      batch_size: samples in a batch.
    """

    corruption: float
    error: Error
    optimizer: Any
    epochs: int
    batch_size: int

    def train(
        self,
        weight: Array,
        bias: Array,
        data: Array,
        key: Array,
        *,
        hidden: Hidden,
        learn_bias: bool = True,
        first: bool = True,
        label: str = "denoising autoencoder",
        progress: bool | None = None,
    ) -> tuple[Array, Array]:
        """Pre-trains one layer.

        Args:
          weight: `(visible, hidden)`, where learning begins.
          bias: `(hidden,)`.
          data: `(samples, visible)`, what the layer sees.
          key: for the order of the samples and what they lose.
          hidden: the layer's nonlinearity.
          learn_bias: whether the hidden bias changes.
          first: whether ``data`` are the user's.
          label: for progress and errors.
          progress: whether to show progress.

        Returns:
          Weight and bias.

        Raises:
          ValueError: for cross-entropy, if data are not from 0 to 1. Not checked while
            the caller is traced.
        """
        if self.error == "cross_entropy":
            check_unit_interval(data, first, label, 'error="squared"')
        size = min(self.batch_size, data.shape[0])
        start = Autoencoder(weight, bias, jnp.zeros(weight.shape[0], weight.dtype))

        def loss(coder: Autoencoder, clean: Array, key: Array) -> Array:
            kept = jax.random.bernoulli(key, 1 - self.corruption, clean.shape)
            noisy = jnp.where(kept, clean, jnp.zeros_like(clean))
            return reconstruction_error(coder, noisy, clean, hidden, self.error)

        def update(state: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
            coder, kept = state
            value, slopes = jax.value_and_grad(loss)(coder, *inputs)
            changes, kept = self.optimizer.update(slopes, kept, coder)
            changed = optax.apply_updates(coder, changes)
            if not learn_bias:
                changed = changed._replace(hidden_bias=coder.hidden_bias)
            return (changed, kept), value

        def epoch(state: Any, data: Array, key: Array) -> tuple[Any, Array]:
            for_order, for_noise = jax.random.split(key)
            batches = minibatches(for_order, data, size)
            keys = jax.random.split(for_noise, batches.shape[0])
            state, values = jax.lax.scan(update, state, (batches, keys))
            return state, jnp.mean(values)

        coder, _ = repeat(
            epoch,
            (start, self.optimizer.init(start)),
            self.epochs,
            [data],
            key,
            label=label,
            progress=progress,
        )
        return coder.weight, coder.hidden_bias


def reconstruction_error(
    coder: Autoencoder, noisy: Array, clean: Array, hidden: Hidden, error: Error
) -> Array:
    """The mean over samples of the error with which ``clean`` is reconstructed.

    Args:
      coder: the autoencoder.
      noisy: `(samples, visible)`, what is encoded.
      clean: `(samples, visible)`, what is to come out.
      hidden: the nonlinearity of the code.
      error: ``"squared"`` or ``"cross_entropy"``; see ``denoising_autoencoder``.

    Returns:
      The error, summed over the entries of a sample.
    """
    code = hidden(noisy @ coder.weight + coder.hidden_bias)
    decoded = code @ coder.weight.T + coder.visible_bias
    if error == "squared":
        errors = jnp.square(decoded - clean)
    else:
        errors = optax.sigmoid_binary_cross_entropy(decoded, clean)
    return jnp.mean(jnp.sum(errors, axis=-1))


def check_unit_interval(data: Array, first: bool, label: str, instead: str) -> None:
    """Raises a ValueError if data are known and not from 0 to 1."""
    if isinstance(data, jax.core.Tracer) or not data.size:
        return
    values = np.asarray(data)  # on the host, so that it is no step of a trace
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        whose = "Scale the data" if first else "Use sigmoid hidden layers"
        raise ValueError(
            f"{label}: data must be from 0 to 1, as probabilities are; got {low:.3g} "
            f"to {high:.3g}. {whose}, or choose {instead}."
        )
