"""Schemes and initializers by their names, wherever a scheme is taken."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxinit._calls import Call, parse_call
from jaxinit._typing import Initializer

OWN = "own"
"""The name of what the model does by itself."""


def by_name(text: str) -> Any:
    """The scheme or initializer that ``"he_normal"`` or ``"gpt2(0.01)"`` names.

    Args:
      text: a name, with literal arguments in parentheses where some are needed or
        wanted; ``"own"`` for the model's own init.

    Returns:
      What ``scheme=`` takes: a scheme, an initializer, or ``None`` for ``"own"``.

    Raises:
      TypeError: if the arguments do not suit it.
      ValueError: if it names none, or the arguments are out of range.

    Examples:
      >>> by_name("orthogonal(1.4)")
      orthogonal(1.4): 1.4 * orthogonal
      >>> by_name("he_norm")
      Traceback (most recent call last):
        ...
      ValueError: `scheme` names no scheme or initializer 'he_norm'. ...
    """
    call = parse_call(text)
    if call is None:
        raise ValueError(
            f"`scheme` must be a name such as 'gpt2', 'orthogonal(1.4)', or 'own' for "
            f"the model's own initialization, got {text!r:.80}."
        )
    return made(call)


def resolved(scheme: Any) -> Any:
    """What ``scheme=`` takes, by its name or as it is; ``None`` for the model's own."""
    return by_name(scheme) if isinstance(scheme, str) else scheme


def named_schemes(schemes: Any) -> dict[str, Any]:
    """Schemes by name: a mapping as it is, or names that stand for themselves.

    Args:
      schemes: ``{"he": jaxinit.he_normal()}``, values as in ``resolved``; or
        ``["own", "he_normal"]``.

    Returns:
      The mapping; values that are names stay names, so that a wrong one is told where
      it is used.

    Raises:
      TypeError: if it is neither.
      ValueError: if it is empty, or a name is there twice.
    """
    names = [] if isinstance(schemes, str | Mapping) else _listed(schemes)
    if isinstance(schemes, Mapping):
        names = list(schemes)
    if names is None or isinstance(schemes, str) or not all(map(_is_text, names)):
        raise TypeError(
            "`schemes` must map names to schemes, as in {'he': jaxinit.he_normal()}, "
            f"or list names, as in ['own', 'he_normal'], got {schemes!r:.200}."
        )
    if not names:
        raise ValueError("`schemes` must hold at least one scheme, got none.")
    if len(set(names)) < len(names):
        raise ValueError(f"`schemes` must name each scheme once, got {names}.")
    return dict(schemes) if isinstance(schemes, Mapping) else {n: n for n in names}


def _listed(schemes: Any) -> list[Any] | None:
    return list(schemes) if isinstance(schemes, list | tuple) else None


def _is_text(name: Any) -> bool:
    return isinstance(name, str) and bool(name)


def made(call: Call) -> Any:
    """The scheme or initializer of a call; the errors are those of ``by_name``."""
    if call.name == OWN and not call.args and not call.kwargs:
        return None
    known = _known()
    if call.name not in known:
        begun = [name for name in known if name.startswith(f"{call.name}_")]
        close = [*begun, *difflib.get_close_matches(call.name, known, 3)][:3]
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"`scheme` names no scheme or initializer {call.name!r}. `jaxinit list` "
            f"shows them; 'own' is the model's own.{hint}"
        )
    found = known[call.name]
    if not _makes(found) and not call.args and not call.kwargs:
        return found  # zeros, ones: no factory, the initializer itself
    try:
        return found(*call.args, **dict(call.kwargs))
    except TypeError as error:
        signature = inspect.signature(found).replace(
            return_annotation=inspect.Signature.empty
        )
        raise TypeError(
            f"`scheme` {call}: {error}. It is called {call.name}{_bare(signature)}; "
            "what is no number or text has to be passed as a scheme, not by name."
        ) from error


def _known() -> dict[str, Callable[..., Any]]:
    """All that names a scheme or initializer, in the order of the two rooms."""
    from jaxinit import initializers, schemes

    rooms = (schemes, initializers)
    named = ((n, getattr(room, n)) for room in rooms for n in room.__all__)
    return {
        name: found
        for name, found in named
        if callable(found) and not isinstance(found, type) and _is_law(found)
    }


def _is_law(found: Callable[..., Any]) -> bool:
    return _makes(found) or [*inspect.signature(found).parameters][:2] == [
        "key",
        "shape",
    ]


def _makes(found: Callable[..., Any]) -> bool:
    """Whether it makes a scheme or an initializer, by what it says it returns."""
    from jaxinit.schemes.scheme import Scheme

    kind = inspect.signature(found).return_annotation
    return kind is Initializer or (isinstance(kind, type) and issubclass(kind, Scheme))


def _bare(signature: inspect.Signature) -> str:
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters))
