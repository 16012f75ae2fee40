"""The weights and biases that make a model's outputs."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from jaxinit.models.trace import Traced
from jaxinit.program.bits import union
from jaxinit.program.flow import Node
from jaxinit.roles.anchors import Anchors


class Ends(NamedTuple):
    """The last layers of a network.

    Attributes:
      main: nodes with no other weight between them and the main output.
      auxiliary: weights with no other weight between them and another output, which
        do not contribute to the main one.
      output: which leaf of the model's output is the main one; ``None`` if none is.
    """

    main: tuple[int, ...]
    auxiliary: tuple[int, ...]
    output: int | None


def find_ends(
    anchors: Anchors, traced: Traced, chosen: int | str | None = None
) -> Ends:
    """The last layers before the main output, and before the others.

    The main output is one that no other output is computed from: of logits and a
    cache, or logits and hidden states, the logits. Of several such (heads side by
    side) it is the first; in a dict, which has no order, the one behind the most
    weights, then the largest. An array with axes goes before a scalar.

    Args:
      anchors: the program's events.
      traced: the model.
      chosen: the main output as the user names it: its position among the output's
        leaves, or its path (``"logits"``, ``"0"``).

    Raises:
      ValueError: if ``chosen`` names no leaf of the output.
    """
    flow = anchors.flow
    leaves = {
        leaf: value
        for leaf, value in enumerate(flow.outputs)
        if flow.values[value].is_float and flow.data[value]
    }
    if chosen is not None:
        main: int | None = _named(traced, chosen)
    else:
        main = _main(anchors, traced, leaves)
    if main is None or main not in leaves:
        return Ends((), (), None)
    above = frozenset(flow.upstream([leaves[main]], _through(anchors)))
    near = tuple(flow.upstream([leaves[main]], _up_to_weights(anchors)))
    others = {value for leaf, value in leaves.items() if leaf != main}
    beside = tuple(
        index
        for index in flow.upstream(sorted(others), _up_to_weights(anchors))
        if index in anchors.weights and index not in above
    )
    return Ends(near, beside, main)


def _main(anchors: Anchors, traced: Traced, leaves: dict[int, int]) -> int | None:
    flow = anchors.flow
    users: dict[int, int] = {}
    for leaf, value in leaves.items():
        for index, _ in flow.users[value]:
            users[index] = users.get(index, 0) | 1 << leaf
    used = flow.gathered(users, _through(anchors))
    by_others = union(used[value] & ~(1 << leaf) for leaf, value in leaves.items())
    last = [leaf for leaf in leaves if not by_others >> leaf & 1]
    ranked = [leaf for leaf in last if flow.values[leaves[leaf]].shape] or last

    @functools.cache
    def passed() -> list[int]:
        weights = {index: 1 << bit for bit, index in enumerate(anchors.weights)}
        return flow.gathered(weights, _through(anchors))

    def weight(leaf: int) -> tuple[int, int]:
        value = leaves[leaf]
        return passed()[value].bit_count(), math.prod(flow.values[value].shape)

    order = _in_order(traced.output(range(len(flow.outputs))), weight, set(ranked))
    return next((leaf for leaf in order if leaf in ranked), None)


def _in_order(
    tree: Any, weight: Callable[[int], tuple[int, int]], wanted: set[int]
) -> list[int]:
    """The leaves as the model lists them; those of a dict, the deepest first."""
    if isinstance(tree, dict):
        groups = [_in_order(child, weight, wanted) for child in tree.values()]
        groups = [g for g in groups if wanted & set(g)]
        groups.sort(
            key=lambda g: max(weight(i) for i in g if i in wanted), reverse=True
        )
        return [leaf for group in groups for leaf in group]
    if isinstance(tree, list | tuple):
        return [i for child in tree for i in _in_order(child, weight, wanted)]
    return list(jax.tree.leaves(tree))


def _named(traced: Traced, chosen: int | str) -> int:
    numbers = range(traced.output_structure.num_leaves)
    paths, _ = jax.tree_util.tree_flatten_with_path(traced.output(numbers))
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    if isinstance(chosen, str) and chosen in names:
        return names.index(chosen)
    if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen in numbers:
        return chosen
    raise ValueError(
        f"`output` must name a leaf of what {traced.name} returns, by its path or its "
        f"position, got {chosen!r}. They are: "
        f"{', '.join(f'{i}: {name!r}' for i, name in enumerate(names))}."
    )


def _through(anchors: Anchors) -> Callable[[Node, int], bool]:
    return lambda node, position: anchors.flow.data[node.operands[position]]


def _up_to_weights(anchors: Anchors) -> Callable[[Node, int], bool]:
    flow = anchors.flow

    def on(node: Node, position: int) -> bool:
        index = flow.values[node.results[0]].maker
        return index not in anchors.weights and flow.data[node.operands[position]]

    return on


def numbers_of(anchors: Anchors, nodes: Iterable[int]) -> list[int]:
    """The events of those nodes that use weights."""
    return [anchors.weights[index] for index in nodes if index in anchors.weights]
