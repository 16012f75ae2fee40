"""The learning rates of muP, one for each parameter, for optax."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax

from jaxinit.models.arguments import model_arguments
from jaxinit.models.trace import Traced
from jaxinit.roles.network import Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.base_network import base_network
from jaxinit.schemes.width.infinite_axes import Width, find_widths
from jaxinit.schemes.width.matrix_optimizers import muon_rate, shampoo_rate
from jaxinit.schemes.width.mup import Readout, check_ends, check_readout
from jaxinit.transfer._leaves import some, tree_of

Optimizer = Literal["sgd", "adam", "adamw", "lion", "muon", "shampoo"]
OPTIMIZERS = get_args(Optimizer)


def mup_multipliers(
    model: Any,
    base: Any,
    *args: Any,
    optimizer: Optimizer = "adam",
    readout: Readout = "small",
    base_args: Sequence[Any] | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    r"""What muP multiplies the learning rate of each parameter by.

    With :math:`m` and :math:`k` the ratios of fan-in and fan-out to those of the base
    model (for a bias or a gain, :math:`k` is the ratio of sizes):

    ==================================  ===========  ============  ==================
    parameter                           Adam, AdamW  SGD           spectral norm 1
    ==================================  ===========  ============  ==================
    inputs, embeddings, biases, gains   1            :math:`k`     :math:`\sqrt k`
    hidden weights                      :math:`1/m`  :math:`k/m`   :math:`\sqrt{k/m}`
    output weights                      :math:`1/m`  :math:`1/m`   :math:`1/\sqrt m`
    readout, with an output multiplier  1            :math:`m`     :math:`\sqrt m`
    ==================================  ===========  ============  ==================

    In SGD, :math:`k/m` is 1 if all widths grow alike. A table that is both embedding
    and readout is trained as an embedding. Adam's ``eps`` should stay well below the
    gradients, which shrink with the width, or shrink as ``mup_epsilons`` says. Lion's
    signs have the same size whatever the gradients', so that it goes as Adam without
    an ``eps``; its row follows from that, and is in no table of the paper.

    The last column is for optimizers whose update of a whole array has the spectral
    norm 1, as Shampoo's without accumulation (``"shampoo"``). It follows from the
    spectral condition. ``"muon"`` is ``optax.contrib.muon`` as it is by default, which
    makes up for outputs that grow by itself, with the matrices of ``muon_matrices``;
    it trains all else, tables among them, by Adam.

    Args:
      model: the target, as in ``initialize``.
      base: a model of the same architecture at the base width, as in ``mup``.
      *args: the target's inputs; shapes will do.
      optimizer: ``"sgd"`` (with or without momentum); ``"adam"``, ``"adamw"`` or
        ``"lion"``, which are alike, as are all whose updates do not depend on the
        scale of the gradient, entry by entry; ``"muon"``; or ``"shampoo"``.
      readout: as given to ``mup``.
      base_args: as in ``mup``.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of both models.

    Returns:
      A pytree of floats like the model's parameters: linen's ``variables["params"]``,
      ``nnx.state(model, nnx.Param)``, or the pytree of a ``Functional`` with ``None``
      in place of what is no parameter. Give it to ``scale_by_mup`` or ``mup_adamw``.

    Raises:
      ValueError: if ``optimizer`` or ``readout`` is unknown, or as ``mup``.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((1, 4), "float32")
      >>> mup_multipliers(mlp(64), mlp(16), x)["layers_2"]
      {'bias': 1.0, 'kernel': 0.25}

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, tables 3 and 8 and appendix B.3. Yang, Simon and
      Bernstein, "A Spectral Condition for Feature Learning", 2023, condition 1.
      Bernstein and Newhouse, "Old Optimizer, New Norm: An Anthology", 2024.
    """
    check_readout(readout)
    check_optimizer(optimizer)
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    widths = find_widths(network, base_network(base, network, base_args, rngs))
    ends = check_ends(network, widths, readout)
    lifted = ends if readout == "multiplier" else frozenset()
    rates = [
        _rate(optimizer, network.params[leaf], width, leaf in lifted)
        for leaf, width in widths.items()
    ]
    return tree_like_params(network.traced, rates)


def scale_by_mup(multipliers: Any) -> optax.GradientTransformation:
    """Multiplies the update of each parameter by a number of its own.

    Put it where updates no longer pass through anything that is not linear, and
    before decoupled weight decay, which muP keeps the same at all widths (it divides
    the learning rate by m and multiplies the decay by m)::

        optax.chain(scale_by_mup(multipliers), optax.sgd(0.1, momentum=0.9))
        optax.chain(optax.adam(1e-3), scale_by_mup(multipliers))
        optax.chain(                                   # mup_adamw
            optax.scale_by_adam(),
            scale_by_mup(multipliers),
            optax.add_decayed_weights(1e-4),
            optax.scale_by_learning_rate(1e-3),
        )

    Clipping of gradients goes before all of it.

    Args:
      multipliers: a pytree of numbers, as of ``mup_multipliers``,
        ``spectral_multipliers`` or ``depth_mup_multipliers``, or a product of them by
        ``jax.tree.map``.

    Returns:
      A gradient transformation without state. Parameters are found by their paths, so
      that it may stand inside ``optax.masked`` and the like; all of its numbers need
      not be used.

    Raises:
      TypeError: if a multiplier is no number.
      ValueError: if ``multipliers`` is empty; when used, if a parameter has none.

    Examples:
      >>> import jax.numpy as jnp
      >>> transform = scale_by_mup({"kernel": 0.25, "bias": 1.0})
      >>> updates = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
      >>> transform.update(updates, transform.init(updates))[0]["kernel"]
      Array([0.25, 0.25], dtype=float32)
    """
    by_name = _by_name(multipliers)

    def check(tree: Any) -> None:
        missing = [x.name for x in tree_of(tree).leaves if x.name not in by_name]
        if missing:
            raise ValueError(
                f"`multipliers` has no number for {some(missing)}. Its names are "
                f"{some(list(by_name))}. Make it from the model that is trained."
            )

    def init(params: Any) -> optax.EmptyState:
        check(params)
        return optax.EmptyState()

    def update(
        updates: Any, state: optax.OptState, params: Any = None
    ) -> tuple[Any, optax.OptState]:
        del params
        check(updates)
        tree = tree_of(updates)
        scaled = {x.place: by_name[x.name] * x.value for x in tree.leaves}
        return tree.replaced(scaled), state

    return optax.GradientTransformation(init, update)


def mup_adamw(
    learning_rate: optax.ScalarOrSchedule,
    multipliers: Any,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
    mask: Any | Callable[[Any], Any] | None = None,
    epsilons: Any = None,
) -> optax.GradientTransformation:
    r"""AdamW with a learning rate for each parameter and the same decay at all widths.

    A parameter with the multiplier :math:`c` takes the step
    :math:`-\eta\,(c\,u + \lambda w)` for Adam's direction :math:`u`: its learning rate
    is :math:`c \eta`, its decay :math:`\lambda / c`, which is :math:`m \lambda` where
    muP divides the learning rate by :math:`m`.

    Args:
      learning_rate: that of the base model :math:`\eta`, a number or a schedule.
      multipliers: as of ``mup_multipliers`` with ``optimizer="adamw"``.
      b1: decay of the mean of gradients.
      b2: decay of the mean of their squares.
      eps: added to the root of the latter.
      weight_decay: that of the base model :math:`\lambda`.
      mask: which parameters decay, as in ``optax.adamw``.
      epsilons: what ``eps`` is multiplied by for each parameter, as of
        ``mup_epsilons``; by default it is the same for all.

    Returns:
      A gradient transformation.

    Raises:
      ValueError: as ``scale_by_mup``.

    Examples:
      >>> import jax.numpy as jnp
      >>> optimizer = mup_adamw(1e-3, {"kernel": 0.25}, weight_decay=0.0)
      >>> params = {"kernel": jnp.ones(1)}
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> round(float(updates["kernel"][0]), 6)
      -0.00025

    References:
      Yang et al., "Tensor Programs V", 2022, appendix B.3. Loshchilov and Hutter,
      "Decoupled Weight Decay Regularization", 2019, algorithm 2.
    """
    larger = optax.identity()
    if epsilons is not None:
        # Adam's direction does not change if gradients and epsilon are scaled alike.
        larger = scale_by_mup(jax.tree.map(lambda factor: 1 / factor, epsilons))
    return optax.chain(
        larger,
        optax.scale_by_adam(b1, b2, eps),
        scale_by_mup(multipliers),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def check_optimizer(optimizer: str) -> None:
    """Raises a ValueError unless ``optimizer`` is one of ``OPTIMIZERS``."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"`optimizer` must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}."
        )


def tree_like_params(traced: Traced, values: Sequence[float]) -> Any:
    """One number for each parameter, in a pytree like the model's parameters."""
    return traced.variables([*values, *[0.0] * traced.num_state]).params


def _rate(optimizer: str, parameter: Parameter, width: Width, lifted: bool) -> float:
    if optimizer == "sgd":
        return _sgd(width, lifted)
    if optimizer == "shampoo":
        return math.sqrt(width.fan_in) if lifted else shampoo_rate(width)
    plain = _adam(width, lifted)
    if optimizer == "muon":
        return muon_rate(parameter, width, plain, lifted)
    return plain


def _adam(width: Width, lifted: bool) -> float:
    if width.role in ("hidden", "output") and not lifted:
        return 1 / width.fan_in
    return 1.0


def _sgd(width: Width, lifted: bool) -> float:
    if lifted:
        return width.fan_in
    if width.role == "tied":
        return width.fan_out
    return width.fan_out / width.fan_in


def _by_name(multipliers: Any) -> dict[str, float]:
    wrong = [x for x in jax.tree.leaves(multipliers) if np.ndim(x) or not _is_number(x)]
    if wrong:
        raise TypeError(f"`multipliers` must hold numbers, got {wrong[0]!r}.")
    leaves = tree_of(jax.tree.map(np.asarray, multipliers)).leaves
    if not leaves:
        raise ValueError(
            "`multipliers` must have a number for each parameter, got none. Make it "
            "with mup_multipliers(model, base, *args)."
        )
    return {leaf.name: float(leaf.value) for leaf in leaves}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.ndarray | jax.Array)
