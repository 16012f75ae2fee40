"""Restricted Boltzmann machines, for pre-training."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.initializers._check import check_choice, check_count, check_number
from jaxinit.schemes.learned._repeat import minibatches, repeat
from jaxinit.schemes.pretrain.denoising import (
    Hidden,
    check_counts,
    check_unit_interval,
)

Array = jax.Array
Visible = Literal["binary", "gaussian"]

# Epochs of the momentum 0.5, before 0.9: the weights find their scale in them.
EARLY_EPOCHS = 5


class Machine(NamedTuple):
    """A restricted Boltzmann machine.

    Attributes:
      weight: `(visible, hidden)`.
      hidden_bias: `(hidden,)`.
      visible_bias: `(visible,)`.
    """

    weight: Array
    hidden_bias: Array
    visible_bias: Array


def rbm(
    *,
    visible: Visible = "binary",
    steps: int = 1,
    learning_rate: float | None = None,
    epochs: int = 20,
    batch_size: int = 100,
) -> "BoltzmannMachine":
    r"""Pre-training of a dense layer as a restricted Boltzmann machine.

    With binary hidden units :math:`h` the energy is :math:`-v W h - b h - c v` for
    binary visible units and :math:`\|v - c\|^2 / 2 - v W h - b h` for Gaussian ones,
    whose variance is 1. Either way :math:`p(h_j = 1 | v) = \sigma((v W + b)_j)`, a
    dense layer with a sigmoid. The weights begin as normal samples of standard
    deviation 0.01, :math:`b` as 0, and :math:`c` as :math:`\log(p / (1 - p))`, with
    :math:`p` the mean of a unit over the data, or as that mean for Gaussian units.
    They follow contrastive divergence,

    .. math::
      \Delta W = \epsilon\,\langle v_0^T h_0 - v_k^T h_k \rangle,

    with momentum 0.5 for five epochs and 0.9 from then on.

    Args:
      visible: the units that the data are for: ``"binary"``, from 0 to 1, or
        ``"gaussian"``, each entry of the data with mean 0 and variance 1. The deeper
        layers see probabilities and are binary.
      steps: :math:`k`, the steps of Gibbs sampling.
      learning_rate: :math:`\epsilon`; by default 0.1 for binary and 0.001 for
        Gaussian units.
      epochs: passes over the data, for each layer.
      batch_size: samples in a batch; at most as many as there are.

    Returns:
      A method for ``greedy_pretrain``, for models with sigmoid hidden layers.

    Raises:
      TypeError: if a number is none.
      ValueError: if a number is out of range or ``visible`` is unknown.

    References:
      Hinton, Osindero and Teh, "A Fast Learning Algorithm for Deep Belief Nets", 2006;
      Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010,
      sections 3, 7, 8, 9 and 13. As recommended there, hidden units are sampled while
      they drive the visible ones, and otherwise probabilities stand for samples. No
      weight decay.
    """
    check_choice("visible", visible, get_args(Visible), "It is what the data are.")
    steps = check_count("steps", steps, "It counts steps of Gibbs sampling: 1.")
    if learning_rate is not None:
        advice = "It is 0.1 for binary units."
        learning_rate = check_number("learning_rate", learning_rate, advice, low=0)
    counts = check_counts(epochs, batch_size)
    return BoltzmannMachine(visible, steps, learning_rate, *counts)


@dataclass(frozen=True)
class BoltzmannMachine:
    """See ``rbm``.

    Attributes:
      visible: the units that the data are for.
      steps: the steps of Gibbs sampling.
      learning_rate: ``None`` for the default of the visible units.
      epochs: passes over the data.
      batch_size: samples in a batch.
    """

    visible: Visible
    steps: int
    learning_rate: float | None
    epochs: int
    batch_size: int

    def train(
        self,
        weight: Array,
        bias: Array,
        data: Array,
        key: Array,
        *,
        hidden: Hidden | None = None,
        learn_bias: bool = True,
        first: bool = True,
        label: str = "restricted Boltzmann machine",
        progress: bool | None = None,
    ) -> tuple[Array, Array]:
        """Pre-trains one layer.

        Args:
          weight: `(visible, hidden)`; only its shape and dtype count.
          bias: `(hidden,)`; its values count only if they are not learned.
          data: `(samples, visible)`, what the layer sees.
          key: for all random numbers.
          hidden: the layer's nonlinearity, which must be the logistic function.
          learn_bias: whether the hidden bias is learned, from 0.
          first: whether ``data`` are the user's.
          label: for progress and errors.
          progress: whether to show progress.

        Returns:
          Weight and bias.

        Raises:
          ValueError: for binary units, if data are not from 0 to 1. Not checked while
            the caller is traced.
        """
        del hidden
        visible: Visible = self.visible if first else "binary"
        if visible == "binary":
            check_unit_interval(data, first, label, 'visible="gaussian"')
        rate = self.learning_rate
        if rate is None:
            rate = 0.1 if visible == "binary" else 0.001
        size = min(self.batch_size, data.shape[0])
        for_weight, key = jax.random.split(key)
        drawn = 0.01 * jax.random.normal(for_weight, weight.shape, weight.dtype)
        begin = jnp.zeros_like(bias) if learn_bias else bias
        machine = Machine(drawn, begin, initial_visible_bias(data, visible))

        def epoch(state: Any, data: Array, key: Array) -> tuple[Any, Array]:
            machine, velocity, done = state
            momentum = jnp.where(done < EARLY_EPOCHS, 0.5, 0.9).astype(data.dtype)

            def update(state: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
                machine, velocity = state
                v, key = inputs
                slope, error = contrastive_divergence(
                    machine, v, key, steps=self.steps, visible=visible
                )
                if not learn_bias:
                    slope = slope._replace(hidden_bias=jnp.zeros_like(bias))
                velocity = jax.tree.map(
                    lambda old, new: momentum * old + rate * new, velocity, slope
                )
                return (jax.tree.map(jnp.add, machine, velocity), velocity), error

            for_order, for_samples = jax.random.split(key)
            batches = minibatches(for_order, data, size)
            keys = jax.random.split(for_samples, batches.shape[0])
            (machine, velocity), errors = lax.scan(
                update, (machine, velocity), (batches, keys)
            )
            return (machine, velocity, done + 1), jnp.mean(errors)

        still = jax.tree.map(jnp.zeros_like, machine)
        machine, _, _ = repeat(
            epoch,
            (machine, still, jnp.zeros((), jnp.int32)),
            self.epochs,
            [data],
            key,
            label=label,
            progress=progress,
        )
        return machine.weight, machine.hidden_bias


def hidden_probabilities(machine: Machine, visible: Array) -> Array:
    """:math:`p(h_j = 1 | v)`, `(samples, hidden)`, for rows ``visible``."""
    return jax.nn.sigmoid(visible @ machine.weight + machine.hidden_bias)


def visible_means(machine: Machine, hidden: Array, visible: Visible) -> Array:
    """The expected visible units, `(samples, visible)`, for rows ``hidden``."""
    means = hidden @ machine.weight.T + machine.visible_bias
    return jax.nn.sigmoid(means) if visible == "binary" else means


def contrastive_divergence(
    machine: Machine, data: Array, key: Array, *, steps: int, visible: Visible
) -> tuple[Machine, Array]:
    """The direction of contrastive divergence.

    Args:
      machine: the weights.
      data: `(samples, visible)`.
      key: for the samples of hidden units.
      steps: of Gibbs sampling.
      visible: the kind of the visible units.

    Returns:
      For each weight what is to be added, before the learning rate; and the squared
      error of the first reconstruction, summed over a sample's entries, mean over
      samples.
    """
    start = hidden_probabilities(machine, data)

    def gibbs(carry: tuple[Array, Array], key: Array) -> tuple[Any, Array]:
        _, probabilities = carry
        hidden = jax.random.bernoulli(key, probabilities).astype(data.dtype)
        seen = visible_means(machine, hidden, visible)
        error = jnp.mean(jnp.sum(jnp.square(seen - data), axis=-1))
        return (seen, hidden_probabilities(machine, seen)), error

    keys = jax.random.split(key, steps)
    (seen, end), errors = lax.scan(gibbs, (data, start), keys)
    count = data.shape[0]
    direction = Machine(
        (data.T @ start - seen.T @ end) / count,
        jnp.mean(start - end, axis=0),
        jnp.mean(data - seen, axis=0),
    )
    return direction, errors[0]


def initial_visible_bias(data: Array, visible: Visible) -> Array:
    r"""The visible bias with which a machine without weights has the data's means.

    :math:`\log(p / (1 - p))` for binary units; a unit that is always off or on counts
    as if half a sample were not.
    """
    means = jnp.mean(data, axis=0)
    if visible == "gaussian":
        return means
    half = 0.5 / max(data.shape[0], 1)
    p = jnp.clip(means, half, 1 - half)
    return jnp.log(p) - jnp.log1p(-p)
