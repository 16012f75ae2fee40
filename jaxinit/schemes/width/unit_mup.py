"""u-muP: muP in units, so that no base model is needed and rates are near one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from jaxinit.initializers import normal
from jaxinit.models.arguments import model_arguments
from jaxinit.models.functional import Functional
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.residual.structure import readouts
from jaxinit.schemes.scheme import Assignment, Scheme, drawn
from jaxinit.schemes.width.depth_mup import inside_branches
from jaxinit.schemes.width.mup_optimizer import tree_like_params
from jaxinit.schemes.width.spectral import row_size


class UnitMup(NamedTuple):
    """What u-muP multiplies parameters and Adam's learning rates by.

    Attributes:
      parameters: by parameter, what it is multiplied by in the forward pass, at all
        times: ``multiplied`` does it to a model.
      learning_rates: by parameter, the factor of Adam's learning rate, for
        ``scale_by_mup`` or ``mup_adamw``.
    """

    parameters: Any
    learning_rates: Any


def unit_mup() -> Scheme:
    """u-muP's initialization: every weight and table is standard normal.

    It is for models whose parameters are multiplied in the forward pass as
    ``unit_mup_factors`` says, and for its learning rates. Biases, gains and all else
    keep what the model's own init draws.

    Returns:
      A scheme.

    Examples:
      >>> scheme = unit_mup()

    References:
      Blake et al., "u-muP: The Unit-Scaled Maximal Update Parametrization", 2024,
      table 2.
    """
    return _UnitMup()


def unit_mup_factors(
    model: Any,
    *args: Any,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> UnitMup:
    r"""u-muP's multipliers of parameters and of Adam's learning rates.

    With fan-in :math:`n`, a table's row length :math:`d` and the number of residual
    branches :math:`L`,

    ========================  ================================  ======================
    parameter                 in the forward pass               learning rate
    ========================  ================================  ======================
    inputs, hidden weights    :math:`1/\sqrt n`                 :math:`1/\sqrt n`
    tables that are looked up 1                                 :math:`1/\sqrt d`
    readout                   :math:`1/n`                       1
    biases, gains             1                                 1
    ========================  ================================  ======================

    and parameters inside residual branches learn :math:`1/\sqrt L` as fast, for a
    model that adds a branch as :math:`x + f(x)/\sqrt L`. Unit scaling has other
    multipliers of branches and of elementwise functions besides, which keep every
    value at unit size; they do not change what transfers and are up to the model. The
    rate of tables, slower than in muP, is what the authors find best; under it a table
    moves less in a wide model.

    Args:
      model: as in ``initialize``.
      *args: the model's inputs; shapes will do.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      The factors, pytrees like that of ``mup_multipliers``.

    Raises:
      ValueError: if a table is also the readout, which has two laws.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((1, 4), "float32")
      >>> unit_mup_factors(mlp(64), x).parameters["layers_2"]["kernel"]
      0.015625

    References:
      Blake et al., "u-muP: The Unit-Scaled Maximal Update Parametrization", 2024,
      table 2; the learning rates are those of its code's ``lr_scale_func_adam``.
    """
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    inside = inside_branches(network) if network.structure.branches else set()
    slower = 1 / math.sqrt(max(network.structure.num_branches, 1))
    forward, rates = [], []
    for parameter in network.params:
        factor, rate = _factors(parameter, network)
        forward.append(factor)
        rates.append(rate * (slower if parameter.leaf in inside else 1.0))
    return UnitMup(
        tree_like_params(network.traced, forward),
        tree_like_params(network.traced, rates),
    )


def multiplied(
    init: Callable[..., Any], apply: Callable[..., Any], factors: Any
) -> Functional:
    """A model whose parameters are multiplied by numbers before they are used.

    Gradients are those of the parameters before, so that this is another
    parametrization, not another initialization.

    Args:
      init: ``init(key, *args) -> params``.
      apply: ``apply(params, *args) -> output``.
      factors: a pytree of numbers like the parameters.

    Returns:
      The model as a ``Functional``.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> model = multiplied(
      ...     lambda key, x: {"w": jnp.ones(3)}, lambda p, x: x @ p["w"], {"w": 0.5}
      ... )
      >>> float(model.apply(model.init(jax.random.key(0), None), jnp.ones(3)))
      1.5
    """

    def scaled(params: Any, *args: Any, **kwargs: Any) -> Any:
        return apply(jax.tree.map(lambda p, f: p * f, params, factors), *args, **kwargs)

    return Functional(init, scaled)


@dataclass(frozen=True)
class _UnitMup(Scheme):
    def assign(self, network: Network) -> list[Assignment]:
        return [
            drawn(parameter, normal(1.0), "units")
            for parameter in network.having("weight", "embedding")
        ]


def _factors(parameter: Parameter, network: Network) -> tuple[float, float]:
    """In the forward pass, and of the learning rate."""
    use = parameter.use
    if "embedding" in parameter.roles:
        if use is not None:
            raise ValueError(
                f"{parameter.name} is both looked up and a readout, for which u-muP "
                "has two laws. Give them a table each."
            )
        return 1.0, 1 / math.sqrt(row_size(parameter, network))
    if use is None:
        return 1.0, 1.0
    if parameter.leaf in readouts(network):
        return 1 / use.fan_in, 1.0
    return 1 / math.sqrt(use.fan_in), 1 / math.sqrt(use.fan_in)
