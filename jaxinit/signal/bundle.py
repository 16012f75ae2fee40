"""What is measured, and how the records of one seed are bundled for the compiler.

Records of like things are one array: those of a block that repeats come from its loop
so, and those of like parameters are taken by one operation. Hundreds of small results
would cost the compiler more than the model; on the host they are taken apart.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinit._caches import Cache, Same
from jaxinit.layers.find import Sites
from jaxinit.layers.taps import plan_taps
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.find_repeats import find_repeats
from jaxinit.program.plan import Plan, Tap
from jaxinit.program.repeats import Repeat

Array = jax.Array
Loss = Callable[[Any], Array]


class Raw(NamedTuple):
    """What one seed returns: records as in ``records``, all of them small.

    Attributes:
      forward: for each event, its output's record; leading axes are the loops'.
      dead: for each event with an activation, the record behind it.
      backward: for each event, the record of the gradient at its output, and at
        the model's outputs under the numbers -1, -2, ...; empty without gradients.
      weights: for each parameter leaf, its record, split along scanned axes.
      gradients: likewise of its gradient; ``None`` where there is none.
      loss: the loss; zero in probe mode.
    """

    forward: dict[int, Array]
    dead: dict[int, Array]
    backward: dict[int, Array]
    weights: list[Array]
    gradients: list[Array | None]
    loss: Any


class Analysis(NamedTuple):
    """How a model is to be analyzed.

    Attributes:
      traced: the model.
      sites: its layers.
      batch: number of samples in the input, 0 if unknown.
      loss: the user's loss of the output, or ``None`` for a random probe.
      backward: whether gradients are taken.
      rolled: whether blocks that repeat are run as loops, which compile faster.
    """

    traced: Traced
    sites: Sites
    batch: int
    loss: Loss | None
    backward: bool
    rolled: bool = False


class Bundled(NamedTuple):
    """The records of one seed, like ones together.

    Attributes:
      records: by tap, those at events; and, in the order of the repeats' columns, those
        of all times.
      backward: likewise, of gradients at outputs, by number.
      weights: for each group of like parameters.
      gradients: likewise; ``None`` without gradients.
    """

    records: tuple[dict[Tap, Array], list[Array]]
    backward: tuple[dict[int, Array], list[Array]]
    weights: list[Array]
    gradients: list[Array] | None


class Bundle:
    """How the records of an analysis are bundled: which are alike."""

    def __init__(self, analysis: Analysis) -> None:
        sites, traced = analysis.sites, analysis.traced
        plan = plan_taps(sites.numbers, sites.events)
        repeats = find_rolled(analysis, plan)
        self.columns = [column for repeat in repeats for column in plan.columns(repeat)]
        differentiable = {
            number
            for number, event in zip(sites.numbers, sites.events, strict=True)
            if all(loop.kind != "while" for loop in event.loops)
        }
        self._numbers = [
            tuple(tap.number for tap in column)
            for column in self.columns
            if column[0].point == "output" and column[0].number in differentiable
        ]
        self._splits = [sites.scanned.get(i, ()) for i in range(len(traced.params))]
        groups: dict[Any, list[int]] = {}
        for leaf in _stacks_first(traced, repeats):
            aval = traced.apply.jaxpr.invars[leaf].aval
            alike = analysis.rolled or aval.size <= _SMALL
            like = (str(aval), self._splits[leaf]) if alike else leaf
            groups.setdefault(like, []).append(leaf)
        self._groups = list(groups.values())

    def probes(self, probes: dict[int, Array]) -> Any:
        """Probes for all events, those of a repeat's times together."""
        bundled = {number for numbers in self._numbers for number in numbers}
        alone = {n: probe for n, probe in probes.items() if n not in bundled}
        stacks = [
            jnp.stack([jnp.zeros_like(probes[number]) for number in numbers])
            for numbers in self._numbers
            if numbers[0] in probes
        ]
        return alone, stacks

    def open_probes(self, bundled: Any) -> dict[Any, Array]:
        """What ``replay`` takes."""
        alone, stacks = bundled
        return {**alone, **dict(zip(self._numbers, stacks, strict=bool(stacks)))}

    def records(self, found: dict[Any, Array]) -> tuple[dict[Tap, Array], list[Array]]:
        """What ``replay`` gives."""
        alone = {tap: r for tap, r in found.items() if isinstance(tap, Tap)}
        return alone, [found[column] for column in self.columns]

    def sizes(
        self, values: Sequence[Array], size: Callable[[Array, tuple[int, ...]], Array]
    ) -> list[Array]:
        """The records of parameters or of their gradients, group by group."""
        found = []
        for group in self._groups:
            split = self._splits[group[0]]
            if len(group) == 1:
                found.append(size(values[group[0]], split)[None])
            else:
                stack = jnp.stack([values[leaf] for leaf in group])
                found.append(jax.vmap(lambda x, split=split: size(x, split))(stack))
        return found

    def taken_apart(self, bundled: Bundled, loss: Any) -> Raw:
        """All records by what they are of; each has an axis over seeds in front."""
        alone, stacks = bundled.records
        records = dict(alone)
        for column, stack in zip(self.columns, stacks, strict=True):
            records.update({tap: stack[:, time] for time, tap in enumerate(column)})
        backward, gradient_stacks = dict(bundled.backward[0]), bundled.backward[1]
        if gradient_stacks:
            for numbers, stack in zip(self._numbers, gradient_stacks, strict=True):
                backward.update({n: stack[:, time] for time, n in enumerate(numbers)})
        return Raw(
            {t.number: r for t, r in records.items() if t.point == "output"},
            {t.number: r for t, r in records.items() if t.point == "activation"},
            backward,
            self._ungrouped(bundled.weights),
            self._ungrouped(bundled.gradients),
            loss,
        )

    def _ungrouped(self, stacks: Sequence[Array] | None) -> list[Any]:
        found: list[Any] = [None] * len(self._splits)
        for group, stack in zip(self._groups, stacks or (), strict=bool(stacks)):
            for place, leaf in enumerate(group):
                found[leaf] = stack[:, place]
        return found


# To copy so many elements costs less than a compiler takes for one more record: tens of
# microseconds a seed beside ten milliseconds.
_SMALL = 2**14


def _stacks_first(traced: Traced, repeats: Sequence[Repeat]) -> list[int]:
    """The numbers of all parameters; those that a repeat stacks follow one another.

    A compiler sees then that parts of a stack, put together again, are that stack.
    """
    leaves = dict(zip(traced.forward.inputs, range(len(traced.params)), strict=False))
    stacks = [column for repeat in repeats for column in repeat.stacked]
    stacked = [leaves[v] for column in stacks for v in column if v in leaves]
    return list(dict.fromkeys([*stacked, *leaves.values()]))


def find_rolled(analysis: Analysis, plan: Plan) -> list[Repeat]:
    """The blocks of the model that repeat, with like layers in like places."""
    if not analysis.rolled:
        return []
    name = (analysis.traced, Same(analysis.sites), jax.default_backend())
    return _found.get(name, lambda: _search(analysis, plan))


_found: Cache[list[Repeat]] = Cache(16)


def _search(analysis: Analysis, plan: Plan) -> list[Repeat]:
    sites = analysis.sites
    kinds = {
        number: (
            *(event.shape, event.dtype, event.channels),
            tuple((loop.kind, loop.length) for loop in event.loops),
        )
        for number, event in zip(sites.numbers, sites.events, strict=True)
    }
    return find_repeats(
        analysis.traced.forward,
        lambda node: plan.mark(node.at.equation, kinds.__getitem__),
        may_loop,
    )


def may_loop(equation: versions.Equation) -> bool:
    """Whether an equation may run in a loop: on CPU convolutions are slow there."""
    if equation.effects:
        return False
    if jax.default_backend() != "cpu":
        return True
    return "conv_general_dilated" not in versions.primitive_names(equation)


# On two CPU cores: what an equation of the model costs the compiler, its gradient and
# records included (a GPT's 0.013 s, an MLP's 0.035); and bytes of weights by the second
# of run time that a loop adds, for stacks of them and values computed anew (1.1e9 in a
# GPT, 3e9 in an MLP). See benchmarks/results/rolled.txt.
_SECONDS_PER_EQUATION = 0.01
_BYTES_PER_SECOND = 1e9


def should_roll(analysis: Analysis, seeds: int) -> bool:
    """Whether rolling saves the compiler more than it costs the seeds.

    Args:
      analysis: what would be measured.
      seeds: how many seeds will run.
    """
    sites = analysis.sites
    rolled = analysis._replace(rolled=True)
    repeats = find_rolled(rolled, plan_taps(sites.numbers, sites.events))
    saved = sum(
        (repeat.times - 1) * sum(versions.size(node.equation) for node in repeat.block)
        for repeat in repeats
    )
    params = analysis.traced.apply.jaxpr.invars[: len(analysis.traced.params)]
    size = sum(v.aval.size * v.aval.dtype.itemsize for v in params)
    copying = seeds * size / _BYTES_PER_SECOND
    return saved > 0 and saved * _SECONDS_PER_EQUATION > copying
