"""Which axes of a model's parameters grow with its width, and how much."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.width.base_network import base_network

WidthRole = Literal["input", "hidden", "output", "tied", "vector", "finite"]

_ALONG_CHANNELS = {
    "bias",
    "norm_scale",
    "norm_bias",
    "gain",
    "readout_bias",
    "gate_bias",
    "forget_gate_bias",
}


class Width(NamedTuple):
    """How one parameter grows from the base model to the target.

    Attributes:
      name: the parameter's path.
      role: ``"input"`` for a weight (or a table that is looked up) of which only the
        outputs grow, ``"hidden"`` if inputs and outputs do, ``"output"`` if only the
        inputs do, ``"tied"`` for a table that is also the readout, ``"vector"`` for
        biases, gains, positions and the like, ``"finite"`` if nothing grows.
      fan_in: the target's fan-in over the base's: the width ratio :math:`m` of a
        hidden, output or tied weight; 1 for all others.
      fan_out: likewise the number of outputs of a weight, of entries of a vector.
    """

    name: str
    role: WidthRole
    fan_in: float
    fan_out: float


def mup_widths(
    model: Any,
    base: Any,
    *args: Any,
    base_args: Sequence[Any] | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> tuple[Width, ...]:
    """How each parameter of a model grows from that of a base model.

    An axis whose size differs between the two models is one that grows with the
    width. Which of them are inputs and which outputs is read off the models'
    programs.

    Args:
      model: the target, as in ``initialize``.
      base: a model of the same architecture at the base width: a linen module; an nnx
        class, factory or module; or a ``Functional``.
      *args: the target's inputs; shapes will do.
      base_args: the base's positional inputs, if their shapes are not the target's.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of both models.

    Returns:
      One ``Width`` for each parameter, in the order of the model's tree. The model
      must multiply its logits by ``1 / fan_in`` of a ``"tied"`` table.

    Raises:
      ValueError: if the models have parameters of other names or ranks, or all of the
        same shapes; if the program does not tell inputs from outputs.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((1, 4), "float32")
      >>> for width in mup_widths(mlp(64), mlp(16), x):
      ...     print(width.name, width.role, width.fan_in, width.fan_out)
      layers_0/bias vector 1.0 4.0
      layers_0/kernel input 1.0 4.0
      layers_2/bias finite 1.0 1.0
      layers_2/kernel output 4.0 1.0

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, appendix B.
    """
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    narrow = base_network(base, network, base_args, rngs)
    return tuple(find_widths(network, narrow).values())


def find_widths(network: Network, base: Network) -> dict[int, Width]:
    """The widths of the parameters that no rule of the user's has taken.

    Args:
      network: the target.
      base: the model at the base width.

    Returns:
      By leaf, in order.

    Raises:
      ValueError: as ``mup_widths``.
    """
    _check_same_names(network, base)
    widths = {}
    for parameter in network.free:
        widths[parameter.leaf] = _width(
            parameter, base.params[parameter.leaf], network, base
        )
    if all(
        p.shape == b.shape for p, b in zip(network.params, base.params, strict=True)
    ):
        raise ValueError(
            f"`base` must be narrower than the model, got {base.traced.name} with all "
            "parameters of the same shapes. Build it with a smaller width."
        )
    return widths


def _check_same_names(network: Network, base: Network) -> None:
    ours = [p.name for p in network.params]
    theirs = [p.name for p in base.params]
    if ours != theirs:
        only = [name for name in theirs if name not in set(ours)]
        lacking = [name for name in ours if name not in set(theirs)]
        raise ValueError(
            "`base` must be the same model at another width, with the same names of "
            f"parameters. It alone has {_some(only)}; it lacks {_some(lacking)}. "
            "Build both by the same code, and of the same depth."
        )
    for parameter, narrow in zip(network.params, base.params, strict=True):
        if len(parameter.shape) != len(narrow.shape):
            raise ValueError(
                f"{parameter.name} has the shape {parameter.shape} in the model and "
                f"{narrow.shape} in `base`. Only the sizes of axes may differ."
            )


def _width(
    parameter: Parameter, narrow: Parameter, network: Network, base: Network
) -> Width:
    grown = [
        axis
        for axis, (size, small) in enumerate(
            zip(parameter.shape, narrow.shape, strict=True)
        )
        if size != small
    ]
    if not grown:
        return Width(parameter.name, "finite", 1.0, 1.0)
    if 0 in (*parameter.shape, *narrow.shape):
        raise ValueError(_shapes(parameter, narrow) + " An axis has no entries.")
    if any(axis in parameter.layer_axes for axis in grown):
        raise ValueError(
            f"{_shapes(parameter, narrow)} The number of its stacked layers differs. "
            "Give `base` the depth of the model; depth_mup_factors is for depth."
        )
    if "embedding" in parameter.roles:
        return _table(parameter, narrow, grown, network, base)
    if parameter.use is None:
        return _vector(parameter, narrow, grown)
    return _weight(parameter, narrow, grown, network, base)


def _vector(parameter: Parameter, narrow: Parameter, grown: Sequence[int]) -> Width:
    if len(grown) > 1 and not parameter.roles & _ALONG_CHANNELS:
        raise ValueError(
            f"{_shapes(parameter, narrow)} It is no weight, so that only one axis "
            "may grow. Let `base` differ in its width alone, or give this parameter a "
            f"rule of its own: override(mup(base), [({parameter.name!r}, init)])."
        )
    return Width(parameter.name, "vector", 1.0, _growth(parameter, narrow, grown))


def _table(
    parameter: Parameter,
    narrow: Parameter,
    grown: Sequence[int],
    network: Network,
    base: Network,
) -> Width:
    """A table that is looked up; perhaps also a weight, of a readout."""
    features = {
        axis
        for event in network.sites.events
        for use in event.uses
        if use.leaf == parameter.leaf and event.operation == "gather"
        for axis in use.out_axis
    }
    if not set(grown) <= features:
        raise ValueError(
            f"{_shapes(parameter, narrow)} The number of rows that are looked up may "
            "not grow. Give `base` the same vocabulary."
        )
    if parameter.use is None:
        return Width(parameter.name, "input", 1.0, _growth(parameter, narrow, grown))
    ratio = _fan_in_ratio(parameter, network, base)
    return Width(parameter.name, "tied", ratio, _growth(parameter, narrow, grown))


def _weight(
    parameter: Parameter,
    narrow: Parameter,
    grown: Sequence[int],
    network: Network,
    base: Network,
) -> Width:
    use = parameter.use
    assert use is not None
    known = {*use.in_axis, *use.out_axis, *use.batch_axis}
    taps = [axis for axis in grown if axis not in known]
    if use.in_axis and taps:
        raise ValueError(
            f"{_shapes(parameter, narrow)} Its axis {taps[0]} numbers the taps of a "
            "convolution, which are not a width. Give `base` kernels of the same size."
        )
    inputs = _fan_in_ratio(parameter, network, base)
    outputs = _growth(parameter, narrow, grown) / inputs
    role: WidthRole = "hidden"
    if inputs == 1:
        role = "input"
    elif outputs == 1:
        role = "output"
    return Width(parameter.name, role, inputs, outputs)


def _fan_in_ratio(parameter: Parameter, network: Network, base: Network) -> float:
    """By what factor more products are summed than in the base; in all uses the same.

    A kernel that is also used transposed has two fan-ins.
    """
    leaf = parameter.leaf
    wide, narrow = (
        [
            use.fan_in
            for event in one.sites.events
            if event.operation != "gather"
            for use in event.uses
            if use.leaf == leaf
        ]
        for one in (network, base)
    )
    if len(wide) != len(narrow):
        raise ValueError(
            f"{parameter.name} is used {len(wide)} times by the model and "
            f"{len(narrow)} times by `base`. Build both by the same code."
        )
    ratios = {a / b for a, b in zip(wide, narrow, strict=True)}
    if len(ratios) > 1:
        raise ValueError(
            f"{parameter.name} is used in several ways, whose fan-ins grow by "
            f"{sorted(ratios)}: no one law fits them. Give it a rule of its own: "
            f"override(mup(base), [({parameter.name!r}, init)])."
        )
    return ratios.pop()


def _growth(parameter: Parameter, narrow: Parameter, axes: Sequence[int]) -> float:
    return math.prod(parameter.shape[i] for i in axes) / math.prod(
        narrow.shape[i] for i in axes
    )


def _shapes(parameter: Parameter, narrow: Parameter) -> str:
    return (
        f"{parameter.name} has the shape {parameter.shape} in the model and "
        f"{narrow.shape} in `base`."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") or "no others"
