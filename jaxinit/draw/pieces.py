"""Cuts a block at its random keys, and finds which of the pieces are equal."""

import graphlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxinit._caches import hashable
from jaxinit.program.primitives import is_key
from jaxinit.program.program import Constant, Node, Operand, Region
from jaxinit.program.prune import reached

DRAWS = frozenset({"random_bits", "random_gamma", "rng_bit_generator", "threefry2x32"})

# Deriving many keys at once gives bit for bit what deriving each alone gives.
_DERIVES_KEYS = frozenset(
    "broadcast_in_dim concatenate convert_element_type dynamic_slice expand_dims "
    "gather iota random_fold_in random_seed random_split random_unwrap "
    "random_wrap reshape slice squeeze".split()
)

# Constants up to this size are told apart by their values, larger ones by identity.
_SMALL = 64


@dataclass(frozen=True, eq=False)
class Piece:
    """Nodes that hang together by more than random keys: one sampler, as a rule.

    Two pieces are equal where running one in place of the other, on the other's
    inputs, gives the same outputs.

    Attributes:
      nodes: the nodes, in order.
      inputs: the values from elsewhere that they read.
      outputs: those of their values that are read elsewhere.
      form: what makes two pieces equal.
      draws: whether random numbers are drawn here, not only keys derived.
      derives_keys: whether nothing but keys are derived here, by functions that give
        the same when mapped over stacked inputs.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[int, ...]
    form: Hashable
    draws: bool
    derives_keys: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Piece) and self.form == other.form

    def __hash__(self) -> int:
        return hash(self.form)


def cut(block: Region) -> list[list[Piece]]:
    """The pieces of ``block`` in an order to run them.

    Each list holds equal pieces, none of which needs another. A node that depends on
    no input is part of every piece that reads it, and a piece of its own where it is
    an output. Only what the outputs need is listed.
    """
    return _Cut(block).groups()


def is_threefry(aval: Any) -> bool:
    """Whether these keys are of the default kind.

    Only its draws are promised to be the same alone and under `jax.vmap`. The name is
    that of the key type as jax prints it, on 0.10 and 0.12 alike.
    """
    return str(aval.dtype) == "key<fry>"


def all_threefry(block: Region) -> bool:
    """Whether all keys in ``block`` and in its bodies are of the default kind."""
    return all(
        all(map(is_threefry, _keys(node))) and all(map(all_threefry, node.bodies))
        for node in block.nodes
    )


def draws(node: Node) -> bool:
    """Whether a node draws random numbers, itself or in one of its bodies."""
    return node.primitive in DRAWS or any(
        draws(inner) for body in node.bodies for inner in body.nodes
    )


class _Cut:
    """The bookkeeping of `cut`; nodes are known by their position in the block."""

    def __init__(self, block: Region) -> None:
        self.block = block
        self.depends, _ = reached(block, [True] * len(block.inputs))
        self.maker = {v: i for i, node in enumerate(block.nodes) for v in node.results}
        self.moving = [
            i for i, n in enumerate(block.nodes) if self.depends.intersection(n.results)
        ]
        self.parent = list(range(len(block.nodes)))
        avals = {
            value: var.aval
            for node in block.nodes
            for value, var in zip(node.results, node.equation.outvars, strict=True)
        }
        for i in self.moving:
            for value in self.sources(i):
                if not is_key(avals[value]):
                    self.join(i, self.maker[value])
        self.order = self.acyclic_order()

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.root(i)] = self.root(j)

    def sources(self, i: int) -> Iterator[int]:
        """The values made by other nodes that node ``i`` reads, constants apart."""
        for operand in self.block.nodes[i].operands:
            if operand in self.depends and operand in self.maker:
                yield operand

    def acyclic_order(self) -> list[int]:
        """Joins the pieces that need each other; the rest in an order to run them."""
        while True:
            before: dict[int, set[int]] = {self.root(i): set() for i in self.moving}
            for i in self.moving:
                before[self.root(i)].update(
                    self.root(self.maker[value]) for value in self.sources(i)
                )
            for root, needed in before.items():
                needed.discard(root)
            try:
                return list(graphlib.TopologicalSorter(before).static_order())
            except graphlib.CycleError as error:
                for root in error.args[1]:
                    self.join(root, error.args[1][0])

    def groups(self) -> list[list[Piece]]:
        members: dict[int, list[int]] = {root: [] for root in self.order}
        readers: dict[int, set[int]] = {}
        for i in self.moving:
            members[self.root(i)].append(i)
            for value in self.sources(i):
                readers.setdefault(value, set()).add(self.root(i))
        ends = dict.fromkeys(o for o in self.block.outputs if o in self.maker)
        moving = set(self.moving)
        found: dict[Any, list[Piece]] = {}
        for end in ends:
            if end not in self.depends and self.maker[end] not in moving:
                piece = self.piece([self.maker[end]], [end])
                found.setdefault((0, piece), []).append(piece)
        level: dict[int, int] = {}
        for root in self.order:
            needed = {
                self.root(self.maker[v]) for i in members[root] for v in self.sources(i)
            }
            level[root] = max((level[r] for r in needed - {root}), default=0) + 1
            outputs = [
                value
                for i in members[root]
                for value in self.block.nodes[i].results
                if value in ends or readers.get(value, set()) - {root}
            ]
            piece = self.piece(members[root], outputs)
            found.setdefault((level[root], piece), []).append(piece)
        return [found[key] for key in sorted(found, key=lambda key: key[0])]

    def piece(self, members: list[int], outputs: list[int]) -> Piece:
        nodes = [self.block.nodes[i] for i in self.with_constants(members)]
        any_draws = any(map(draws, nodes))
        derives = all(map(_derives_keys, nodes)) and not any_draws
        inputs: list[Operand] = []
        names: dict[Operand, int] = {}
        form: list[Hashable] = [derives]
        for node in nodes:
            read: list[Hashable] = []
            for operand in node.operands:
                # What is folded into a key differs from layer to layer: an input.
                folded = derives and node.primitive == "random_fold_in"
                if isinstance(operand, Constant) and not folded:
                    read.append(_constant_form(operand))
                    continue
                if operand not in names:
                    inputs.append(operand)
                    names[operand] = len(names)
                read.append(names[operand])
            for value in node.results:
                names[value] = len(names)
            form.append((_node_form(node), tuple(read)))
        form.append(tuple(names[value] for value in outputs))
        return Piece(
            tuple(nodes),
            tuple(inputs),
            tuple(outputs),
            tuple(form),
            any_draws,
            derives,
        )

    def with_constants(self, members: list[int]) -> list[int]:
        """``members`` and all that they read that depends on no input."""
        wanted, todo = set(members), list(members)
        while todo:
            for operand in self.block.nodes[todo.pop()].operands:
                if operand in self.maker and operand not in self.depends:
                    if self.maker[operand] not in wanted:
                        wanted.add(self.maker[operand])
                        todo.append(self.maker[operand])
        return sorted(wanted)


def _derives_keys(node: Node) -> bool:
    return node.primitive in _DERIVES_KEYS and all(map(is_threefry, _keys(node)))


def _keys(node: Node) -> list[Any]:
    """What the random keys that a node reads or makes look like."""
    atoms = (*node.equation.invars, *node.equation.outvars)
    return [atom.aval for atom in atoms if is_key(atom.aval)]


def _node_form(node: Node) -> Hashable:
    equation = node.equation
    if node.bodies:  # bodies are not compared: equal to itself alone
        return node
    form = (
        node.primitive,
        tuple(sorted(equation.params.items())),
        equation.ctx,
        tuple(var.aval for var in equation.invars),
    )
    return form if hashable(form) else node


def _constant_form(operand: Constant) -> Hashable:
    value = operand.value
    key = isinstance(value, jax.Array) and is_key(value)
    if key or np.size(value) > _SMALL:
        return id(value)  # the piece holds the value, so the number is not used again
    array = np.asarray(value)
    return array.dtype.name, array.shape, array.tobytes()
