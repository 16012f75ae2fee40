"""``explain``: which rule of a scheme takes which parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from jaxinit._configuration import measuring
from jaxinit._keys import root_key
from jaxinit.draw.one_sided import has_one_sign
from jaxinit.draw.own_init import as_arrays
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.drawing import SchemeDraw, scheme_draw, std_of
from jaxinit.schemes.fitted import real_fans
from jaxinit.schemes.initialize import check_data, prepare
from jaxinit.schemes.scheme import Scheme, as_scheme
from jaxinit.schemes.untouched import reason

_OWN = "(the model's own)"


class Explained(NamedTuple):
    """What a scheme does to one parameter.

    Attributes:
      name: the parameter's path.
      shape: its shape.
      roles: what it does in the model, as read off the program.
      fan_in: the real fan-in of a weight, of one layer of a stack; else ``None``.
      fan_out: likewise the fan-out.
      rule: the rule that takes it.
      law: the law of its samples.
      std: the standard deviation of one draw.
      kept: where no rule takes it, why the scheme leaves it; empty if for no reason
        that it knows: then ``initialize`` names it in a warning.
    """

    name: str
    shape: tuple[int, ...]
    roles: tuple[str, ...]
    fan_in: float | None
    fan_out: float | None
    rule: str
    law: str
    std: float
    kept: str = ""


@dataclass(frozen=True)
class Explanation:
    """What a scheme does to a model. ``print`` it.

    Attributes:
      model: the model's name.
      rows: one for each parameter, in the order in which data meets them; last those
        that no data meets.
      refined: whether the scheme then changes weights by looking at data.
    """

    model: str
    rows: tuple[Explained, ...]
    refined: bool

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The parameters that keep what the model's own init draws."""
        return tuple(row.name for row in self.rows if row.rule == _OWN)

    @property
    def untouched(self) -> tuple[str, ...]:
        """Those among them that the scheme does not leave on purpose."""
        return tuple(
            row.name
            for row in self.rows
            if row.rule == _OWN and row.shape and not row.kept
        )

    def __str__(self) -> str:
        head = ("parameter", "shape", "fan in, out", "rule", "law", "std", "roles")
        table = [head, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in table
        ]
        if self.refined:
            lines.append("std is that before the scheme looks at data.")
        if self.untouched:
            lines.append(
                f"Left, though they may be weights: {', '.join(self.untouched)}. Give "
                "each a rule by override."
            )
        return "\n".join([f"{self.model}: {len(self.rows)} parameters", *lines])


@measuring
def explain(
    model: Any,
    scheme: Any,
    *args: Any,
    key: int | jax.Array = 0,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Explanation:
    """Says what a scheme does to each parameter of a model.

    Args:
      model: as in ``initialize``.
      scheme: as in ``initialize``.
      *args: the model's inputs; shapes will do.
      key: the key of the draw whose standard deviations are shown.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      The explanation.

    Raises:
      TypeError: if ``model`` is no model or ``scheme`` no scheme.
      ValueError: if the scheme does not apply to the model.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> x = jax.ShapeDtypeStruct((16, 4), "float32")
      >>> print(jaxinit.explain(nn.Dense(8), jaxinit.normal(0.02), x))
      Dense: 2 parameters
      parameter  shape  fan in, out  rule               law               std    roles
      kernel     4x8    4, 8         every weight       normal, std 0.02  0.0... ...
      bias       8                   (the model's own)  a bias            ...
    """
    kwargs = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, inputs = prepare(model, args, kwargs, rngs, root_key(key), hints)
    chosen = as_scheme(scheme)
    draw = scheme_draw(network, chosen)
    refined = chosen.refine(network) is not None
    if not refined:
        check_data(draw, inputs, network)
    leaves = draw.started(root_key(key), *as_arrays(inputs))
    rows = tuple(
        _explained(parameter, draw, leaves[parameter.leaf], network, chosen)
        for parameter in network.in_order
    )
    return Explanation(network.traced.name, rows, refined)


def _explained(
    parameter: Parameter,
    draw: SchemeDraw,
    value: jax.Array,
    network: Network,
    scheme: Scheme,
) -> Explained:
    assignment = draw.assignments.get(parameter.leaf)
    fans = None if parameter.use is None else real_fans(parameter)
    return Explained(
        parameter.name,
        parameter.shape,
        tuple(sorted(parameter.roles)),
        None if fans is None else fans.fan_in,
        None if fans is None else fans.fan_out,
        _OWN if assignment is None else assignment.rule,
        "" if assignment is None else assignment.law,
        std_of(value),
        "" if assignment is not None else _kept(parameter, value, network, scheme),
    )


def _kept(
    parameter: Parameter, value: jax.Array, network: Network, scheme: Scheme
) -> str:
    why = reason(parameter, network, scheme)
    return (
        f"{why}, not 0 on purpose" if why == "a bias" and has_one_sign(value) else why
    )


def _cells(row: Explained) -> tuple[str, ...]:
    fans = "" if row.fan_in is None else f"{row.fan_in:g}, {row.fan_out:g}"
    return (
        row.name,
        "x".join(map(str, row.shape)) or "scalar",
        fans,
        row.rule,
        row.law or row.kept,
        f"{row.std:.3g}",
        ", ".join(row.roles),
    )
