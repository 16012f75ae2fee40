"""How products of queries and keys are scaled before a softmax."""

import math
from typing import NamedTuple

from jaxinit.program.flow import Flow, Node
from jaxinit.signal.between import constant
from jaxinit.signal.squashing import maker_of

# What moves or masks scores: each of its data operands may hold them.
_THROUGH = frozenset(
    "sub add select_n where reshape transpose broadcast_in_dim convert_element_type "
    "squeeze copy slice stop_gradient".split()
)


class Scores(NamedTuple):
    """Products of queries and keys on their way into a softmax.

    Attributes:
      terms: how many products each of them sums up, the size of a head.
      factor: the constants that multiply it, or a query or key in front of it.
    """

    terms: int
    factor: float


def find_scores(flow: Flow, softmax: Node) -> Scores | None:
    """What a softmax takes; None if it is no product of two values of the data.

    Args:
      flow: the model.
      softmax: its last step, exp(z) over its sum.
    """
    top = maker_of(flow, softmax.operands[0])
    if top is None or not top.operands:
        return None
    product, factor = _scaled(flow, top.operands[0])
    if product is None:
        return None
    (contracted, _), _ = product.params["dimension_numbers"]
    shape = flow.values[product.operands[0]].shape
    for value in product.operands:
        factor *= _scaled(flow, value)[1]
    return Scores(math.prod(shape[axis] for axis in contracted), abs(factor))


def _scaled(flow: Flow, value: int) -> tuple[Node | None, float]:
    """The product of two data values that a value is, and the constants on the way.

    Where there is none, the constants up to the first operation of another kind.
    """
    node = maker_of(flow, value)
    if node is None:
        return None, 1.0
    data = [v for v in node.operands if flow.data[v]]
    if node.primitive == "dot_general":
        return (node if len(data) == 2 else None), 1.0
    if node.primitive in ("mul", "div") and len(data) == 1:
        known = _multiplier(flow, node)
        if known is None:
            return None, 1.0
        product, factor = _scaled(flow, data[0])
        return product, factor * known
    if node.primitive not in _THROUGH:
        return None, 1.0
    found = [_scaled(flow, v) for v in data]
    return next((f for f in found if f[0] is not None), (found or [(None, 1.0)])[0])


def _multiplier(flow: Flow, node: Node) -> float | None:
    """What the data operand of a product or quotient is multiplied by."""
    first, second = node.operands
    if node.primitive == "mul":
        return constant(flow, second if flow.data[first] else first)
    below = constant(flow, second) if flow.data[first] else None
    return 1 / below if below else None
