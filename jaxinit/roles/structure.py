"""What each parameter of a model does, and how its layers hang together.

All of it is read off the program, nothing off names.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxinit.models.trace import Traced
from jaxinit.program.bits import bits
from jaxinit.program.flow import Node
from jaxinit.roles.affine import Affine
from jaxinit.roles.anchors import Anchors, telling_uses
from jaxinit.roles.attention import Attention as Attention
from jaxinit.roles.attention import find_attentions
from jaxinit.roles.branches import Branch as Branch
from jaxinit.roles.branches import find_branches
from jaxinit.roles.gates import Gate as Gate
from jaxinit.roles.gates import find_gates
from jaxinit.roles.parts import Part as Part
from jaxinit.roles.parts import find_parts
from jaxinit.roles.pieces import find_pieces
from jaxinit.roles.readout import Ends, find_ends, numbers_of
from jaxinit.roles.recurrence import recurrent_layers
from jaxinit.roles.residual import Unclear as Unclear
from jaxinit.roles.router import find_routers

ROLES = {
    "weight": "a kernel, with axes that are summed over",
    "embedding": "a table that is looked up; a tied one is a weight too",
    "position": "added along more than the channels",
    "token": "concatenated with data, or put in its place",
    "bias": "added along the channels of a layer's output",
    "norm_scale": "the gain of a normalization",
    "norm_bias": "the shift of a normalization",
    "gain": "any other factor, along channels, of a whole value, or of a kernel",
    "input": "a weight with no weight or lookup before it",
    "readout": "a weight with no weight between it and the main output",
    "readout_bias": "a bias with no weight between it and the main output",
    "auxiliary_readout": "a weight that makes another output than the main one",
    "router": "a weight that chooses or weighs the paths that data take",
    "branch_end": "a weight that ends a residual branch",
    "query": "a weight that makes an attention's queries",
    "key": "a weight that makes an attention's keys",
    "value": "a weight that makes an attention's values",
    "attention_output": "a weight that takes what an attention gives",
    "recurrent": "a weight on the way from a loop's state back to it",
    "gate_bias": "a bias that opens a recurrent cell's gates",
    "forget_gate_bias": "a bias of the gate that keeps a cell's state, and no other's",
}
"""What a parameter may do in a model. One may do several things; a fused kernel of
queries, keys and values is all three."""


class Structure(NamedTuple):
    """What each parameter does, and the network's branches and attentions.

    Attributes:
      roles: for each parameter leaf, what it does (``ROLES``); none for one that no
        data meets, and where the program does not tell.
      branches: the residual branches, in the order in which data meets their joins.
      attentions: the attentions, in the order in which data meets them.
      num_branches: how many there are if each layer of a scan counts.
      gates: for each leaf that is the bias of a recurrent cell's gates, which of its
        entries are whose.
      output: which leaf of the model's output is the main one.
      unclear: sums of two weighted paths of which the program does not tell whether
        one of them is a residual branch.
      parts: by leaf, the parts of fused kernels.
      pieces: by leaf, for kernels cut along their inputs, which of these are summed
        together.
    """

    roles: tuple[frozenset[str], ...]
    branches: tuple[Branch, ...]
    attentions: tuple[Attention, ...]
    num_branches: int
    gates: dict[int, tuple[Gate, ...]]
    output: int | None = None
    unclear: tuple[Unclear, ...] = ()
    parts: Mapping[int, tuple[Part, ...]] = {}
    pieces: Mapping[int, tuple[frozenset[int], ...]] = {}


class Hints(NamedTuple):
    """What the user says where a program does not tell.

    Attributes:
      output: the main output: its position among the output's leaves, or its path.
      roles: pairs of a parameter's path and the role that it has besides.
      branches: pairs of a weight's path and whether the sum behind it adds a
        residual branch that ends with this weight.
    """

    output: int | str | None = None
    roles: tuple[tuple[str, str], ...] = ()
    branches: tuple[tuple[str, bool], ...] = ()


NO_HINTS = Hints()


def as_hints(
    output: int | str | None,
    roles: Mapping[str, str] | None,
    branches: Mapping[str, bool] | None = None,
) -> Hints:
    """The hints that a user gave as arguments."""
    if roles is not None and not isinstance(roles, Mapping):
        raise TypeError(
            "`roles` must map paths of parameters to roles, as in "
            f"{{'head/kernel': 'readout'}}, got {roles!r}."
        )
    if branches is not None and (
        not isinstance(branches, Mapping)
        or not all(isinstance(ends, bool) for ends in branches.values())
    ):
        raise TypeError(
            "`branches` must map paths of weights to whether they end a residual "
            f"branch, as in {{'Conv_1/kernel': True}}, got {branches!r}."
        )
    return Hints(output, tuple((roles or {}).items()), tuple((branches or {}).items()))


def read_structure(
    anchors: Anchors, traced: Traced, hints: Hints = NO_HINTS
) -> Structure:
    """Reads what each parameter of a model does.

    Args:
      anchors: the model's layers and joins, in its flow graph.
      traced: the model's programs.
      hints: what the user says besides.

    Returns:
      The roles of the parameters, the residual branches, the attentions and gates.
    """
    affine = Affine(anchors, len(traced.params))
    roles = affine.roles
    for role_set in roles:  # a scale of a norm that multiplies the running mean too
        if "norm_scale" in role_set:
            role_set.discard("norm_bias")
    _kernels(anchors, roles)
    ends = find_ends(anchors, traced, hints.output)
    _ends_of_the_network(anchors, affine, ends)
    said = {_leaf(traced, "branches", name): ends for name, ends in hints.branches}
    branches, unclear = find_branches(anchors, roles, said)
    _check_said(traced, said, branches, anchors)
    _without_heads(anchors, affine, branches)
    attentions = find_attentions(anchors, frozenset(b.join for b in branches))
    for attention in attentions:
        _give(anchors, attention.query, roles, "query")
        _give(anchors, attention.key, roles, "key")
        _give(anchors, attention.value, roles, "value")
        _give(anchors, attention.output, roles, "attention_output")
    branches = _with_attention(branches, attentions)
    last = frozenset(numbers_of(anchors, ends.main))
    routers = [number for number in find_routers(anchors) if number not in last]
    _give(anchors, routers, roles, "router")
    branches = tuple(_without(branch, routers) for branch in branches)
    for branch in branches:
        _give(anchors, branch.ends, roles, "branch_end")
    _give(anchors, recurrent_layers(anchors), roles, "recurrent")
    gates = find_gates(anchors, affine.added)
    for leaf, found in gates.items():
        roles[leaf].add("gate_bias")
        size = traced.apply.jaxpr.invars[leaf].aval.shape[-1]
        kept = sum(g.stop - g.start for g in found if g.kind == "forget")
        if kept == size and len(found) == 1:
            roles[leaf].add("forget_gate_bias")
    for leaf in anchors.latents:
        roles[leaf].add("token")
    _hinted(traced, hints, roles)
    return Structure(
        output=ends.output,
        roles=tuple(map(frozenset, roles)),
        branches=branches,
        attentions=attentions,
        num_branches=sum(branch.numbers.size for branch in branches),
        gates=gates,
        unclear=unclear,
        parts=find_parts(anchors, attentions),
        pieces=find_pieces(anchors),
    )


def _hinted(traced: Traced, hints: Hints, roles: list[set[str]]) -> None:
    for path, role in hints.roles:
        leaf = _leaf(traced, "roles", path)
        if role not in ROLES:
            raise ValueError(
                f"`roles` must give {path!r} one of {', '.join(ROLES)}, got {role!r}."
            )
        roles[leaf].add(role)


def _leaf(traced: Traced, argument: str, path: str) -> int:
    """The parameter that a user names."""
    names = ["/".join(parts) for parts in traced.params]
    if path not in names:
        raise ValueError(
            f"`{argument}` must name parameters of {traced.name}, got {path!r}. They "
            f"are: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    return names.index(path)


def _without_heads(
    anchors: Anchors, affine: Affine, branches: Sequence[Branch]
) -> None:
    """A stream that is itself the output has no readout: its branches' ends are none.

    A single branch, as of a denoiser that corrects its input, makes the output; so do
    several heads whose sum is the output.
    """
    counts: dict[int, int] = {}
    for branch in branches:
        counts[branch.stream] = counts.get(branch.stream, 0) + branch.numbers.size
    ends = {
        number
        for branch in branches
        if counts[branch.stream] > 1 and _skips_as_it_is(anchors, branch)
        for number in branch.ends
    }
    for index, number in anchors.weights.items():
        if number in ends:
            leaves = [use.leaf for use in anchors.events[number].uses]
            for leaf in (*leaves, *affine.added.get(index, ())):
                affine.roles[leaf] -= {"readout", "readout_bias"}


def _skips_as_it_is(anchors: Anchors, branch: Branch) -> bool:
    """Whether what a branch is added to is what it starts from, with no projection."""
    join = anchors.events[branch.join]
    return not bits(join.skip) & ~anchors.ancestors(join.branch)


def _check_said(
    traced: Traced,
    said: Mapping[int, bool],
    branches: Sequence[Branch],
    anchors: Anchors,
) -> None:
    """Raises for a weight that was said to end a branch and ends none."""
    ends = {u.leaf for b in branches for n in b.ends for u in anchors.events[n].uses}
    for leaf, wanted in said.items():
        if wanted and leaf not in ends:
            name = "/".join(traced.params[leaf])
            raise ValueError(
                f"`branches` must name weights that are the last before a sum of two "
                f"paths, got {name!r}. residual_structure(model, *args) prints the "
                "branches and the sums that are not understood."
            )


def _without(branch: Branch, routers: Sequence[int]) -> Branch:
    """A branch that no router ends."""
    ends = tuple(end for end in branch.ends if end not in routers)
    return branch._replace(ends=type(branch.ends)(ends))


def _with_attention(
    branches: Sequence[Branch], attentions: Sequence[Attention]
) -> tuple[Branch, ...]:
    ended = dict[int, int]()
    for number, attention in enumerate(attentions):
        for output in attention.output:
            ended.setdefault(output, number)
    return tuple(
        branch._replace(attention=min(found)) if found else branch
        for branch in branches
        for found in [[ended[end] for end in branch.ends if end in ended]]
    )


def _give(
    anchors: Anchors, numbers: Iterable[int], roles: list[set[str]], role: str
) -> None:
    for number in numbers:
        for use in telling_uses(anchors.events[number]):
            roles[use.leaf].add(role)


def _kernels(anchors: Anchors, roles: list[set[str]]) -> None:
    """Weights, lookup tables, and the weights that see the input first."""
    flow = anchors.flow

    def through(node: Node, position: int) -> bool:
        return flow.data[node.operands[position]]

    kernels = (*anchors.weights, *anchors.lookups)
    before = flow.gathered(dict.fromkeys(kernels, 1), through)
    for index, number in anchors.weights.items():
        _give(anchors, [number], roles, "weight")
        operands = [v for v in flow.nodes[index].operands if flow.data[v]]
        if not any(before[value] for value in operands):
            _give(anchors, [number], roles, "input")
    for number in anchors.lookups.values():
        _give(anchors, [number], roles, "embedding")


def _ends_of_the_network(anchors: Anchors, affine: Affine, ends: Ends) -> None:
    """Weights and biases with no other weight between them and an output."""
    _give(anchors, numbers_of(anchors, ends.main), affine.roles, "readout")
    for index in ends.main:
        for leaf in affine.added.get(index, ()):
            if "bias" in affine.roles[leaf]:
                affine.roles[leaf].add("readout_bias")
    beside = numbers_of(anchors, ends.auxiliary)
    _give(anchors, beside, affine.roles, "auxiliary_readout")
