"""Learning rates of optimizers that look at whole matrices: Muon, Shampoo and kin.

Their update of a matrix has the spectral norm 1, whatever the gradient's. A layer's
output should change by as much at any width, which is so if the norm is a constant
times sqrt(out / in): the spectral condition. What is missing is the factor here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.infinite_axes import Width


def muon_matrices(
    model: Any,
    *args: Any,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Which parameters are matrices, for ``optax.contrib.muon``.

    By default optax orthogonalizes every array of two axes, tables that are looked up
    among them, and leaves the kernels of attention and of scanned layers to Adam. Here
    the model's program says what is a matrix: each kernel of a product, with its real
    inputs and outputs; layers of a scan and experts one by one. Tables, convolutions,
    biases and gains are left to Adam.

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
      A pytree like that of ``mup_multipliers``: ``optax.contrib``'s
      ``MuonDimensionNumbers`` for matrices, ``None`` for all others. Pass it as
      ``muon_weight_dimension_numbers``, with ``mup_multipliers(optimizer="muon")``
      behind it.

    Raises:
      ValueError: as ``initialize``.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> muon_matrices(nn.Dense(4), jax.ShapeDtypeStruct((1, 16), "float32"))
      {'bias': None, 'kernel': MuonDimensionNumbers(reduction_axis=(0,), \
output_axis=(1,))}

    References:
      Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    from optax.contrib import MuonDimensionNumbers

    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    found: list[Any] = []
    for parameter in network.params:
        if is_matrix(parameter):
            use = parameter.use
            assert use is not None
            found.append(MuonDimensionNumbers(use.in_axis, use.out_axis))
        else:
            found.append(None)
    traced = network.traced
    return traced.variables([*found, *[None] * traced.num_state]).params


def is_matrix(parameter: Parameter) -> bool:
    """Whether it is the kernel of a product, its inputs and outputs known."""
    use = parameter.use
    if use is None or "embedding" in parameter.roles:
        return False
    taps = set(range(len(parameter.shape)))
    taps -= {*use.in_axis, *use.out_axis, *use.batch_axis, *parameter.layer_axes}
    return bool(use.in_axis and use.out_axis) and not taps and use.groups == 1


def muon_rate(
    parameter: Parameter, width: Width, otherwise: float, lifted: bool
) -> float:
    """Muon's factor by the spectral condition, beside optax's own for the shape.

    optax multiplies the orthogonal matrix by sqrt(max(1, out / in)), which does what
    is wanted where outputs grow; where inputs alone grow sqrt(out / in) is missing.

    Args:
      parameter: the target's.
      width: how it grew.
      otherwise: the rate of what is no matrix, which Adam trains.
      lifted: whether it is a readout whose logits are divided by the width's ratio, so
        that it may move as many times as far.

    Returns:
      What the learning rate is multiplied by.
    """
    if not is_matrix(parameter):
        return otherwise
    inputs, outputs = _sizes(parameter)
    before = _of_optax(inputs / width.fan_in, outputs / width.fan_out)
    wanted = math.sqrt(width.fan_out / width.fan_in)
    wanted *= width.fan_in if lifted else 1.0
    return wanted * before / _of_optax(inputs, outputs)


def shampoo_rate(width: Width) -> float:
    """The factor where every array's update has the spectral norm 1.

    Of vectors that is the Euclidean norm; a table is fed vectors of length 1.
    """
    if width.role in ("input", "hidden", "output"):
        return math.sqrt(width.fan_out / width.fan_in)
    return math.sqrt(width.fan_out)


def spectral_rate(parameter: Parameter, optimizer: str, plain: float) -> float:
    """The spectral parametrization's factor, sqrt(out / in), for these optimizers.

    Args:
      parameter: the target's.
      optimizer: ``"muon"`` or ``"shampoo"``.
      plain: out / in of the parameter, as ``spectral`` counts it.

    Returns:
      What the learning rate is multiplied by.
    """
    if optimizer == "shampoo":
        return math.sqrt(plain)
    if not is_matrix(parameter):
        return 1.0 if parameter.use is None else 1 / parameter.use.fan_in
    return math.sqrt(plain) / _of_optax(*_sizes(parameter))


def _of_optax(inputs: float, outputs: float) -> float:
    return math.sqrt(max(1.0, outputs / inputs))


def _sizes(parameter: Parameter) -> tuple[float, float]:
    use = parameter.use
    assert use is not None
    inputs, outputs = (
        math.prod(parameter.shape[axis] for axis in axes)
        for axes in (use.in_axis, use.out_axis)
    )
    return float(inputs), float(outputs)
