"""Where the elementwise function that follows a layer ends."""

from jaxinit.program import primitives
from jaxinit.program.flow import Flow, Node
from jaxinit.program.paths import Location
from jaxinit.roles.network import Network

_STRAIGHT = primitives.LAYOUT | {"add", "add_any", "sub", "mul", "div", "neg"}


def activation_end(network: Network, number: int) -> Location | None:
    """The last value that is a function of each entry of a layer's output by itself.

    Parameters along channels may take part (PReLU), and choices (``jnp.where``).

    Args:
      network: the network.
      number: the layer's event.

    Returns:
      Where that value is computed; ``None`` where what follows is linear.
    """
    flow = network.anchors.flow
    first = network.anchors.nodes.get(number)
    if first is None or len(flow.nodes[first].results) != 1:
        return None
    start = flow.nodes[first].results[0]
    shape = flow.values[start].shape
    bent = {start: False}
    end = None
    for node in flow.nodes[first + 1 :]:
        step = _step(flow, node, bent, shape)
        if step is not None:
            bent[node.results[0]] = step
            if step and flow.values[node.results[0]].is_float:
                end = Location(node.at.path, node.at.equation)
    return end


def _step(
    flow: Flow, node: Node, bent: dict[int, bool], shape: tuple[int, ...]
) -> bool | None:
    """Whether a node's result is bent; ``None`` if it is no part of the function."""
    data = [v for v in node.operands if flow.data[v]]
    known = primitives.ELEMENTWISE | primitives.KEEPS_ELEMENTS - {"rev", "transpose"}
    if not data or node.primitive not in known or len(node.results) != 1:
        return None
    if not bent.keys() >= set(data) or flow.values[node.results[0]].shape != shape:
        return None
    if any(_is_kernel(flow, v, shape) for v in node.operands):
        return None
    straight = node.primitive in _STRAIGHT and (
        len(data) == 1 or node.primitive not in ("mul", "div")
    )
    if node.primitive == "select_n":
        straight = not flow.data[node.operands[0]]
    return not straight or any(bent[v] for v in data)


def _is_kernel(flow: Flow, value: int, shape: tuple[int, ...]) -> bool:
    """Whether a parameter has an entry of its own for each entry of the output."""
    return flow.is_param(value) and len(shape) > 1 and _spread(flow, value) > 1


def _spread(flow: Flow, value: int) -> int:
    """Along how many axes a parameter value varies, before it was broadcast."""
    maker = flow.values[value].maker
    while maker is not None and flow.nodes[maker].primitive == "broadcast_in_dim":
        value = flow.nodes[maker].operands[0]
        maker = flow.values[value].maker
    return sum(n > 1 for n in flow.values[value].shape)
