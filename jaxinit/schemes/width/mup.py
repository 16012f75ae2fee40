"""muP: an initialization under which hyperparameters carry over to other widths."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax

from jaxinit._typing import Initializer
from jaxinit.initializers import scale, zeros
from jaxinit.initializers._call import call
from jaxinit.initializers._check import check_initializer
from jaxinit.initializers._draw import from_sampler
from jaxinit.initializers._value import law_of, with_fans
from jaxinit.models.arguments import Arguments, arguments, streams_and_kwargs
from jaxinit.models.trace import adapt
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.fitted import by_part, fitted, kernels_of, real_fans
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.width.base_network import base_network, positional
from jaxinit.schemes.width.infinite_axes import Width, find_widths
from jaxinit.schemes.width.own_rms import own_rms, rms_of, with_rms

Array = jax.Array
Readout = Literal["small", "multiplier", "zero"]
READOUTS = get_args(Readout)


def mup(
    base: Any,
    *,
    base_args: Sequence[Any] | None = None,
    base_init: Initializer | None = None,
    readout: Readout = "small",
    rngs: Sequence[str] = (),
) -> Scheme:
    r"""Maximal update parametrization: the base model's law, carried to another width.

    At the base width, parameters are what ``base`` draws. Axes whose sizes differ
    between ``base`` and the model grow with the width, and with
    :math:`m = \text{fan}_\text{in} / \text{fan}_\text{in, base}` the deviation
    :math:`\sigma_b` at the base width becomes

    ======================================  ===================
    inputs, embeddings, biases, gains       :math:`\sigma_b`
    hidden weights (inputs and outputs)     :math:`\sigma_b / \sqrt m`
    output weights (only inputs grow)       :math:`\sigma_b / m`
    ======================================  ===================

    so that a weight has the variance :math:`\sigma^2/\text{fan}_\text{in}`, an output
    weight :math:`\sigma^2 / \text{fan}_\text{in}^2`. The law itself (uniform,
    orthogonal, ...) stays that of the model's own init at its own width: each array is
    multiplied so that its root mean square is the one above, that of each stacked
    layer by itself. :math:`\sigma_b` is measured on 8 to 256 draws of ``base``, to a
    percent or better for its weights. Arrays of zeros stay zeros, and arrays that do
    not grow keep what the model's own init draws.

    It is half of the parametrization: train with the learning rates of
    ``mup_multipliers``. The rest is up to the model:

    * Where the dimension of the heads grows, attention logits must be
      :math:`q \cdot k \sqrt{d_b} / d` with the head dimension :math:`d` and that of
      the base :math:`d_b`, not :math:`q \cdot k / \sqrt d`: multiply the queries by
      :math:`\sqrt{d_b / d}` before a usual attention.
    * A table that is both embedding and readout needs ``readout="multiplier"`` and
      logits multiplied by :math:`1/m`, the base width over the width.

    Args:
      base: a model of the same architecture and depth at the base width: a linen
        module, an nnx class or factory, or a ``Functional``. Hyperparameters that are
        good for it are to be good for the target. It must be narrower than all models
        of a sweep: at its own width nothing tells which axes grow.
      base_args: the positional inputs of ``base``, if their shapes are not those of
        the target's.
      base_init: what weights (not tables that are looked up) are drawn with, in place
        of the models' own init: at the base width it is this initializer with its
        fans there.
      readout: the law of readouts whose inputs grow. ``"small"``:
        :math:`\sigma_b / m`. ``"multiplier"``: :math:`\sigma_b`, for a model that
        multiplies its logits by :math:`1/m`. ``"zero"``: zero, as the authors
        recommend. Give ``mup_multipliers`` the same.
      rngs: names of random streams that a linen base uses beyond ``params`` and
        ``dropout``.

    Returns:
      A scheme.

    Raises:
      TypeError: if ``base`` is no model, or holds its weights; if ``base_init`` is no
        initializer.
      ValueError: if ``readout`` is unknown; when used, if the two models are not of
        one architecture, nothing differs, or inputs and outputs cannot be told apart.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((1, 4), "float32")
      >>> scheme = mup(mlp(16), readout="zero")
      >>> variables = jaxinit.initialize(mlp(64), scheme, 0, x)

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, tables 3 and 8, section 4 and appendix B.1.
    """
    check_readout(readout)
    if base_init is not None:
        check_initializer("base_init", base_init)
    try:
        adapted = adapt(base)
    except TypeError as error:
        error.add_note("This is the argument `base`, a model at the base width.")
        raise
    if not adapted.draws:
        raise TypeError(
            f"`base` must draw its weights, got a {adapted.name} that holds them. Pass "
            "its class or a factory: lambda rngs: Model(..., rngs=rngs)."
        )
    given = None
    if base_args is not None:
        given = arguments(positional(base_args), {})
        given = given._replace(inputs=tuple(given.shapes))
    return _Mup(base, given, base_init, readout, streams_and_kwargs(rngs, {})[0])


def check_readout(readout: str) -> None:
    """Raises a ValueError unless ``readout`` is one of ``READOUTS``."""
    if readout not in READOUTS:
        raise ValueError(
            f"`readout` must be one of {', '.join(READOUTS)}, got {readout!r}."
        )


def check_ends(
    network: Network, widths: dict[int, Width], readout: Readout
) -> frozenset[int]:
    """The readouts whose inputs grow.

    Raises:
      ValueError: if a choice of ``readout`` has nothing to act on, or a table is tied
        to the readout and the model is not said to multiply its logits.
    """
    ends = frozenset(
        leaf
        for leaf, width in widths.items()
        if width.role == "output" and "readout" in network.params[leaf].roles
    )
    tied = [width for width in widths.values() if width.role == "tied"]
    if tied and readout != "multiplier":
        raise ValueError(
            f"{tied[0].name} is both looked up and a readout, so that its own scale "
            "cannot shrink with the width. Multiply the logits in the model by "
            f"{1 / tied[0].fan_in:g}, the base width over the width, and pass "
            f"readout='multiplier', got readout={readout!r}."
        )
    if readout != "small" and not ends and not tied:
        raise ValueError(
            f"readout={readout!r} is for a readout whose inputs grow and whose outputs "
            f"do not, and {network.traced.name} has none. Leave it at 'small'."
        )
    return ends


@dataclass(frozen=True)
class _Mup(Scheme):
    base: Any
    base_args: Arguments | None
    base_init: Initializer | None
    readout: Readout
    rngs: tuple[str, ...]

    def leaves(self, parameter: Parameter) -> str:
        """What the base has as large stays as the model's own init draws it."""
        del parameter
        return "it does not grow with the width"

    def assign(self, network: Network) -> list[Assignment]:
        inputs = None
        if self.base_args is not None:
            inputs, _ = self.base_args.call(self.base_args.shapes)
        narrow = base_network(self.base, network, inputs, self.rngs)
        widths = find_widths(network, narrow)
        ends = check_ends(network, widths, self.readout)
        assignments = []
        own: dict[int, float] = {}
        for leaf, width in widths.items():
            parameter = network.params[leaf]
            factor = _factor(width, leaf in ends, self.readout)
            rule = f"muP {width.role}"
            is_weight = parameter.use is not None and "embedding" not in parameter.roles
            if leaf in ends and self.readout == "zero":
                assignments.append(Assignment(leaf, zeros, rule, "zeros"))
            elif self.base_init is not None and is_weight:
                init = _from_base(
                    self.base_init, parameter, narrow.params[leaf], factor
                )
                law = f"{law_of(self.base_init)} of the base x {factor:.4g}"
                assignments.append(Assignment(leaf, init, rule, law))
            elif width.role != "finite":
                own[leaf] = factor
        stacked = tuple(p.layer_axes for p in narrow.params)
        rms = own_rms(narrow.traced, tuple(narrow.given.shapes), stacked)
        for leaf, factor in own.items():
            parameter, wanted = network.params[leaf], factor * rms[leaf]
            change = functools.partial(
                with_rms, wanted=wanted, axes=parameter.layer_axes
            )
            law = f"own, std of the base x {factor:.4g}"
            rule = f"muP {widths[leaf].role}"
            assignments.append(Assignment(leaf, None, rule, law, change))
        return assignments


def _factor(width: Width, is_end: bool, readout: Readout) -> float:
    """What the deviation at the base width is multiplied by."""
    if width.role == "hidden":
        return 1 / math.sqrt(width.fan_in)
    if width.role == "output" and not (is_end and readout == "multiplier"):
        return 1 / width.fan_in
    return 1.0


def _from_base(
    init: Initializer, parameter: Parameter, narrow: Parameter, factor: float
) -> Initializer:
    """``factor`` times ``init`` as it is at the base width."""
    if parameter.parts and len(parameter.parts) == len(narrow.parts):
        pairs = zip(kernels_of(parameter), kernels_of(narrow), strict=True)
        return by_part(parameter, [_from_base(init, *p, factor) for p in pairs])
    exact = with_fans(init, real_fans(narrow))
    if exact is not None:
        return scale(exact, factor)
    here = fitted(init, parameter)
    at_base = rms_of(fitted(init, narrow), narrow.shape, narrow.layer_axes)

    def sampler(key: Array, shape: tuple[int, ...], dtype: Any, sharding: Any) -> Array:
        samples = call(here, key, shape, dtype, sharding)
        result: Array = with_rms(samples, factor * at_base, parameter.layer_axes)
        return result

    return from_sampler(sampler)
