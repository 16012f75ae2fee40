"""CompleteP: hyperparameters that carry over to other widths and depths at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from jaxinit.models.arguments import model_arguments
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.depth_mup import depth_mup_factors, inside_branches
from jaxinit.schemes.width.mup import Readout
from jaxinit.schemes.width.mup_epsilon import mup_epsilons
from jaxinit.schemes.width.mup_optimizer import (
    mup_adamw,
    mup_multipliers,
    tree_like_params,
)


class CompleteP(NamedTuple):
    """What a model and AdamW are multiplied by as width and depth grow.

    Attributes:
      branch: the multiplier of each residual branch in the forward pass,
        ``x + branch * f(x)``.
      learning_rates: by parameter, the factor of the learning rate.
      epsilons: by parameter, the factor of Adam's ``eps``.
      decays: by parameter, the factor of the decoupled weight decay.
    """

    branch: float
    learning_rates: Any
    epsilons: Any
    decays: Any

    def adamw(
        self,
        learning_rate: optax.ScalarOrSchedule,
        *,
        b1: float = 0.9,
        b2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-4,
        mask: Any | Callable[[Any], Any] | None = None,
    ) -> optax.GradientTransformation:
        """AdamW with these factors; the arguments are those of the base model.

        Args:
          learning_rate: a number or a schedule.
          b1: decay of the mean of gradients.
          b2: decay of the mean of their squares.
          eps: added to the root of the latter.
          weight_decay: multiplied by the learning rate, as in ``optax.adamw``.
          mask: which parameters decay, as in ``optax.adamw``.

        Returns:
          A gradient transformation.
        """
        return mup_adamw(
            learning_rate,
            self.learning_rates,
            b1=b1,
            b2=b2,
            eps=eps,
            weight_decay=weight_decay,
            mask=mask,
            epsilons=self.epsilons,
        )


def complete_p(
    model: Any,
    base: Any,
    *args: Any,
    base_branches: int,
    exponent: float = 1.0,
    readout: Readout = "small",
    base_args: Sequence[Any] | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> CompleteP:
    r"""CompleteP's factors for every parameter of a model.

    With :math:`m` the ratio of widths, :math:`\ell` that of the number of residual
    branches and :math:`\alpha` the exponent, the weights inside branches have

    ======================  ============================
    branch multiplier       :math:`\ell^{-\alpha}`
    Adam's learning rate    :math:`\ell^{\alpha-1} / m`
    Adam's ``eps``          :math:`\ell^{-\alpha} / m`
    decoupled weight decay  :math:`m\,\ell^{1-\alpha}`
    ======================  ============================

    times those of the base model, and the others what ``mup_multipliers`` and
    ``mup_epsilons`` give them. The decay is one over the learning rate's factor, so
    that the two together shrink weights alike in every model; at the exponent 1, which
    is CompleteP, that is its factor :math:`m`. Initialize by ``mup(base)``.

    Args:
      model: the target, as in ``initialize``, its branches multiplied by ``branch``:
        :math:`(L / L_\text{base})^{-\alpha}`, known from its depth.
      base: a model of the base width and of the target's depth, as in ``mup``.
      *args: the target's inputs; shapes will do.
      base_branches: the residual branches of the model whose hyperparameters are
        carried over, two for each block of a transformer.
      exponent: :math:`\alpha`, between 0.5 (depth-muP) and 1 (CompleteP).
      readout: as given to ``mup``.
      base_args: as in ``mup``.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of both models.

    Returns:
      The factors; ``CompleteP.adamw`` is the optimizer.

    Raises:
      ValueError: if the model has no residual branches, or as ``mup_multipliers`` and
        ``depth_mup_factors``.

    References:
      Dey et al., "Don't be lazy: CompleteP enables compute-efficient deep
      transformers", 2025, table 1 (from memory; the product of learning rate and decay
      is tested, and that a coordinate check is flat).
    """
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    inside = inside_branches(network)
    factors = depth_mup_factors(
        network.structure.num_branches, base_branches, exponent=exponent
    )
    options: dict[str, Any] = {
        "readout": readout,
        "base_args": base_args,
        "output": output,
        "roles": roles,
        "branches": branches,
        "rngs": rngs,
        "model_kwargs": given,
    }

    def deep(factor: float) -> Any:
        values = [factor if p.leaf in inside else 1.0 for p in network.params]
        return tree_like_params(network.traced, values)

    def product(wide: Any, factor: float) -> Any:
        return jax.tree.map(lambda a, b: a * b, wide, deep(factor))

    rates = product(
        mup_multipliers(model, base, *args, **options), factors.learning_rate
    )
    return CompleteP(
        branch=factors.branch,
        learning_rates=rates,
        epsilons=product(mup_epsilons(model, base, *args, **options), factors.epsilon),
        decays=jax.tree.map(lambda rate: 1 / rate, rates),
    )
