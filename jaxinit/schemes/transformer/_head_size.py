"""The size of attention heads, as the product of queries and keys shows it."""

import math

from jaxinit.program.flow import CARRY
from jaxinit.roles.network import Network


class HeadSizes:
    """Looks up the size of the heads that a projection makes.

    Args:
      network: the network.
    """

    def __init__(self, network: Network) -> None:
        self._anchors = network.anchors

    def of(self, event: int) -> int:
        """Over how many channels queries and keys of one head are multiplied.

        Args:
          event: a layer that makes queries or keys, as numbered in ``Sites.ancestry``.

        Returns:
          The size; 0 if no product of data with data is downstream.
        """
        flow = self._anchors.flow
        weights = self._anchors.weights

        def is_product(index: int) -> bool:
            node = flow.nodes[index]
            return (
                node.primitive == "dot_general"
                and index not in weights
                and all(flow.data[v] for v in node.operands)
            )

        def on(user: int, position: int) -> bool:
            node = flow.nodes[user]
            return not (user in weights or node.primitive == CARRY or is_product(user))

        start = flow.nodes[self._anchors.nodes[event]].results
        for user, position in flow.downstream(start, on):
            if is_product(user):
                node = flow.nodes[user]
                summed = node.params["dimension_numbers"][0][position]
                shape = flow.values[node.operands[position]].shape
                return math.prod(shape[axis] for axis in summed)
        return 0
