"""MetaInit: norms of the weights, learned so that the gradient is locally constant."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinit.initializers._check import check_count, check_number, check_share
from jaxinit.roles.network import Network
from jaxinit.schemes.learned._batches import (
    Batch,
    Batches,
    Loss,
    check_batches,
    check_loss,
    with_network,
)
from jaxinit.schemes.learned._learned import Learn, Learned, starting
from jaxinit.schemes.learned._scales import scaled
from jaxinit.schemes.learned.learn_norms import Settings, learn_norms
from jaxinit.schemes.scheme import Scheme

Array = jax.Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """The mean cross-entropy of integer labels, the classes along the last axis."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses)


def metainit(
    loss: Loss = cross_entropy,
    batches: Iterable[Any] | None = None,
    *,
    start: Any = None,
    steps: int = 500,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    eps: float = 1e-5,
    progress: bool | None = None,
) -> Scheme:
    r"""MetaInit: the norm of each weight, learned so that curvature hurts least.

    The gradient quotient measures how much the gradient :math:`g` changes along
    itself, with :math:`H` the Hessian of the loss, over the :math:`P` parameters:

    .. math::
      GQ = \frac1P \sum_i
        \left| \frac{g_i - (Hg)_i}{g_i + \epsilon\,\mathrm{sgn}(g_i)} - 1 \right|,
      \qquad \mathrm{sgn}(0) = 1.

    Each step lowers it by moving the norm of every tensor of two or more axes against
    the sign of its slope, with momentum; directions stay as they were drawn. Biases
    count in the quotient and are not moved; nor is a tensor of zeros. Of an array
    that holds the weights of several stacked layers each has its own norm.

    Args:
      loss: ``(output, target) -> scalar``, the mean over a batch; by default the
        cross-entropy of integer labels.
      batches: pairs ``(inputs, target)``, in a list or anything else that can be gone
        through again; ``inputs`` is an array or a tuple of arrays, given to the model
        in place of its array arguments and of the same shapes. Without it no data are
        needed: each step draws standard normal inputs (integers below the size of the
        table that they are looked up in), and as targets integers below the size of
        the output's last axis, evenly.
      start: the scheme, or initializer of every weight, whose weights are changed; by
        default the model's own.
      steps: number of steps.
      learning_rate: what one step adds to the momentum of a norm.
      momentum: what is left of it from step to step.
      eps: :math:`\epsilon`, which keeps the quotient finite where a gradient is 0.
      progress: whether to show progress; ``None`` for a bar on a terminal.

    Returns:
      A scheme. Its model must be called without dropout.

    Raises:
      TypeError: if ``loss`` is no function, a number is none, or ``batches`` can be
        read only once.
      ValueError: if a number is out of range; when used, if the batches do not fit the
        arguments that the model is given, or if there are none and inputs or labels
        cannot be drawn.
      FloatingPointError: when used, if the quotient is not finite.

    Examples:
      >>> from jaxinit.schemes.learned.metainit import metainit
      >>> scheme = metainit(steps=100)

    References:
      Dauphin and Schoenholz, "MetaInit: Initializing learning by learning to
      initialize", 2019, equation 2, algorithm 1 and appendix. Added here: a norm stays
      above 1% of where it began, so that it cannot change sign.
    """
    check_loss(loss, "metainit")
    if batches is not None:
        check_batches(batches, "metainit")
    steps = check_count("steps", steps, "It counts changes of the norms.", minimum=0)
    advice = "It is what one step adds to a norm's momentum: 0.1."
    learning_rate = check_number("learning_rate", learning_rate, advice, low=0)
    momentum = check_share("momentum", momentum, "It is kept from step to step: 0.9.")
    eps = check_number("eps", eps, "It is added to gradients: 1e-5.", low=0)
    return _MetaInit(
        starting(start),
        loss,
        batches,
        Settings(steps, learning_rate, momentum, eps),
        progress,
    )


@dataclass(frozen=True)
class _MetaInit(Learned):
    loss: Loss
    batches: Iterable[Any] | None
    settings: Settings
    progress: bool | None

    def learning(self, network: Network) -> Learn:
        loss = with_network(network, self.loss)
        batches: Iterable[Any]
        if self.batches is None:
            loss, batches = _on_drawn(loss, _drawer(network)), [()]
        else:
            batches = Batches(network, self.batches)

        def learn(
            params: list[Array], state: list[Array], key: Array, inputs: Sequence[Array]
        ) -> list[Array]:
            del inputs
            scales = learn_norms(
                loss,
                params,
                batches,
                key,
                tuned=[
                    len(p.shape) - len(p.layer_axes) >= 2
                    and not p.roles & {"bias", "norm_bias", "norm_scale"}
                    and p.leaf not in network.taken
                    for p in network.params
                ],
                stacked=[p.layer_axes for p in network.params],
                extra=[state],
                settings=self.settings,
                progress=self.progress,
            )
            return scaled(params, scales)

        return learn


def _on_drawn(
    loss: Callable[..., Array], draw: Callable[[Array], Batch]
) -> Callable[..., Array]:
    """``loss`` on a batch of its own for each key."""

    def on_drawn(
        params: list[Array], batch: tuple[()], key: Array, state: list[Array]
    ) -> Array:
        del batch
        for_batch, for_model = jax.random.split(key)
        return loss(params, draw(for_batch), for_model, state)

    return on_drawn


def _drawer(network: Network) -> Callable[[Array], Batch]:
    """Draws inputs and labels for a network, from what is known of it.

    Raises:
      ValueError: if it is not known how they are to be drawn.
    """
    shapes, names = network.given.shapes, network.given.names
    output = network.traced.apply.jaxpr.outvars
    classes = output[0].aval.shape[-1:] if len(output) == 1 else ()
    if not classes or classes[0] < 2:
        found = ", ".join(str(list(atom.aval.shape)) for atom in output)
        raise ValueError(
            "`metainit` draws labels for one output with classes along its last axis, "
            f"and {network.traced.name} returns {found or 'nothing'}. Give it `loss` "
            "and `batches`."
        )
    rows: dict[int, int] = {}
    for lookup in network.sites.lookups:
        rows[lookup.source] = min(lookup.size, rows.get(lookup.source, lookup.size))
    for number, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        if not jnp.issubdtype(shape.dtype, jnp.inexact) and number not in rows:
            raise ValueError(
                f"`metainit` cannot draw `{name}`, of dtype {shape.dtype}, which the "
                "model looks up in no table. Give it `batches`."
            )

    def draw(key: Array) -> Batch:
        keys = jax.random.split(key, len(shapes) + 1)
        inputs = [
            jax.random.randint(k, shape.shape, 0, rows[number], shape.dtype)
            if number in rows
            else jax.random.normal(k, shape.shape, shape.dtype)
            for number, (k, shape) in enumerate(zip(keys, shapes, strict=False))
        ]
        labels = jax.random.randint(keys[-1], output[0].aval.shape[:-1], 0, classes[0])
        return inputs, labels

    return draw
