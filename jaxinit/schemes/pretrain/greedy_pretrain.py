"""Greedy layer-wise pre-training of dense stacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.initializers._check import check_flag
from jaxinit.roles.network import Network
from jaxinit.schemes.learned._learned import Learn, Learned, starting
from jaxinit.schemes.pretrain._stack import AGREEMENT, DenseLayer, Stack, dense_stack
from jaxinit.schemes.pretrain.denoising import DenoisingAutoencoder
from jaxinit.schemes.pretrain.rbm import BoltzmannMachine
from jaxinit.schemes.scheme import Scheme

Array = jax.Array


def greedy_pretrain(
    method: DenoisingAutoencoder | BoltzmannMachine,
    *,
    start: Any = None,
    readout: bool = False,
    progress: bool | None = None,
) -> Scheme:
    """Layer-wise pre-training: each dense layer learns to represent what it sees.

    The first layer is trained without labels on the inputs given to ``initialize``;
    then it stays as it is, and the next layer is trained on its activations, and so
    on. Kernels and biases so found are the initialization. What the layers are and
    which nonlinearity follows each is read off the model's program.

    Args:
      method: ``denoising_autoencoder(...)`` or ``rbm(...)``.
      start: the scheme, or initializer of every weight, that learning begins with; by
        default the model's own. A restricted Boltzmann machine begins with weights of
        its own; then ``start`` holds for the readout only.
      readout: whether the last layer is pre-trained as well: for an encoder, whose
        last layer is a code. By default it is left as ``start`` draws it.
      progress: whether to show progress; ``None`` for a bar on a terminal.

    Returns:
      A scheme for models that are a stack of dense layers and elementwise functions,
      called without dropout. Give ``initialize`` all the data, not only a batch.

    Raises:
      TypeError: if ``method`` is no such method, or ``readout`` no bool.
      ValueError: when used, if the model is no such stack, or the data or the
        nonlinearities do not suit the method.
      FloatingPointError: when used, if the error is not finite.

    Examples:
      >>> from jaxinit.schemes.pretrain.denoising import denoising_autoencoder
      >>> scheme = greedy_pretrain(denoising_autoencoder(corruption=0.3, epochs=5))

    References:
      Bengio, Lamblin, Popovici and Larochelle, "Greedy Layer-Wise Training of Deep
      Networks", 2007; Hinton, Osindero and Teh, "A Fast Learning Algorithm for Deep
      Belief Nets", 2006; Vincent et al., "Stacked Denoising Autoencoders", 2010.
    """
    if not isinstance(method, DenoisingAutoencoder | BoltzmannMachine):
        raise TypeError(
            f"`method` must be denoising_autoencoder(...) or rbm(...), got {method!r}."
        )
    check_flag("readout", readout)
    return _GreedyPretrain(starting(start), method, readout, progress)


@dataclass(frozen=True)
class _GreedyPretrain(Learned):
    method: DenoisingAutoencoder | BoltzmannMachine
    readout: bool
    progress: bool | None

    def learning(self, network: Network) -> Learn:
        stack = dense_stack(network)
        layers = stack.layers if self.readout else stack.layers[:-1]
        if not layers:
            raise ValueError(
                f"{network.traced.name} has one layer, {stack.layers[-1].name}, its "
                "readout, which `greedy_pretrain` leaves alone. Pass readout=True to "
                "pre-train it."
            )
        if isinstance(self.method, BoltzmannMachine):
            with jax.ensure_compile_time_eval():
                for layer in layers:
                    _check_sigmoid(stack, layer)

        def learn(
            params: list[Array], state: list[Array], key: Array, inputs: Sequence[Array]
        ) -> list[Array]:
            params = list(params)
            for_model, key = jax.random.split(key)
            see = jax.jit(stack.data, static_argnums=0)
            data = _wide(see(layers[0], params, state, for_model, inputs))
            for number, layer in enumerate(layers):
                hidden = stack.hidden(layer)
                weight, bias = self._pretrained(
                    network,
                    params,
                    layer,
                    data,
                    jax.random.fold_in(key, number),
                    hidden,
                    number == 0,
                )
                kernel = weight.T if layer.transposed else weight
                params[layer.kernel] = kernel.astype(params[layer.kernel].dtype)
                if layer.bias is not None:
                    params[layer.bias] = bias.astype(params[layer.bias].dtype)
                data = jax.jit(_encode, static_argnums=0)(hidden, data, weight, bias)
            return params

        return learn

    def _pretrained(
        self,
        network: Network,
        params: Sequence[Array],
        layer: DenseLayer,
        data: Array,
        key: Array,
        hidden: Callable[[Array], Array],
        first: bool,
    ) -> tuple[Array, Array]:
        """Kernel `(in, out)` and bias; as they are if a rule of the user's has them."""
        weight = _wide(layer.kernel_of(params))
        bias = jnp.zeros(weight.shape[1], weight.dtype)
        if layer.bias is not None:
            bias = _wide(params[layer.bias])
        if layer.kernel in network.taken:
            return weight, bias
        return self.method.train(
            weight,
            bias,
            data,
            key,
            hidden=hidden,
            learn_bias=layer.bias is not None and layer.bias not in network.taken,
            first=first,
            label=f"pre-training {layer.name}",
            progress=self.progress,
        )


def _encode(
    hidden: Callable[[Array], Array], data: Array, weight: Array, bias: Array
) -> Array:
    return hidden(data @ weight + bias)


def _wide(value: Array) -> Array:
    return value.astype(jnp.promote_types(value.dtype, jnp.float32))


def _check_sigmoid(stack: Stack, layer: DenseLayer) -> None:
    """Raises unless a layer's nonlinearity is the logistic function."""
    width = stack.network.params[layer.kernel].shape[0 if layer.transposed else 1]
    hidden = stack.hidden(layer)
    for point in (-3.0, -1.0, 0.5, 2.0):
        found = hidden(jnp.full((1, width), point))
        if not bool((jnp.abs(found - jax.nn.sigmoid(point)) < AGREEMENT / 2).all()):
            steps = layer.event.activation
            what = "nothing" if steps is None else " ".join(steps.steps)
            raise ValueError(
                "`rbm` has logistic hidden units, and the model applies "
                f"{what} to {layer.name}. Use denoising_autoencoder(...), or sigmoid "
                "hidden layers."
            )
