"""Factors under which hyperparameters carry over to other depths."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxinit.initializers._check import check_count, check_number
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.mup_optimizer import (
    Optimizer,
    check_optimizer,
    tree_like_params,
)


class DepthFactors(NamedTuple):
    """What a model and its optimizer are multiplied by as its depth grows.

    Attributes:
      branch: the multiplier of each residual branch in the forward pass,
        ``x + branch * f(x)``.
      learning_rate: the factor of the learning rate of parameters inside branches.
      epsilon: the factor of Adam's ``eps`` for these parameters, whose gradients the
        multiplier shrinks; 1 for SGD.
    """

    branch: float
    learning_rate: float
    epsilon: float


def depth_mup_factors(
    num_branches: int,
    base_branches: int = 1,
    *,
    exponent: float = 0.5,
    optimizer: Optimizer = "adam",
) -> DepthFactors:
    r"""Depth-muP and CompleteP: the multiplier of residual branches, the learning rate.

    With :math:`m = L / L_\text{base}` and the exponent :math:`\alpha` in
    :math:`[1/2, 1]`, a branch enters as :math:`x + m^{-\alpha} f(x)`, and the
    parameters inside branches learn with

    ==================  ======================
    Adam, AdamW         :math:`m^{\alpha - 1}`
    SGD                 :math:`m^{2\alpha - 1}`
    ==================  ======================

    times the rate of the base model, so that :math:`L` branches together move the
    stream as far at any depth. :math:`\alpha = 1/2` is depth-muP: :math:`1/\sqrt L` on
    branches, :math:`1/\sqrt L` on Adam's learning rate, SGD's unchanged.
    :math:`\alpha = 1` is CompleteP, whose authors find that it alone carries learning
    rates over where a block has several layers, as in a transformer. The factor for
    SGD follows from the branch multiplier's square in the change of the stream; the
    papers give it for :math:`\alpha = 1/2`.

    The multiplier belongs in the forward pass, at all times: that is what the papers
    do, and what the learning rates are for. The initialization of the weights does not
    depend on depth. Folding it into the initial weights instead gives the same network
    at the start, but another one in training.

    Args:
      num_branches: :math:`L`, the residual branches of the model, two for each block of
        a transformer (or its blocks: only the ratio counts, unless ``base_branches``
        is 1).
      base_branches: :math:`L_\text{base}`, those of the model whose hyperparameters
        are carried over; with 1 the factors are those of the papers' formulas.
      exponent: :math:`\alpha`.
      optimizer: as in ``mup_multipliers``. Those whose updates do not depend on the
        scale of the gradient go as Adam.

    Returns:
      The factors. ``depth_mup_multipliers`` lays the learning rates out as a pytree.

    Raises:
      TypeError: if a count is no integer or ``exponent`` no number.
      ValueError: if a number is out of range or ``optimizer`` unknown.

    Examples:
      >>> depth_mup_factors(64, 16)
      DepthFactors(branch=0.5, learning_rate=0.5, epsilon=0.5)
      >>> depth_mup_factors(64, 16, exponent=1.0)
      DepthFactors(branch=0.25, learning_rate=1.0, epsilon=0.25)

    References:
      Yang, Yu, Zhu and Hayou, "Tensor Programs VI: Feature Learning in Infinite-Depth
      Neural Networks", 2023, table 1. Bordelon et al., "Depthwise Hyperparameter
      Transfer in Residual Networks", 2023, table 1. Dey et al., "Don't be lazy:
      CompleteP enables compute-efficient deep transformers", 2025, table 1.
    """
    advice = "It counts what is added into the stream: 24 for a 12-block transformer."
    count = check_count("num_branches", num_branches, advice)
    ratio = count / check_count("base_branches", base_branches, advice)
    advice = "It is 0.5 for depth-muP and 1 for CompleteP; below, activations grow."
    exponent = check_number("exponent", exponent, advice, low=0.5, high=1, closed=True)
    check_optimizer(optimizer)
    branch = ratio**-exponent
    if optimizer == "sgd":
        return DepthFactors(branch, ratio ** (2 * exponent - 1), 1.0)
    return DepthFactors(branch, ratio ** (exponent - 1), branch)


def depth_mup_multipliers(
    model: Any,
    *args: Any,
    base_branches: int = 1,
    exponent: float = 0.5,
    optimizer: Optimizer = "adam",
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """The learning rates of ``depth_mup_factors`` as a pytree.

    The residual branches are those that the model's program shows, each layer of a
    scan counted.

    Args:
      model: as in ``initialize``; with its branches multiplied by the factor.
      *args: the model's inputs; shapes will do.
      base_branches: as in ``depth_mup_factors``.
      exponent: as in ``depth_mup_factors``.
      optimizer: as in ``depth_mup_factors``.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      A pytree of floats like that of ``mup_multipliers``: the factor for weights,
      biases and norms inside residual branches, 1 for all others. Multiply the two by
      ``jax.tree.map(operator.mul, ...)`` for both width and depth.

    Raises:
      ValueError: if the model has no residual branches, or as ``depth_mup_factors``.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         for _ in range(4):
      ...             x = x + 0.5 * nn.Dense(8)(nn.relu(x))
      ...         return nn.Dense(1)(x)
      >>> rates = depth_mup_multipliers(Net(), jax.ShapeDtypeStruct((2, 8), "float32"))
      >>> rates["Dense_0"]["kernel"], rates["Dense_4"]["kernel"]
      (0.5, 1.0)

    References:
      As ``depth_mup_factors``.
    """
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    inside = inside_branches(network)
    factors = depth_mup_factors(
        network.structure.num_branches,
        base_branches,
        exponent=exponent,
        optimizer=optimizer,
    )
    return tree_like_params(
        network.traced,
        [factors.learning_rate if p.leaf in inside else 1.0 for p in network.params],
    )


def inside_branches(network: Network) -> set[int]:
    """The leaves of weights, biases and norms inside residual branches.

    Raises:
      ValueError: if there are no branches.
    """
    structure = network.structure
    if not structure.branches:
        raise ValueError(
            f"depth-muP is for residual networks, and {network.traced.name} adds no "
            "branch into a stream. Use mup_multipliers alone."
        )
    return {
        leaf
        for branch in structure.branches
        for number in (*branch.layers, *branch.norms, *branch.gains)
        for leaf in network.event(number).params
    }
