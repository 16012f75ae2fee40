"""The spectral parametrization: every kernel with the spectral norm that suits it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from jaxinit._typing import Initializer
from jaxinit.initializers import normal, spectral_orthogonal
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.fitted import by_part, fitted, kernels_of
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.scheme import Assignment, Scheme, drawn
from jaxinit.schemes.width.matrix_optimizers import spectral_rate
from jaxinit.schemes.width.mup_optimizer import (
    Optimizer,
    check_optimizer,
    tree_like_params,
)

Law = Literal["orthogonal", "normal"]
LAWS = get_args(Law)


def spectral(*, law: Law = "orthogonal") -> Scheme:
    r"""Every kernel with a spectral norm of :math:`\sqrt{\text{out} / \text{in}}`.

    Then a layer neither grows nor shrinks vectors of root mean square 1, whatever its
    widths, and with the learning rates of ``spectral_multipliers`` neither do its
    updates. It agrees with muP, without a base model.

    ``"orthogonal"`` gives this norm exactly, with all singular values alike.
    ``"normal"`` draws independent samples of deviation
    :math:`\min(1, \sqrt{\text{out}/\text{in}}) / \sqrt{\text{in}}`, whose spectral
    norm lies between one and about two times it.

    A kernel is the matrix of one product: each stacked layer, expert and group of a
    convolution is one by itself. For a convolution of :math:`R` taps it is the matrix
    from a patch to the output's channels, with :math:`R` times as many inputs as
    channels. As each value is part of at most :math:`R` patches (with stride 1), the
    convolution as a whole then has at most the norm
    :math:`\sqrt{\text{channels out} / \text{channels in}}`.

    A table that is looked up is fed one-hot vectors, of length 1: its entries are
    standard normal samples. All else keeps what the model's own init draws.

    Args:
      law: ``"orthogonal"`` or ``"normal"``.

    Returns:
      A scheme.

    Raises:
      ValueError: if ``law`` is unknown; when used, if a model has no weights, or a
        table that is also the readout.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> x = jax.ShapeDtypeStruct((1, 16), "float32")
      >>> variables = jaxinit.initialize(nn.Dense(4), spectral(), 0, x)
      >>> round(float(jax.numpy.linalg.norm(variables["params"]["kernel"], 2)), 4)
      0.5

    References:
      Yang, Simon and Bernstein, "A Spectral Condition for Feature Learning", 2023,
      condition 1 and section 4. Large et al., "Scalable Optimization in the Modular
      Norm", 2024, section 3, for tables.
    """
    if law not in LAWS:
        raise ValueError(f"`law` must be one of {', '.join(LAWS)}, got {law!r}.")
    return _Spectral(law)


def spectral_multipliers(
    model: Any,
    *args: Any,
    optimizer: Optimizer = "sgd",
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    r"""What the spectral parametrization multiplies each learning rate by.

    =======================  ================================  =====================
    parameter                SGD                               Adam, AdamW
    =======================  ================================  =====================
    kernels                  :math:`\text{out} / \text{in}`    :math:`1 / \text{in}`
    tables, biases, gains    entries (of a table's row)        1
    =======================  ================================  =====================

    Inputs and outputs are counted as in ``spectral``. These are numbers for the model
    as it is, not ratios to a base, so that a learning rate tuned with them is another
    one than without.

    Args:
      model: as in ``initialize``.
      *args: the model's inputs; shapes will do.
      optimizer: as in ``mup_multipliers``. Of ``"shampoo"`` all factors, of ``"muon"``
        those of matrices are :math:`\sqrt{\text{out}/\text{in}}`, less what optax
        multiplies by itself.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      A pytree of floats like that of ``mup_multipliers``, for ``scale_by_mup`` or
      ``mup_adamw``.

    Raises:
      ValueError: if ``optimizer`` is unknown, or a table is also the readout.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> spectral_multipliers(nn.Dense(4), jax.ShapeDtypeStruct((1, 16), "float32"))
      {'bias': 4.0, 'kernel': 0.25}

    References:
      Yang, Simon and Bernstein, "A Spectral Condition for Feature Learning", 2023,
      sections 3 and 4.
    """
    check_optimizer(optimizer)
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    rates = []
    for parameter in network.params:
        matrix = _matrix(parameter, network)
        plain = matrix.outputs / matrix.inputs
        if optimizer in ("muon", "shampoo"):
            rates.append(spectral_rate(parameter, optimizer, plain))
        else:
            rates.append(plain if optimizer == "sgd" else 1 / matrix.inputs)
    return tree_like_params(network.traced, rates)


class _Matrix(NamedTuple):
    inputs: float
    outputs: float


@dataclass(frozen=True)
class _Spectral(Scheme):
    law: Law

    def assign(self, network: Network) -> list[Assignment]:
        assignments = []
        for parameter in network.having("weight", "embedding"):
            inputs, outputs = _matrix(parameter, network)
            norm = math.sqrt(outputs / inputs)
            if "embedding" in parameter.roles:
                assignments.append(drawn(parameter, normal(1.0), "tables"))
                continue
            law = f"{self.law}, spectral norm {norm:.4g}"
            each = [self._kernel(one, network) for one in kernels_of(parameter)]
            init = by_part(parameter, each)
            assignments.append(Assignment(parameter.leaf, init, "kernels", law))
        if not assignments:
            raise ValueError(
                f"the spectral parametrization is for weights, and "
                f"{network.traced.name} has none left. Use its own init."
            )
        return assignments

    def _kernel(self, parameter: Parameter, network: Network) -> Initializer:
        if self.law != "normal":
            return fitted(spectral_orthogonal(), parameter)
        inputs, outputs = _matrix(parameter, network)
        return normal(min(1.0, math.sqrt(outputs / inputs)) / math.sqrt(inputs))


def _matrix(parameter: Parameter, network: Network) -> _Matrix:
    """Inputs and outputs of one kernel; of a vector, 1 and its entries."""
    shape, use = parameter.shape, parameter.use
    if "embedding" in parameter.roles:
        if use is not None:
            raise ValueError(
                f"{parameter.name} is both looked up and a readout, which have two "
                "norms. Give them a table each, or give it a rule of its own: "
                f"override(spectral(), [({parameter.name!r}, normal(1.0))]), with the "
                "logits divided by the width."
            )
        return _Matrix(1.0, float(row_size(parameter, network)))
    if use is None:
        return _Matrix(1.0, math.prod(shape) / math.prod(parameter.layers))
    outputs = use.fan_out
    if use.out_axis:
        outputs = math.prod(shape[axis] for axis in use.out_axis) // use.groups
    return _Matrix(float(use.fan_in), float(outputs))


def row_size(parameter: Parameter, network: Network) -> int:
    """How many entries a row of a table that is looked up has."""
    for event in network.sites.events:
        for use in event.uses:
            if use.leaf == parameter.leaf:
                return math.prod(parameter.shape[axis] for axis in use.out_axis)
    raise AssertionError("a table has a use")
