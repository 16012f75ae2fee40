"""A network's residual branches, as schemes and users see them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxinit._configuration import measuring
from jaxinit._warnings import warn
from jaxinit.layers.event import Event
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import Branch, as_hints
from jaxinit.schemes.initialize import prepare

_PARTS = frozenset({"query", "key", "value"})


class ResidualBranch(NamedTuple):
    """One residual branch, or one in each layer of a scan.

    Attributes:
      numbers: its positions among the network's branches in the order of execution;
        several if it is scanned over.
      weights: the paths of its kernels in the order of data.
      ends: those that it ends with: with these zero, the branch is zero.
      num_weights: how many kernels act one after the other; a fused projection of
        queries, keys and values counts three times. Fixup's :math:`m`.
      end_norms: the scales of the normalizations behind its ends.
      end_gains: other parameters that multiply what its ends give.
      stream: which residual stream it is added to; encoder and decoder have their own.
    """

    numbers: tuple[int, ...]
    weights: tuple[str, ...]
    ends: tuple[str, ...]
    num_weights: int
    end_norms: tuple[str, ...]
    end_gains: tuple[str, ...]
    stream: int


@dataclass(frozen=True)
class ResidualStructure:
    """A network's residual branches. ``print`` it.

    Attributes:
      model: the model's name.
      num_branches: how many there are, each layer of a scan counted. Fixup's
        :math:`L`.
      branches: the branches.
      unclear: sums of two paths, both with weights and a nonlinearity, of which the
        program does not tell whether one is a branch: the weights that these paths
        end with.
    """

    model: str
    num_branches: int
    branches: tuple[ResidualBranch, ...]
    unclear: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.num_branches} residual branches"]
        for branch in self.branches:
            numbers = ", ".join(map(str, branch.numbers))
            weights = ", ".join(branch.weights)
            lines.append(f"  {numbers}: {branch.num_weights} weights, {weights}")
        lines += [f"  not clear: {_sum_of(ends)}" for ends in self.unclear]
        return "\n".join(lines)


@measuring
def residual_structure(
    model: Any,
    *args: Any,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> ResidualStructure:
    """Finds a model's residual branches in its program.

    Args:
      model: as in ``initialize``.
      *args: the model's inputs; shapes will do.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      The branches that ``fixup``, ``rezero`` and the like see.

    Raises:
      TypeError: if ``model`` is no model.
      ValueError: if the model has no parameters.

    Examples:
      >>> import jax
      >>> from flax import linen as nn
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         x = x + nn.Dense(8)(nn.relu(nn.Dense(32)(x)))
      ...         return nn.Dense(2)(x)
      >>> print(residual_structure(Net(), jax.ShapeDtypeStruct((4, 8), "float32")))
      Net: 1 residual branches
        0: 2 weights, Dense_1/kernel, Dense_0/kernel
    """
    kwargs = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, kwargs, rngs, hints=hints)
    found = tuple(
        ResidualBranch(
            numbers=tuple(branch.numbers.ravel().tolist()),
            weights=_names(kernels(network, branch.layers)),
            ends=_names(kernels(network, branch.ends)),
            num_weights=max(num_weights(network, branch).values(), default=0),
            end_norms=_names(behind_ends(network, branch, is_norm_scale)[0]),
            end_gains=_names(behind_ends(network, branch, is_gain)[0]),
            stream=branch.stream,
        )
        for branch in network.structure.branches
    )
    return ResidualStructure(
        network.traced.name,
        network.structure.num_branches,
        found,
        tuple(
            (_names(kernels(network, first)), _names(kernels(network, second)))
            for _, (first, second) in network.structure.unclear
        ),
    )


def residual_branches(network: Network, name: str) -> tuple[Branch, ...]:
    """The network's branches, for the scheme ``name``.

    Warns:
      UserWarning: for a sum of which the program does not tell whether it adds one.

    Raises:
      ValueError: if it has none.
    """
    for _, sides in network.structure.unclear:
        ends = tuple(_names(kernels(network, side)) for side in sides)
        last = next((names[-1] for names in ends if names), "a/kernel")
        warn(
            f"{name}() takes {_sum_of(ends)} in {network.traced.name} for no residual "
            "branch: both paths have weights and a nonlinearity. Say which it is with "
            f"branches={{{last!r}: True}} (this path is a branch) or False (neither "
            "is).",
        )
    if not network.structure.branches:
        raise ValueError(
            f"{name}() is for networks with residual branches, and no sum in "
            f"{network.traced.name} adds a branch with weights to what it skips. Look "
            "at residual_structure(model, *args)."
        )
    return network.structure.branches


def warn_of_norms(network: Network, call: str) -> None:
    """Warns of norms in or between branches, for a scheme whose laws presume none."""
    numbers: dict[int, None] = {}
    for branch in network.structure.branches:
        numbers |= dict.fromkeys([*branch.norms, *network.event(branch.join).skip])
    names = [
        network.params[leaf].name
        for number in numbers
        for leaf in network.event(number).params
        if is_norm_scale(network.params[leaf])
    ]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warn(
            f"{call} is for residual networks without normalization, and "
            f"{network.traced.name} normalizes in its blocks: {', '.join(names[:3])}"
            f"{more}. Norms rescale what its factors balance; take them out of the "
            "model, or choose a scheme for networks that have them, such as gpt2() or "
            "zero_gamma().",
        )


def kernels(network: Network, numbers: Iterable[int]) -> list[Parameter]:
    """The weights of events, tables apart."""
    found = {
        use.leaf: network.params[use.leaf]
        for number in numbers
        for use in network.event(number).uses
    }
    return [p for p in found.values() if "embedding" not in p.roles]


def num_weights(network: Network, branch: Branch) -> dict[int, int]:
    """For each weight layer, how many act one after the other on its way to an end.

    Paths that a branch adds up, such as attention and an MLP side by side, are counted
    apart.
    """
    counts: dict[int, int] = {}
    for end in branch.ends:
        path = (upstream(network, end) | {end}) & set(branch.layers)
        total = sum(_count(network, branch, network.event(n)) for n in path)
        for number in path:
            counts[number] = max(counts.get(number, 0), total)
    # A path around all ends, as that of a gate, counts with the longest of them.
    longest = max(counts.values(), default=1)
    return {number: counts.get(number, longest) for number in branch.layers}


def behind_ends(
    network: Network, branch: Branch, wanted: Callable[[Parameter], bool]
) -> tuple[list[Parameter], list[Parameter]]:
    """The last wanted parameters between a branch's ends and its sum.

    Returns:
      These parameters, and the weights of those ends that have none behind them.
    """
    events = dict.fromkeys((*branch.norms, *branch.gains, *branch.layers))
    before = {number: upstream(network, number) for number in events}
    ends = set(branch.ends)
    found = [
        number
        for number in events
        if (before[number] | {number}) & ends
        and any(wanted(network.params[leaf]) for leaf in network.event(number).params)
    ]
    last = [n for n in found if not any(n in before[other] for other in found)]
    leaves = dict.fromkeys(
        leaf
        for number in last
        for leaf in network.event(number).params
        if wanted(network.params[leaf])
    )
    covered = {n for number in last for n in (*before[number], number)}
    bare = [number for number in branch.ends if number not in covered]
    return [network.params[leaf] for leaf in leaves], kernels(network, bare)


def readouts(network: Network) -> frozenset[int]:
    """The leaves that are readouts and lie behind all residual branches.

    In a network that ends with a sum, the ends of branches are no readouts.
    """
    before, todo = set[int](), [b.join for b in network.structure.branches]
    while todo:
        number = todo.pop()
        if number not in before:
            before.add(number)
            todo += network.event(number).parents
    inner = {use.leaf for number in before for use in network.event(number).uses}
    return frozenset(
        p.leaf for p in network.params if "readout" in p.roles and p.leaf not in inner
    )


def upstream(network: Network, number: int) -> frozenset[int]:
    """The events before one within the same pass through the loops around it."""
    seen, todo = set[int](), [number]
    while todo:
        event = network.event(todo.pop())
        new = {
            parent
            for parent in event.parents
            if network.event(parent).order < event.order
        } - seen
        seen |= new
        todo += new
    return frozenset(seen)


def is_norm_scale(parameter: Parameter) -> bool:
    return "norm_scale" in parameter.roles


def is_gain(parameter: Parameter) -> bool:
    return "gain" in parameter.roles


def is_scalar(parameter: Parameter) -> bool:
    """Whether it is one number, or one for each stacked layer."""
    return math.prod(parameter.shape) == math.prod(parameter.layers)


def described(weights: Iterable[Parameter]) -> str:
    """Names a branch, in a message, by the weights that it ends with."""
    return " and ".join(dict.fromkeys(p.name for p in weights)) or "no weight"


def _sum_of(ends: Sequence[Sequence[str]]) -> str:
    first, second = (", ".join(names) or "no weight" for names in ends)
    return f"the sum of ({first}) and ({second})"


def _names(params: Iterable[Parameter]) -> tuple[str, ...]:
    return tuple(p.name for p in params)


def _count(network: Network, branch: Branch, event: Event) -> int:
    """How many weights an event stands for, within one pass through the branch."""
    parts = len(
        {role for use in event.uses for role in network.params[use.leaf].roles & _PARTS}
    )
    inner = [
        loop.length
        for loop in event.loops
        if loop.kind == "layers" and loop not in branch.loops
    ]
    return max(parts, 1) * math.prod(inner)
