"""LSUV: every layer's output brought to unit variance, in one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit._typing import Initializer
from jaxinit.initializers import normal, orthogonal, zeros
from jaxinit.initializers._check import (
    check_choice,
    check_count,
    check_initializer,
    check_number,
)
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.data.rescale import POINTS, Found, Pass, Point
from jaxinit.schemes.data.scaled_layers import Layer, layers_to_scale
from jaxinit.schemes.scheme import Assignment, Refine, Refined, Scheme, drawn

Array = jax.Array

_ORTHOGONAL, _NORMAL = _OURS = orthogonal(), normal(0.05)


def lsuv(
    *,
    base: Initializer | None = None,
    target: Point = "output",
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> Scheme:
    r"""Layer-sequential unit-variance initialization.

    Every weight is drawn orthogonal and every bias of such a layer is zero. Then data
    pass through the model once, and where a layer's output :math:`y` is reached, the
    kernel and the output are divided by the deviation of :math:`y` over all its
    entries, on the spot: the layers behind see the rescaled signal. In a residual
    network that is the output of each branch's layers, not the sum.

    One pass is exact as far as outputs are linear in the kernel. Where they are not
    (a kernel shared by the steps of a recurrent loop, or ``target="activation"``),
    passes are repeated until every such variance is within ``tolerance`` of 1, at
    most ``max_iterations`` times. A kernel with several uses is scaled by the first;
    if another one is off, a warning says so.
    A layer whose output does not vary keeps its kernel, with a warning that names it
    (under ``jax.jit`` without one).

    Args:
      base: what weights are drawn with; by default ``orthogonal()``.
      target: whose variance is to be 1: a layer's ``"output"``, or the value behind
        its ``"activation"``.
      tolerance: how far from 1 a variance may stay that takes several passes.
      max_iterations: how many passes at most.

    Returns:
      A scheme. It looks at the inputs given to ``initialize``: pass a batch of real,
      whitened data, in the mode (``train=False``, no dropout) in which variances are
      to be 1.

    Raises:
      TypeError: if ``base`` is not callable, or a number is none.
      ValueError: if ``target`` is unknown, or ``tolerance`` or ``max_iterations`` is
        not positive.

    References:
      Mishkin and Matas, "All you need is a good init", 2015, algorithm 1. There every
      layer takes at least one forward pass of its own.
    """
    check_choice("target", target, POINTS, "It is where the variance is to be 1.")
    init = _ORTHOGONAL if base is None else base
    check_initializer("base", init)
    return _Lsuv(init, target, False, *_loop(tolerance, max_iterations))


def data_dependent(
    *,
    base: Initializer | None = None,
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> Scheme:
    r"""Every channel of every layer brought to mean 0 and variance 1.

    As ``lsuv``, but for each output channel, and with the bias: kernel columns are
    divided by the channel's deviation :math:`\sigma`, and the bias becomes
    :math:`(b - \mu) / \sigma`. This is the data-dependent initialization of weight
    normalization; where the model has a gain on each normalized column, the gain is
    divided in place of the column.

    Args:
      base: what weights are drawn with; by default ``normal(0.05)``.
      tolerance: as in ``lsuv``.
      max_iterations: as in ``lsuv``.

    Returns:
      A scheme for models whose layers have biases.

    Raises:
      TypeError: if ``base`` is not callable, or a number is none.
      ValueError: if ``tolerance`` or ``max_iterations`` is not positive; when used, if
        a layer has no bias that could center it.

    References:
      Salimans and Kingma, "Weight Normalization", 2016, section 3.
    """
    init = _NORMAL if base is None else base
    check_initializer("base", init)
    return _Lsuv(init, "output", True, *_loop(tolerance, max_iterations))


def act_norm(*, tolerance: float = 0.1, max_iterations: int = 10) -> Scheme:
    r"""ActNorm layers that begin by giving each channel mean 0 and variance 1.

    An ActNorm layer is a gain :math:`g` and a shift :math:`b` for each channel, with
    no weights and no normalization: :math:`g x + b`. As data pass through the model,
    its gain becomes :math:`g / \sigma` and its shift :math:`(b - \mu) / \sigma`, with
    mean and deviation of its output on the data. All else keeps the model's own init.

    Args:
      tolerance: as in ``lsuv``.
      max_iterations: as in ``lsuv``.

    Returns:
      A scheme for models with such layers. The gain must be a parameter as it is, not
      the exponential of one.

    Raises:
      TypeError: if ``tolerance`` or ``max_iterations`` is no number.
      ValueError: if one of them is not positive; when used, if the model has no such
        layer, or one without a shift.

    References:
      Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions",
      2018, section 3.1.
    """
    return _ActNorm(None, "output", True, *_loop(tolerance, max_iterations))


@dataclass(frozen=True)
class _Lsuv(Scheme):
    base: Initializer | None
    target: Point
    per_channel: bool
    tolerance: float
    max_iterations: int

    @property
    def passes(self) -> int:
        """Once to scale, and once more to see what was reached."""
        return 2

    def layers(self, network: Network) -> list[Layer]:
        found = layers_to_scale(network)
        if not found:
            raise ValueError(
                "this scheme scales the weights of layers, and finds none to scale in "
                f"{network.traced.name}. Give it a model with dense, convolution or "
                "attention layers."
            )
        return found

    def assign(self, network: Network) -> list[Assignment]:
        layers = self.layers(network)
        assert self.base is not None
        weights = {leaf for layer in layers for leaf in layer.weights}
        biases = {leaf for layer in layers for leaf in layer.biases}
        found = [
            *(
                drawn(p, self.base, "weights")
                for p in (network.params[i] for i in sorted(weights))
            ),
            *(drawn(network.params[i], zeros, "their biases") for i in sorted(biases)),
        ]
        # An initializer of the user's may return an array that it keeps.
        return [a._replace(fresh=self.base in _OURS) for a in found]

    def refine(self, network: Network) -> Refine:
        once = Pass(
            network,
            self.layers(network),
            self.target,
            self.per_channel,
            self.tolerance,
        )

        def refine(
            params: list[Array],
            state: list[Array],
            key: Array,
            inputs: Sequence[Array],
        ) -> Refined:
            def run(params: list[Array], power: Array | float = 1.0) -> Found:
                return once(params, state, key, inputs, power)

            found = run(params)
            if once.needs_more:
                found = self._repeated(run, found)
            return Refined(found.params, found.complaints)

        return refine

    def _repeated(self, run: Callable[..., Found], start: Found) -> Found:
        def go_on(carry: tuple[Found, Array]) -> Array:
            found, passes = carry
            far: Array = found.error >= self.tolerance
            return far & (passes < self.max_iterations)

        def again(carry: tuple[Found, Array]) -> tuple[Found, Array]:
            found, passes = carry
            # What grows as the square of a kernel would swing about 1 for ever.
            power = jnp.where(passes % 3 == 2, 0.5, 1.0)
            return run(found.params, power), passes + 1

        found, _ = lax.while_loop(go_on, again, (start, jnp.ones((), jnp.int32)))
        return found


@dataclass(frozen=True)
class _ActNorm(_Lsuv):
    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "a scheme for gains"

    def layers(self, network: Network) -> list[Layer]:
        found = layers_to_scale(network, gains=True)
        if not found:
            gains = [p.name for p in network.having("gain")]
            raise ValueError(
                f"act_norm() is for layers that are a gain and a shift, and "
                f"{network.traced.name} has none. Its gains are: "
                f"{', '.join(gains) or 'none'}."
            )
        return found

    def assign(self, network: Network) -> list[Assignment]:
        self.layers(network)
        return []


def _loop(tolerance: float, max_iterations: int) -> tuple[float, int]:
    """When to stop: the arguments as numbers above 0."""
    advice = "A variance may stay this far from 1: 0.1."
    return (
        check_number("tolerance", tolerance, advice, low=0),
        check_count("max_iterations", max_iterations, "It counts passes over data."),
    )
