"""GradInit: scales of all tensors, learned so that the first step helps most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import jax

from jaxinit.initializers._check import check_choice, check_count, check_number
from jaxinit.roles.network import Network
from jaxinit.schemes.learned._batches import (
    Batches,
    Loss,
    Overlapping,
    check_batches,
    check_loss,
    with_network,
)
from jaxinit.schemes.learned._learned import Learn, Learned, starting
from jaxinit.schemes.learned._scales import scaled
from jaxinit.schemes.learned.learn_scales import Algorithm, Settings, learn_scales
from jaxinit.schemes.scheme import Scheme

Array = jax.Array


def gradinit(
    loss: Loss,
    batches: Iterable[Any],
    *,
    start: Any = None,
    algorithm: Algorithm = "normalized_sgd",
    eta: float = 0.1,
    gamma: float = 1.0,
    iterations: int = 390,
    learning_rate: float = 1e-2,
    min_scale: float = 0.01,
    progress: bool | None = None,
) -> Scheme:
    r"""GradInit: one scale per tensor, learned on data before training.

    Each tensor :math:`W_i` is multiplied by a scale :math:`\alpha_i`, 1 at first. With
    :math:`g` the gradient of the loss at :math:`\theta = (\alpha_i W_i)` on a batch
    :math:`S`, and :math:`A(g)` the direction in which the optimizer will go, the scales

    .. math::
      \min_\alpha\; L(\tilde S;\, \theta - \eta A(g)) / \eta
      \quad\text{subject to}\quad \|g\| \le \gamma

    are sought by Adam on :math:`\alpha`: a step that lowers :math:`\|g\|` where it is
    too large, otherwise a step that lowers the objective, with :math:`A(g)` held
    fixed. Half of the samples of :math:`\tilde S` are those of :math:`S`. A tensor of
    zeros keeps its scale; of an array that holds the tensors of several stacked layers
    each has its own.

    Args:
      loss: ``(output, target) -> scalar``, the mean over a batch.
      batches: at least two pairs ``(inputs, target)``, in a list or anything else that
        can be gone through again. ``inputs`` is an array or a tuple of arrays, given
        to the model in place of its array arguments and of the same shapes. The
        samples lie along the first axis of every array. Training batches, shuffled.
      start: the scheme, or initializer of every weight, whose weights are scaled; by
        default the model's own.
      algorithm: what the model will be trained with. ``"normalized_sgd"``:
        :math:`A(g) = g / \|g\|_2`, as the authors ran it on CIFAR-10 with these
        defaults; ``"sgd"``: :math:`A(g) = g`; both with the norm :math:`\|g\|_2`.
        ``"adam"``: the signs of :math:`g`, with :math:`\|g\|_1`, which grows with the
        number of parameters: set ``gamma``.
      eta: step size :math:`\eta` of the simulated step.
      gamma: the largest norm :math:`\gamma` that the gradient may have.
      iterations: number of steps; 390 is an epoch of CIFAR-10 in batches of 128.
      learning_rate: of Adam on the scales; the authors took 1e-3 to 1e-1, by model.
      min_scale: the smallest scale; that of a bias is 0.
      progress: whether to show progress; ``None`` for a bar on a terminal.

    Returns:
      A scheme. Its model must be called as it is trained (batch statistics on), but
      without dropout.

    Raises:
      TypeError: if ``loss`` is no function, a number is none, or ``batches`` can be
        read only once.
      ValueError: if a number is out of range; when used, if the batches do not fit the
        arguments that the model is given.
      FloatingPointError: when used, if the loss is not finite.

    Examples:
      >>> import optax
      >>> from jaxinit.schemes.learned.gradinit import gradinit
      >>> def loss(logits, labels):
      ...     losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      ...     return losses.mean()
      >>> scheme = gradinit(loss, batches=[], iterations=100)  # batches: your data

    References:
      Zhu, Ni, Xu, Kong, Huang and Goldstein, "GradInit: Learning to Initialize Neural
      Networks for Stable and Efficient Training", 2021, algorithm 1. As in the authors'
      program, no gradient flows through :math:`A(g)`, and the gradient of each scale is
      clipped to [-1, 1]. The two kinds of step have a state of Adam each.
    """
    check_loss(loss, "gradinit")
    check_batches(batches, "gradinit")
    advice = "It says how the model will be trained."
    check_choice("algorithm", algorithm, get_args(Algorithm), advice)
    settings = Settings(
        algorithm,
        check_number("eta", eta, "It is the size of the simulated step.", low=0),
        check_number("gamma", gamma, "It bounds the gradient's norm.", low=0),
        check_count("iterations", iterations, "It counts steps.", minimum=0),
        check_number("learning_rate", learning_rate, "It is Adam's: 0.01.", low=0),
    )
    advice = "Scales start at 1 and stay above it."
    least = check_number("min_scale", min_scale, advice, low=0, high=1, closed=True)
    return _GradInit(starting(start), loss, batches, settings, least, progress)


@dataclass(frozen=True)
class _GradInit(Learned):
    loss: Loss
    batches: Iterable[Any]
    settings: Settings
    min_scale: float
    progress: bool | None

    def learning(self, network: Network) -> Learn:
        batches = Overlapping(Batches(network, self.batches))
        loss = with_network(network, self.loss)

        def learn(
            params: list[Array], state: list[Array], key: Array, inputs: Sequence[Array]
        ) -> list[Array]:
            del inputs
            scales = learn_scales(
                loss,
                params,
                batches,
                key,
                min_scales=[
                    0.0 if p.roles & {"bias", "norm_bias"} else self.min_scale
                    for p in network.params
                ],
                stacked=[p.layer_axes for p in network.params],
                fixed=[p.leaf in network.taken for p in network.params],
                extra=[state],
                settings=self.settings,
                progress=self.progress,
            )
            return scaled(params, scales)

        return learn
