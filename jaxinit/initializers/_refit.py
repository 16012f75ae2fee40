"""Which initializers can be given fans that their array's shape does not show.

Independent samples of one variance need to know no axes, only the fans; so they can be
drawn in whatever layout the array has, stacked and grouped kernels included.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import jax

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers.fans import Fans

Refit = Callable[[Fans], Initializer]
Init = TypeVar("Init", bound=Initializer)

_known: WeakKeyDictionary[Initializer, Refit | None] = WeakKeyDictionary()
_laws: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()


def refittable(init: Init, refit: Refit | None = None, law: str = "") -> Init:
    """Notes that ``init`` draws independent samples of one law.

    Args:
      init: the initializer.
      refit: gives the initializer for other fans; ``None`` if fans do not matter.
      law: the law in a few words, for people.

    Returns:
      ``init``.
    """
    _known[init] = refit
    if law:
        _laws[init] = law
    return init


def refittable_as(
    base: Initializer,
    wrap: Callable[[Initializer], Initializer],
    init: Init,
    law: str = "{}",
) -> Init:
    """Notes that ``init``, which is ``wrap(base)``, follows the fans if ``base`` does.

    Args:
      base: the initializer inside.
      wrap: makes an initializer like ``init`` around another one.
      init: the initializer.
      law: its law, with ``{}`` for that of ``base``.

    Returns:
      ``init``.
    """
    law = law.format(law_of(base))
    _laws[init] = law
    try:
        inner = _known[base]
    except (KeyError, TypeError):
        return init
    return refittable(init, None if inner is None else lambda f: wrap(inner(f)), law)


def with_fans(init: Initializer, fans: Fans) -> Initializer | None:
    """``init`` for the given fans in any layout; ``None`` if it must see the axes."""
    try:
        refit = _known[init]
    except (KeyError, TypeError):  # TypeError: no weak reference to it, or no hash
        return None
    return init if refit is None else refit(fans)


def shown(number: Scalar) -> str:
    """A number of a law, which may be traced."""
    traced = isinstance(number, jax.core.Tracer)
    return "traced" if traced else f"{float(number):.4g}"


def law_of(init: Callable[..., Any]) -> str:
    """The law of an initializer: in words, or the name of the factory that made it."""
    try:
        known = _laws.get(init)
    except TypeError:  # no weak reference to it, or no hash
        known = None
    if known is not None:
        return known
    name = getattr(init, "__qualname__", None) or type(init).__name__
    return str(name).partition(".<locals>")[0].strip("_")
