"""How a layer's kernel grows with the parameters that it is computed from."""

from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, CHOICE, SLICE, STACK, Flow, Node

Degrees = dict[int, float | None]
"""For each leaf, by which power of its size a value grows; ``None`` if by no power."""

_SAME = primitives.LAYOUT | {"abs", "neg", "real", "imag", "conj", "reduce_sum"}
_SAME |= {"reduce_max", "reduce_min", SLICE, STACK, "gather", "split", "fft"}
_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "square": 2.0, "cbrt": 1 / 3}
_SUMS = frozenset(
    {"add", "sub", "add_any", "max", "min", "complex", "concatenate", "select_n"}
)


def degrees(flow: Flow) -> list[Degrees]:
    """For each value made of parameters alone, its degree in each of their leaves.

    A kernel has degree 1 in itself and degree 0 once it is divided by its own norm:
    then its size has no effect. Small constants that keep a division finite are taken
    to be zero.
    """
    found: list[Degrees] = [
        dict.fromkeys(flow.leaves[value], 1.0) if flow.is_param(value) else {}
        for value in range(len(flow.values))
    ]
    for node in flow.nodes:
        operands = [found[v] for v in node.operands]
        for position, result in enumerate(node.results):
            if flow.is_param(result):
                found[result] = {
                    leaf: _degree(
                        flow, node, position, [d.get(leaf, 0.0) for d in operands]
                    )
                    for leaf in flow.leaves[result]
                }
    return found


# Factors of a matrix: by which power of its size each of them grows.
_FACTORS = {
    "svd": (1.0, 0.0, 0.0),
    "eigh": (0.0, 1.0),
    "qr": (0.0, 1.0),
    "cholesky": (0.5,),
}


def _degree(
    flow: Flow, node: Node, position: int, given: list[float | None]
) -> float | None:
    if any(d is None for d in given):
        return None
    known = [d for d in given if d is not None]
    name = node.primitive
    if name in _SAME:
        return known[0]
    if name in _FACTORS and position < len(_FACTORS[name]):
        return known[0] * _FACTORS[name][position]
    if name in _POWERS:
        return known[0] * _POWERS[name]
    if name == "integer_pow":
        return known[0] * float(node.params["y"])
    if name == "mul" or name in primitives.CONTRACTIONS:
        return sum(known)
    if name == "div":
        return known[0] - known[1]
    if name in _SUMS:
        varying = {
            d
            for d, value in zip(known, node.operands, strict=True)
            if not _is_constant(flow, value)
        }
        return varying.pop() if len(varying) == 1 else None
    return None if any(known) or name in (CARRY, CHOICE) else 0.0


def _is_constant(flow: Flow, value: int) -> bool:
    """Whether it is neither data, state nor made of parameters."""
    return not (flow.leaves[value] or flow.data[value] or flow.state[value])
