"""``mend``: the best remedy that was tried, as a scheme, with its evidence."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from jaxinit._configuration import measuring
from jaxinit._progress import Bar
from jaxinit.models.arguments import model_arguments
from jaxinit.report.remedy import Remedy
from jaxinit.report.report import Report
from jaxinit.report.text import visible
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.scheme import Assignment, Refine, Scheme, as_scheme
from jaxinit.signal.checks import check_switch
from jaxinit.signal.measure import measure
from jaxinit.signal.prepare import Options, Prepared, prepare
from jaxinit.signal.remedies.as_scheme import speaking
from jaxinit.signal.remedies.by_cause import candidates
from jaxinit.signal.remedies.candidate import Candidate
from jaxinit.signal.remedies.outcome import Tried, ranked, spreads
from jaxinit.signal.remedies.trying import attempt, attempts

# Remedies that are tried at most.
_MOST = 24
# Decades that a curve counts for of which zeros hide the spread: a second moment that
# spreads as far is found faulty.
_UNKNOWN = 2.0
# Schemes that look at the whole network, after all that a cause suggests.
_WHOLE = ("jaxinit.lsuv()", "jaxinit.fixup()")


@dataclass(frozen=True, eq=False, repr=False)
class Mended(Scheme):
    """The best remedy for a model: a scheme for ``initialize``. ``print`` it.

    As a scheme it is :attr:`scheme`; for a model that is healthy as it is, the
    model's own init.

    Attributes:
      remedy: the best remedy; ``None`` if the model is healthy or nothing mends it.
      before: the analysis without it.
      after: the analysis with it, on the same seeds; ``None`` without a remedy.
      remedies: all that were tried or named, the best first.
      scheme: what initializes the model so; ``None`` if the remedy changes no
        initializer.
    """

    remedy: Remedy | None
    before: Report
    after: Report | None
    remedies: tuple[Remedy, ...]
    scheme: Scheme | None = field(default=None)

    @property
    def mends(self) -> bool:
        """Whether the model is healthy with it, or was so before."""
        return self.before.verdict == "ok" or self.remedy is not None

    @property
    def traceable(self) -> bool:
        return self.scheme is None or self.scheme.traceable

    @property
    def reads_data(self) -> bool:
        return self.scheme is not None and self.scheme.reads_data

    @property
    def passes(self) -> int:
        return 1 if self.scheme is None else self.scheme.passes

    def leaves(self, parameter: Parameter) -> str:
        if self.scheme is None:
            return "the model is healthy as it is"
        return self.scheme.leaves(parameter)

    def assign(self, network: Network) -> list[Assignment]:
        if self.scheme is not None:
            return self.scheme.assign(network)
        if self.before.verdict == "ok":
            return []
        raise ValueError(f"no scheme mends {network.traced.name}. {self._story()}")

    def refine(self, network: Network) -> Refine | None:
        return None if self.scheme is None else self.scheme.refine(network)

    def _story(self) -> str:
        if self.before.verdict == "ok":
            return "The model is healthy as it is: nothing to mend."
        if self.remedy is not None:
            return f"What mends it: {self.remedy.printed}"
        tried = sum(remedy.tried for remedy in self.remedies)
        named = [r.printed for r in self.remedies if not r.tried]
        text = f"No initializer mends it: {tried} remedies were tried."
        return f"{text} Use: {named[0]}" if named else text

    def __str__(self) -> str:
        lines = [f"Verdict without: {self.before.verdict}. {self._story()}"]
        if self.after is not None:
            lines.append(f"Verdict with: {self.after.verdict}.")
        for remedy in self.remedies:
            if remedy is not self.remedy:
                lines.append(f"  {remedy.printed}")
        return "\n".join(map(visible, lines))

    def __repr__(self) -> str:
        what = "nothing" if self.remedy is None else self.remedy.line
        return f"<Mended: {self.before.verdict!r} by {what}>"


@measuring
def mend(
    model: Any,
    *args: Any,
    seeds: int | Sequence[int] | None = None,
    key: int | jax.Array = 0,
    scheme: Any = None,
    loss: Callable[[Any], jax.Array] | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    progress: bool | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Mended:
    """Tries remedies for what ``analyze`` finds, and returns the best.

    The model is analyzed; then, if it is not healthy, again with each of up to 24
    changes of its initializers or inputs that its findings suggest, on few seeds. The
    analysis is compiled once for all of them. The best is analyzed on all seeds before
    it is returned.

    Args:
      model: as in ``analyze``.
      *args: the model's inputs, as in ``analyze``.
      seeds: how many seeds, or which ones, as in ``analyze``.
      key: the root key, or an integer that makes one.
      scheme: mends the model as ``initialize`` would initialize it by this scheme.
      loss: where gradients start, as in ``analyze``.
      output: as in ``initialize``: the main output, where there are several.
      roles: as in ``initialize``: roles that the program does not show.
      branches: as in ``initialize``: which sums add residual branches.
      progress: whether to show progress; by default on a terminal.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model whose names are taken here.
      **kwargs: further keyword arguments of the model.

    Returns:
      The remedy with its evidence; itself a scheme, ready for
      ``initialize(model, mended, key, *args)``. If nothing mends the model it says so,
      and raises when used as a scheme.

    Raises:
      TypeError: as ``analyze``.
      ValueError: as ``analyze``.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> first = nn.Dense(64, kernel_init=nn.initializers.ones)
      >>> model = nn.Sequential([first, nn.relu, nn.Dense(5)])
      >>> x = jax.random.normal(jax.random.key(1), (32, 20))
      >>> mended = jaxinit.mend(model, x, seeds=4)
      >>> mended.before.verdict, mended.after.verdict
      ('exploding', 'ok')
      >>> variables = jaxinit.initialize(model, mended, 0, x)
    """
    check_switch("progress", progress, none=True)
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    options = Options(seeds, key, loss, "auto", None, None, None, rngs, hints=hints)
    with Bar(progress) as bar:
        bar.phase("tracing")
        prepared = prepare(model, args, given, options)
        before = measure(prepared, scheme, bar)
        if before.verdict == "ok":
            return Mended(None, before, None, ())
        return _best(prepared, before, scheme, bar)


def _best(prepared: Prepared, before: Report, scheme: Any, bar: Bar) -> Mended:
    """Tries all candidates, and the best of them on all seeds."""
    own = None if scheme is None else "scheme"
    found = [candidate.over(own) for candidate in candidates(before)]
    before = speaking(before)
    if own is None and before.evidence:
        found += [Candidate("", "", (), text) for text in _WHOLE]
    tried: list[Tried] = []
    try:
        tried.extend(attempts(prepared, before, scheme, found, _MOST, bar))
    except KeyboardInterrupt:
        if not tried:
            raise
    mending = [one for one in tried if one.surely_mends]
    # Of those that mend the best keeps the curves flattest: the sum of both spreads.
    mending.sort(key=_spread)
    seeds = [int(seed) for seed in before.seeds]
    for one in mending:
        again = attempt(prepared, before, scheme, one.candidate, bar, seeds)
        if again is not None and again.surely_mends:
            others = [t for t in tried if t is not one]
            remedies = ranked(before, [again, *sorted(others, key=_spread)])
            made = None
            if one.candidate.scheme is not None:
                made = as_scheme(again.scheme)
            return Mended(remedies[0], before, again.report, remedies, made)
    rest = [one for one in tried if one not in mending]
    return Mended(None, before, None, ranked(before, rest))


def _spread(one: Tried) -> float:
    """Decades of both curves; a curve that holds zeros tells nothing, and counts."""
    return sum(_UNKNOWN if math.isnan(d) else d for d in spreads(one.report))
