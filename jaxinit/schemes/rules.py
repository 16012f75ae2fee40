"""Rules: which parameters get which initializer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax

from jaxinit import _patterns
from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_initializer, shown
from jaxinit.initializers._value import law_of
from jaxinit.roles.network import Network, Parameter, check_role
from jaxinit.schemes.scheme import Assignment, Refine, Scheme, as_scheme, drawn

Array = jax.Array


@dataclass(frozen=True)
class Where:
    """A choice of parameters. Combine two with ``&`` and ``|``, negate with ``~``.

    Attributes:
      test: whether a parameter is chosen.
      text: the choice in words.
    """

    test: Callable[[Parameter], bool]
    text: str

    def __and__(self, other: "Where") -> "Where":
        return Where(
            lambda p: self.test(p) and other.test(p), f"{self.text} & {other.text}"
        )

    def __or__(self, other: "Where") -> "Where":
        return Where(
            lambda p: self.test(p) or other.test(p), f"({self.text} | {other.text})"
        )

    def __invert__(self) -> "Where":
        return Where(lambda p: not self.test(p), f"~({self.text})")


def role(name: str) -> Where:
    """The parameters that do a certain thing, as read off the model's program.

    Args:
      name: one of ``jaxinit.ROLES``: ``"weight"``, ``"bias"``, ``"embedding"``,
        ``"norm_scale"``, ``"branch_end"``, ``"query"``, ``"readout"``, ...

    Returns:
      A choice for ``rules``.

    Raises:
      ValueError: if there is no such role.

    Examples:
      >>> role("query") | role("key")
      Where(test=..., text="(role('query') | role('key'))")
    """
    check_role(name)
    return Where(lambda p: name in p.roles, f"role({name!r})")


def path(pattern: str) -> Where:
    """The parameters whose path matches a pattern.

    Args:
      pattern: a path such as ``"encoder/*/kernel"``. ``*`` stands for anything within
        one part of the path, ``**`` for any number of parts, ``?`` for one character.

    Returns:
      A choice for ``rules``.

    Examples:
      >>> path("**/kernel").text
      '**/kernel'
    """
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(
            f"`pattern` must be a path such as 'block_*/fc/kernel', got {pattern!r}."
        )
    regex = _patterns.compiled(pattern)
    return Where(lambda p: regex.fullmatch(p.name) is not None, pattern)


@dataclass(frozen=True)
class _AsStored:
    init: Initializer


@dataclass(frozen=True)
class _Changed:
    change: Callable[[Array], Any]


def as_stored(init: Initializer) -> Any:
    """Has a rule call ``init`` with the parameter's stored shape, fans or not.

    Args:
      init: an initializer that knows the layout, such as ``blocked(...)``.

    Returns:
      What a rule takes in place of an initializer.

    Raises:
      TypeError: if ``init`` is no initializer.
    """
    check_initializer("init", init)
    return _AsStored(init)


def changed(change: Callable[[Array], Any]) -> Any:
    """Has a rule change the values that the model's own init draws.

    Args:
      change: takes the values, returns new ones of the same shape.

    Returns:
      What a rule takes in place of an initializer.

    Raises:
      TypeError: if ``change`` is no function.

    Examples:
      >>> halved = changed(lambda old: 0.5 * old)
    """
    if not callable(change):
        raise TypeError(
            "`change` must be a function of the values that the model's own init "
            f"draws, got {shown(change)}. Write changed(lambda old: 0.5 * old)."
        )
    return _Changed(change)


Rule: TypeAlias = tuple[Any, Any]
"""Where (a path pattern, a ``Where`` or a predicate), and what: an initializer, or
``as_stored`` or ``changed`` around something."""


@dataclass(frozen=True)
class _Rules(Scheme):
    """An ordered list of rules; a parameter is taken by the first that matches it."""

    given: tuple[tuple[Where, Any], ...]

    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "no rule names it"

    def assign(self, network: Network) -> list[Assignment]:
        takers: dict[int, int] = {}
        assignments = []
        for number, (where, what) in enumerate(self.given, 1):
            found = [p for p in network.free if where.test(p)]
            if not found:
                raise ValueError(_no_match(where, network))
            new = [p for p in found if p.leaf not in takers]
            if not new:
                earlier = sorted({takers[p.leaf] for p in found})
                raise ValueError(
                    f"rule {number} ({where.text}) comes too late: every parameter "
                    f"that it matches was taken by rule "
                    f"{', '.join(map(str, earlier))}. Put it first, or drop it."
                )
            for parameter in new:
                takers[parameter.leaf] = number
                assignments.append(_assignment(parameter, what, where.text))
        return assignments


@dataclass(frozen=True)
class _Overridden(Scheme):
    """A scheme for the parameters that rules of the user's leave."""

    base: Scheme
    rules: _Rules

    @property
    def traceable(self) -> bool:
        return self.base.traceable

    @property
    def reads_data(self) -> bool:
        return self.base.reads_data

    @property
    def passes(self) -> int:
        return self.base.passes

    def leaves(self, parameter: Parameter) -> str:
        return self.base.leaves(parameter)

    def assign(self, network: Network) -> list[Assignment]:
        mine = self.rules.assign(network)
        rest = network.without(frozenset(a.leaf for a in mine))
        return [*mine, *self.base.assign(rest)]

    def refine(self, network: Network) -> Refine | None:
        mine = frozenset(a.leaf for a in self.rules.assign(network))
        return self.base.refine(network.without(mine))


def rules(given: Sequence[Rule]) -> Scheme:
    """A scheme of rules; of those that match a parameter, the first takes it.

    Parameters that no rule matches keep the values that the model's own init draws;
    ``explain`` lists them.

    Args:
      given: pairs of where and what. Where is a path pattern (see ``path``),
        ``role(name)``, a combination of these, or a predicate of a ``Parameter``.
        What is an initializer (weights get their real fans), ``as_stored(init)`` or
        ``changed(function)``.

    Returns:
      A scheme.

    Raises:
      TypeError: if a rule is no pair, or where or what is of no known kind.
      ValueError: when used, if a rule matches nothing, or nothing that earlier rules
        left.

    Examples:
      >>> from jaxinit import he_normal, normal, zeros
      >>> scheme = rules([
      ...     (role("readout"), zeros),
      ...     ("**/embedding", normal(0.02)),
      ...     (role("weight"), he_normal()),
      ... ])
    """
    return _checked(given)


def override(scheme: Any, given: Sequence[Rule]) -> Scheme:
    """A scheme in which rules of yours come first.

    For parameters whose role a model's program does not tell, and for exceptions.

    Args:
      scheme: a scheme, or an initializer for every weight.
      given: rules as in ``rules``.

    Returns:
      A scheme that gives the rest of the parameters to ``scheme``.

    Raises:
      TypeError: as ``rules``.
    """
    return _Overridden(as_scheme(scheme), _checked(given))


def _checked(given: Sequence[Rule]) -> _Rules:
    found = []
    for number, rule in enumerate(given, 1):
        if not isinstance(rule, tuple | list) or len(rule) != 2:
            raise TypeError(
                f"rule {number} must be a pair (where, what), got {rule!r}. Write, for "
                "example, (role('weight'), jaxinit.he_normal())."
            )
        where, what = rule
        if not isinstance(what, _AsStored | _Changed) and (
            isinstance(what, type) or not callable(what)
        ):
            raise TypeError(
                f"rule {number} must give an initializer, as_stored(initializer) or "
                f"changed(function), got {what!r}."
            )
        if getattr(what, "makes_initializers", False):
            name = getattr(what, "__name__", "he_normal")
            raise TypeError(
                f"rule {number} must give an initializer, got the factory {name}. Call "
                f"it: {name}()."
            )
        found.append((_where(where, number), what))
    if not found:
        raise ValueError("`given` must hold at least one rule, got none.")
    return _Rules(tuple(found))


def _where(where: Any, number: int) -> Where:
    if isinstance(where, Where):
        return where
    if isinstance(where, str):
        return path(where)
    if callable(where):
        return Where(where, getattr(where, "__name__", "predicate"))
    raise TypeError(
        f"rule {number} must begin with a path pattern, role(name) or a predicate of a "
        f"Parameter, got {where!r}."
    )


def _assignment(parameter: Parameter, what: Any, rule: str) -> Assignment:
    if isinstance(what, _AsStored):
        return Assignment(parameter.leaf, what.init, rule, law_of(what.init))
    if isinstance(what, _Changed):
        law = f"changed by {law_of(what.change)}"
        return Assignment(parameter.leaf, None, rule, law, what.change)
    return drawn(parameter, what, rule)


def _no_match(where: Where, network: Network) -> str:
    names = [p.name for p in network.free]
    roles = sorted({r for p in network.free for r in p.roles})
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return (
        f"no parameter of {network.traced.name} matches {where.text}. Its parameters "
        f"are {shown}; their roles are {', '.join(roles)}. "
        "Mend the rule, or drop it."
    )
