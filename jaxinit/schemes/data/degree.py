"""How what a model computes from a parameter grows as the parameter is scaled."""

import numpy as np

from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Flow, Node

_GUARD = 1e-2
"""A constant of at most this size that is added keeps a division from blowing up."""

_AFFINE = 0.999
"""A sum with what stays as it is grows, but not in proportion: no whole degree."""

_SAME = (
    primitives.LAYOUT
    | frozenset(
        "abs neg real imag conj reduce_sum reduce_max reduce_min cumsum sort gather "
        "split slice dynamic_slice pad fft".split()
    )
    | {SLICE, STACK}
)
_TERMS = frozenset("add sub add_any max min".split())


def is_linear(flow: Flow, leaf: int) -> bool:
    """Whether all that data meets of a parameter is multiplied as it is multiplied."""
    return degrees(flow, leaf) <= {1.0}


def degrees(flow: Flow, leaf: int) -> set[float | None]:
    """The degrees of homogeneity of what data meets of a parameter.

    Args:
      flow: the model's graph.
      leaf: the parameter.

    Returns:
      For each value computed from ``leaf`` that meets data, :math:`d` where a factor
      :math:`c` on the parameter is one of :math:`c^d` on the value (0 for a kernel
      that is standardized or divided by its norm), ``None`` where there is no such.
    """
    known: dict[int, float | None] = {}
    met = {
        value
        for node in flow.nodes
        if any(flow.data[v] for v in node.results)
        for value in node.operands
        if flow.is_param(value) and leaf in flow.leaves[value]
    }
    for value, held in enumerate(flow.leaves):
        if flow.values[value].maker is None:
            known[value] = 1.0 if leaf in held else 0.0
    for node in flow.nodes:
        if any(leaf in flow.leaves[v] and flow.is_param(v) for v in node.results):
            of = [known.get(v, 0.0) for v in node.operands]
            found = _degree(flow, node, of)
            known.update(dict.fromkeys(node.results, found))
            if node.primitive == "svd" and of[0] is not None:  # values, then vectors
                known.update(dict.fromkeys(node.results, 0.0))
                known[node.results[0]] = of[0]
    return {known.get(value) for value in met}


def _degree(flow: Flow, node: Node, of: list[float | None]) -> float | None:
    if any(d is None for d in of):
        return None
    known = [d for d in of if d is not None]
    name = node.primitive
    if not any(known):
        return 0.0
    match name:
        case "mul" | "dot_general" | "conv_general_dilated":
            return sum(known)
        case "div":
            return known[0] - known[1]
        case "sqrt":
            return known[0] / 2
        case "rsqrt":
            return -known[0] / 2
        case "square":
            return 2 * known[0]
        case "integer_pow":
            return float(known[0] * node.params["y"])
        case "cbrt":
            return known[0] / 3
    if name in ("select_n", CHOICE):
        pairs = zip(node.operands[1:], known[1:], strict=True)
        growing = {d for v, d in pairs if not _guard(flow, v)}
        return growing.pop() if len(growing) == 1 and not known[0] else None
    if name == CARRY:
        return known[0] if len(set(known)) == 1 else None
    if name in ("concatenate", "stack"):  # what lies beside it stays as it is
        growing = {d for d in known if d}
        return growing.pop() if len(growing) == 1 else None
    if name in _SAME:
        return known[0]
    if name in _TERMS:
        growing = {
            d for v, d in zip(node.operands, known, strict=True) if not _guard(flow, v)
        }
        moving = {d for d in growing if d}
        if len(moving) == 1 and growing != moving and name in ("add", "add_any", "sub"):
            return _AFFINE * moving.pop()  # beside another kernel: w + a b
        return growing.pop() if len(growing) == 1 else None
    return None


def _guard(flow: Flow, value: int) -> bool:
    """Whether a value is a small constant, or no number, written in the program."""
    while flow.values[value].literal is None:
        maker = flow.values[value].maker
        if maker is None or flow.nodes[maker].primitive not in primitives.LAYOUT:
            return False
        value = flow.nodes[maker].operands[0]
    size = np.abs(np.max(flow.values[value].literal))
    return bool(np.isnan(size) or size <= _GUARD)
