"""What the schemes for transformers share: a law for each weight by where it is."""

from collections.abc import Callable

import numpy as np

from jaxinit._typing import Initializer
from jaxinit.initializers import normal, scale, truncated_normal
from jaxinit.initializers._value import law_of
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes._norms_and_biases import norms_and_biases
from jaxinit.schemes.fitted import by_layer, by_part, fitted, kernels_of
from jaxinit.schemes.scheme import Assignment, Scheme, drawn
from jaxinit.schemes.transformer._blocks import (
    PROJECTIONS,
    Blocks,
    Layer,
    read_blocks,
)

TABLES = ("embedding", "position", "token")
Factor = float | np.ndarray
"""What samples are multiplied by: one number, or one for each stacked layer."""


class TransformerScheme(Scheme):
    """A scheme in which each weight's law follows from its place in the blocks.

    Those that derive from it are frozen dataclasses. They say how to draw a weight
    inside the residual branches, one outside of them, and a table of embeddings;
    ``None`` leaves a parameter as the model's own init draws it.
    """

    @property
    def call(self) -> str:
        """How a user writes the scheme, for messages."""
        raise NotImplementedError

    def blocks(self, network: Network) -> Blocks:
        """The network as blocks, of which the scheme may demand something."""
        return read_blocks(network)

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment | None:
        """A weight of a residual branch."""
        raise NotImplementedError

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment | None:
        """Any other weight."""
        raise NotImplementedError

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment | None:
        """Embeddings, tied to the readout or not, positions and class tokens."""
        raise NotImplementedError

    def leaves(self, parameter: Parameter) -> str:
        return "outside of its blocks" if "weight" in parameter.roles else ""

    def assign(self, network: Network) -> list[Assignment]:
        blocks = self.blocks(network)
        found: list[Assignment | None] = []
        for parameter in network.having("weight", *TABLES):
            if parameter.roles & set(TABLES):
                found.append(self.table(parameter, blocks))
            elif parameter.leaf in blocks.layers:
                found.append(self.inside(blocks.layers[parameter.leaf], blocks))
            else:
                found.append(self.outside(parameter, blocks))
        taken = {a.leaf for a in found if a is not None}
        return [
            *(a for a in found if a is not None),
            *(a for a in norms_and_biases(network) if a.leaf not in taken),
        ]


def times(
    parameter: Parameter,
    base: Initializer,
    factor: Factor,
    rule: str,
    law: str | None = None,
) -> Assignment:
    """Draws ``factor`` times ``base``, which sees the parameter's real fans.

    Args:
      parameter: what to draw.
      base: an initializer.
      factor: one number, or one for each stacked layer of the parameter.
      rule: which rule this is.
      law: the law of ``base``, by default as it tells it. The factor is added.

    Returns:
      The assignment.
    """
    factors = np.asarray(factor, np.float64)
    if law is None:
        law = law_of(base)
        if (factors != 1).any():
            law = f"{_range(factors)} times {law}"
    if (factors == factors.flat[0]).all():
        return drawn(parameter, scale(base, float(factors.flat[0])), rule, law)
    init = base if "embedding" in parameter.roles else fitted(base, parameter)
    init = by_layer(init, factors, parameter.layer_axes)
    return Assignment(parameter.leaf, init, rule, law)


def drawn_by_part(
    layer: Layer, law: Callable[[str, Parameter], Initializer]
) -> Assignment | None:
    """Draws each part of a fused projection by the law of what it makes.

    Args:
      layer: the weight.
      law: for ``"query"``, ``"key"``, ``"value"`` or ``"inner"`` and the part as a
        kernel of its own, an initializer.

    Returns:
      The assignment; ``None`` for a weight that is one, and where the program does
      not tell which of its outputs are what.
    """
    weight = layer.parameter
    told = [part.roles & set(PROJECTIONS) for part in weight.parts]
    if not any(told) or max(map(len, told)) > 1:
        return None
    each = [next(iter(roles), "inner") for roles in told]
    kernels = kernels_of(weight)
    inits = [law(what, one) for what, one in zip(each, kernels, strict=True)]
    rule = ", ".join(dict.fromkeys(RULES[what] for what in each))
    text = "; ".join(dict.fromkeys(map(law_of, inits)))
    return Assignment(weight.leaf, by_part(weight, inits), rule, text)


def gaussian(
    parameter: Parameter, std: Factor, rule: str, *, cut: float | None = None
) -> Assignment:
    """Draws normal samples of one std, or of one for each stacked layer.

    Args:
      parameter: what to draw.
      std: the standard deviation, before truncation.
      rule: which rule this is.
      cut: after how many standard deviations the law is truncated, if at all.

    Returns:
      The assignment.
    """
    unit, name = normal(1.0), "normal"
    if cut is not None:
        unit, name = truncated_normal(1.0, lower=-cut, upper=cut), "truncated normal"
    return times(parameter, unit, std, rule, f"{name}, std {_range(std)}")


def _range(factor: Factor) -> str:
    low, high = float(np.min(factor)), float(np.max(factor))
    return f"{low:.4g}" if low == high else f"{high:.4g} to {low:.4g}"


def need_branches(network: Network, blocks: Blocks, call: str) -> None:
    """Raises unless the network has residual branches."""
    if not blocks.stacks:
        raise ValueError(
            f"{call} scales the ends of residual branches, and {network.traced.name} "
            "has none. For a network without them give an initializer, such as "
            "jaxinit.normal(0.02), or rules([...])."
        )


def need_attention(network: Network, blocks: Blocks, call: str) -> None:
    """Raises unless the network has attention inside residual branches."""
    if not any(stack.num_blocks for stack in blocks.stacks.values()):
        raise ValueError(
            f"{call} is for transformers: it counts blocks by their attention, and "
            f"{network.traced.name} has none inside a residual branch. Give its "
            "weights by rules([(role('branch_end'), ...), (role('weight'), ...)])."
        )


def need_one_part(layer: Layer, call: str, example: Callable[[str, Layer], str]) -> str:
    """The one thing that a weight does in its block.

    Args:
      layer: the weight.
      call: how a user writes the scheme.
      example: for a part of a fused projection, an initializer as a user writes it.

    Returns:
      The part.

    Raises:
      ValueError: if the weight does several things, which the scheme draws by
        different laws.
    """
    parts = [p for p in RULES if p in layer.parts]
    if len(parts) == 1:
        return parts[0]
    parameter = layer.parameter
    blocks = ", ".join(example(part, layer) for part in parts)
    rank = len(parameter.shape)
    axis, last = _fused_axis(parameter, len(parts)), "last axis"
    where = "" if axis == rank - 1 else f", axis={axis - rank}"
    if axis != rank - 1:
        last = f"axis {axis}"
    text = f"blocked([{blocks}]{where})"
    if parameter.layers:
        axes = parameter.layer_axes
        text = f"stacked({text}, axis={axes[0] if len(axes) == 1 else axes})"
    words = ", ".join(f"'{part}'" for part in parts)
    divided = f"if in equal blocks along its {last}, "
    init = f"as_stored({text})"
    if parameter.shape[axis] % len(parts):
        divided, init = "to draw it by one law, ", example(parts[0], layer)
    raise ValueError(
        f"{call} draws {words} by laws of their own, and {parameter.name} of shape "
        f"{parameter.shape} is all of them, in an order that it does not show. Say how "
        f"it is divided; {divided}override({call}, [({parameter.name!r}, {init})])."
    )


def _fused_axis(parameter: Parameter, parts: int) -> int:
    """The axis along which a kernel's parts most likely lie."""
    use = parameter.use
    axes = use.out_axis if use is not None and use.out_axis else ()
    by_size = [axis for axis in axes if parameter.shape[axis] == parts]
    whole = [axis for axis in axes if parameter.shape[axis] % parts == 0]
    return next(iter([*by_size, *whole[::-1]]), len(parameter.shape) - 1)


RULES = {
    "query": "queries",
    "key": "keys",
    "value": "values",
    "attention_output": "output of an attention",
    "end": "end of a branch",
    "lead": "leads up to projections",
    "inner": "inside a branch",
}
"""What ``explain`` calls the parts of a block."""
