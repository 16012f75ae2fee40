"""Which leaves a parameter value is made of along its last axis."""

from jaxinit.program import primitives
from jaxinit.program.flow import SLICE, Flow, Node

Segment = tuple[int, int, int, int]


def segments_of(flow: Flow, value: int) -> list[Segment] | None:
    """Which leaves a parameter value is made of along its last axis.

    Returns:
      For each, the leaf, where it starts and stops, and the leaf's own first entry
      there; ``None`` where that cannot be told.
    """
    maker = flow.values[value].maker
    shape = flow.values[value].shape
    if maker is None:
        if not shape or len(flow.leaves[value]) != 1:
            return None
        (leaf,) = flow.leaves[value]
        return [(leaf, 0, shape[-1], 0)]
    node = flow.nodes[maker]
    found = [segments_of(flow, v) for v in node.operands if flow.is_param(v)]
    if node.primitive == "concatenate":
        if node.params["dimension"] != len(shape) - 1:
            return None
        segments = []
        position = 0
        for operand, inner in zip(node.operands, found, strict=True):
            if inner is None:
                return None
            segments += [
                (leaf, low + position, high + position, offset)
                for leaf, low, high, offset in inner
            ]
            position += flow.values[operand].shape[-1]
        return segments
    if node.primitive in ("slice", "split"):
        (whole,) = found
        return whole and _clipped(whole, *_window(flow, node, value))
    passes = primitives.KEEPS_ELEMENTS | {"broadcast_in_dim", "add", SLICE}
    sizes = {flow.values[v].shape[-1:] for v in node.operands if flow.is_param(v)}
    if node.primitive not in passes or sizes != {shape[-1:]}:
        return None
    if any(inner is None for inner in found):
        return None
    return [segment for inner in found for segment in inner or ()]


def _window(flow: Flow, node: Node, value: int) -> tuple[int, int]:
    """Which entries of a parameter's last axis a piece of it holds, if whole there."""
    before = flow.values[node.operands[0]].shape
    if node.primitive == "split":
        if node.params["axis"] != len(before) - 1:
            return 0, 0
        which = node.results.index(value)
        low = int(sum(node.params["sizes"][:which]))
        return low, low + int(node.params["sizes"][which])
    strides = node.params["strides"]
    starts, stops = node.params["start_indices"], node.params["limit_indices"]
    rest = (*starts[:-1], *stops[:-1]) == (*(0 for _ in starts[1:]), *before[:-1])
    if not rest or (strides is not None and set(strides) != {1}):
        return 0, 0
    return int(starts[-1]), int(stops[-1])


def _clipped(segments: list[Segment], low: int, high: int) -> list[Segment]:
    """What of the segments lies between two entries, from the first of these on."""
    within = [(s, max(s[1], low), min(s[2], high)) for s in segments]
    return [
        (leaf, first - low, last - low, offset + first - start)
        for (leaf, start, _, offset), first, last in within
        if first < last
    ]
