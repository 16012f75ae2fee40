"""Adam's epsilon under muP, one for each parameter."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxinit.models.arguments import model_arguments
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.base_network import base_network
from jaxinit.schemes.width.infinite_axes import find_widths
from jaxinit.schemes.width.mup import Readout, check_ends, check_readout
from jaxinit.schemes.width.mup_optimizer import tree_like_params


def mup_epsilons(
    model: Any,
    base: Any,
    *args: Any,
    readout: Readout = "small",
    base_args: Sequence[Any] | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    r"""What muP multiplies Adam's ``eps`` of each parameter by.

    Under muP a gradient's entries shrink with the width of what the parameter feeds:
    with the ratio :math:`k` of fan-out to that of the base model they are
    :math:`1/k` as large. An ``eps`` that stays the same outweighs them at some width,
    and the parameter stands still. With ``eps`` times :math:`1/k` it does not.

    ==================================  ===========
    inputs, embeddings, biases, gains   :math:`1/k`
    hidden weights                      :math:`1/k`
    output weights                      1
    readout, with an output multiplier  :math:`1/m`
    ==================================  ===========

    The table follows from the sizes of gradients under muP (Tensor Programs V,
    appendix J); the factor for hidden weights agrees with CompleteP's
    :math:`1/\text{width}`. The others are derived here, not copied from a table.

    Args:
      model: the target, as in ``initialize``.
      base: a model of the same architecture at the base width, as in ``mup``.
      *args: the target's inputs; shapes will do.
      readout: as given to ``mup``.
      base_args: as in ``mup``.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of both models.

    Returns:
      A pytree of floats like that of ``mup_multipliers``, for ``mup_adamw``.

    Raises:
      ValueError: if ``readout`` is unknown, or as ``mup``.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((1, 4), "float32")
      >>> mup_epsilons(mlp(64), mlp(16), x)["layers_0"]
      {'bias': 0.25, 'kernel': 0.25}

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, appendices B.3 and J. Dey et al., "Don't be lazy:
      CompleteP enables compute-efficient deep transformers", 2025, table 1.
    """
    check_readout(readout)
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    widths = find_widths(network, base_network(base, network, base_args, rngs))
    ends = check_ends(network, widths, readout)
    lifted = ends if readout == "multiplier" else frozenset()
    return tree_like_params(
        network.traced,
        [
            1 / (width.fan_in if leaf in lifted else width.fan_out)
            for leaf, width in widths.items()
        ],
    )
