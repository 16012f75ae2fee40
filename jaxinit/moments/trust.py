"""Where a theory of independent entries says nothing, on the way of data.

Units of a layer are independent, given what enters it; positions and samples are not:
they share its weights. Sums and extremes over them (pooling, the mixing of values by
an attention) follow no law of one entry. Behind a norm the size is known again.
"""

from collections.abc import Container, Sequence

from jaxinit.program import primitives
from jaxinit.program.flow import CARRY, Flow, Node
from jaxinit.program.paths import Location

_WINDOWS = frozenset(
    "reduce_window_sum reduce_window_max reduce_window_min reduce_window cumsum "
    "cumprod cummax cummin cumlogsumexp sort argmax argmin top_k fft".split()
)
_ROOTS = frozenset({"rsqrt", "sqrt", "pow", "integer_pow"})


class Trust:
    """What is known of each value.

    Args:
      flow: the graph.
      starts: places behind which a law is known again, whatever is known of it there.

    Attributes:
      doubt: whether no law is known.
      statistic: whether it is computed from reductions of data alone.
      root: whether it is a statistic's root.
      plain: whether it is a layer's output, rearranged or scaled.
      settled: values that are in doubt while what is behind them is not.
    """

    def __init__(self, flow: Flow, starts: Container[Location] = ()) -> None:
        count = len(flow.values)
        self.flow = flow
        self.doubt, self.statistic = [False] * count, [False] * count
        self.root, self.plain = [False] * count, [False] * count
        self.starts, self.settled = starts, set[int]()
        for _ in range(2):  # once more for what loops feed back
            for node in flow.nodes:
                self._follow(node)

    @property
    def doubtful(self) -> frozenset[Location]:
        """Places whose values follow no law of independent entries."""
        return frozenset(
            node.at._replace(result=i)
            for node in self.flow.nodes
            for i, value in enumerate(node.results)
            if self.doubt[value] or value in self.settled
        )

    def _follow(self, node: Node) -> None:
        flow, name = self.flow, node.primitive
        moving = [v for v in node.operands if flow.data[v]]
        if not moving or not node.results:
            return
        inexact = [v for v in moving if flow.values[v].is_float]
        statistic = all(self.statistic[v] for v in moving) and name != CARRY
        doubt = any(self.doubt[v] for v in moving)
        if name in _WINDOWS:
            doubt = doubt or bool(inexact)
        elif name in primitives.REDUCTIONS:
            statistic = True
        elif name in primitives.CONTRACTIONS:
            doubt = doubt or any(self.statistic[v] for v in inexact)
            if len(moving) > 1:
                doubt = doubt or not all(self.plain[v] for v in moving)
            statistic = False
        elif self._normalizes(node, moving):
            doubt = False
        known = any(flow.is_param(v) for v in node.operands)
        plain = (name in primitives.CONTRACTIONS and known) or (
            name in primitives.LAYOUT | primitives.LINEAR
            and len(moving) == 1
            and self.plain[moving[0]]
        )
        root = statistic and (name in _ROOTS or any(self.root[v] for v in moving))
        for number, value in enumerate(node.results):
            starts = node.at._replace(result=number) in self.starts
            if starts and doubt:
                self.settled.add(value)
            self.doubt[value] = (doubt and not starts) or (
                name == CARRY and self.doubt[value]
            )
            self.statistic[value] = statistic
            self.root[value] = root
            self.plain[value] = plain

    def _normalizes(self, node: Node, moving: Sequence[int]) -> bool:
        """Whether data is divided by a root of what was reduced from it."""
        roots = [v for v in moving if self.root[v]]
        return node.primitive in ("mul", "div") and 0 < len(roots) < len(moving)
