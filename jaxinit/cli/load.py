"""What the command line names, out of the user's own modules."""

import importlib
import inspect
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from jaxinit._calls import Call
from jaxinit.cli.arguments import Name, Shape


class Failure(Exception):
    """Something that one line on stderr explains; the exit status is 2."""


def model(name: Name) -> Any:
    """The named model; a function that needs no argument is called for it."""
    found = named(name)
    if not isinstance(found, type | partial) and not inspect.isroutine(found):
        return found
    # A metaclass like nnx's hides what the constructor takes.
    taken = vars(found).get("__init__", found) if isinstance(found, type) else found
    try:
        parameters = dict(inspect.signature(taken).parameters)
    except (TypeError, ValueError):
        return found
    if isinstance(found, type) and parameters:
        del parameters[next(iter(parameters))]  # self
    required = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not isinstance(found, type):
        return found if required or "rngs" in parameters else _call(found, name)
    missing = [field for field in required if field != "rngs"]
    if missing:
        arguments = "=..., ".join(missing) + "=..."
        how = (
            f"make_model = lambda rngs: {name.attribute}({arguments}, rngs=rngs)"
            if "rngs" in parameters
            else f"model = {name.attribute}({arguments})"
        )
        raise Failure(
            f"{name} is a class whose fields {', '.join(missing)} have no default. "
            f"Write into {name.module}: {how}  and name that instead"
        )
    return found if "rngs" in parameters else _call(found, name)


def inputs(spec: Shape | Name) -> tuple[Any, ...]:
    """The inputs that one --input stands for."""
    if isinstance(spec, Shape):
        import jax

        drawn: Any = jax.ShapeDtypeStruct  # whose constructor has no types
        return (drawn(spec.shape, jax.numpy.dtype(spec.dtype)),)
    found = named(spec)
    if inspect.isroutine(found) or isinstance(found, partial):
        found = _call(found, spec)
    return found if type(found) is tuple else (found,)


def scheme(spec: Name | Call) -> Any:
    """The scheme or initializer that a --scheme stands for, None for the model's own.

    Args:
      spec: MODULE:ATTRIBUTE; or the name of one of jaxinit's, with its arguments.

    Returns:
      What ``scheme=`` takes.
    """
    if isinstance(spec, Name):
        return named(spec)
    from jaxinit.schemes.named import made

    try:
        return made(spec)
    except (TypeError, ValueError) as error:
        raise Failure(f"--scheme {spec}: {error}") from error


def optimizer(spec: Name | Call) -> Callable[[float], Any]:
    """A function from a learning rate to the optimizer that --optimizer names."""
    if isinstance(spec, Name):
        found = named(spec)
        if not callable(found):
            raise Failure(
                f"{spec} must be a function from a learning rate, got {found}"
            )
        return found  # type: ignore[no-any-return]
    import optax

    made: Any = getattr(optax, spec.name, None) or getattr(
        optax.contrib, spec.name, None
    )
    first = [*inspect.signature(made).parameters][:1] if callable(made) else []
    if first != ["learning_rate"]:
        raise Failure(
            f"optax has no optimizer {spec.name!r} that takes a learning rate. Write "
            "adam, adamw, sgd, lion, muon or MODULE:FUNCTION"
        )
    try:
        made(1.0, *spec.args, **dict(spec.kwargs))
    except (TypeError, ValueError) as error:
        raise Failure(f"--optimizer {spec}: {error}") from error
    return lambda rate: made(rate, *spec.args, **dict(spec.kwargs))


def activation(spec: Name | Call) -> Callable[[Any], Any]:
    """The function that ACTIVATION names."""
    if isinstance(spec, Name):
        found = named(spec)
    else:
        import jax

        found = getattr(jax.nn, spec.name, None) or getattr(jax.numpy, spec.name, None)
    if not callable(found) or isinstance(found, type):
        raise Failure(
            f"{spec} is no activation: write a name of jax.nn's or jax.numpy's, like "
            "tanh, relu, gelu, or MODULE:FUNCTION"
        )
    function: Callable[..., Any] = found
    if isinstance(spec, Name):
        return function
    return lambda x: function(x, *spec.args, **dict(spec.kwargs))


def data(spec: Name | str) -> Any:
    """What --data names."""
    if isinstance(spec, Name):
        found = named(spec)
        if inspect.isroutine(found) and not inspect.signature(found).parameters:
            return _call(found, spec)
        return found
    if spec == "digits":
        return spec
    from jaxinit.train.datasets import text_bytes

    try:
        return text_bytes(spec.partition(":")[2])
    except (OSError, ValueError) as error:
        raise Failure(f"--data {spec}: {error}") from error


def value(given: Any) -> Any:
    """A keyword argument's value."""
    return named(given) if isinstance(given, Name) else given


def named(name: Name) -> Any:
    """What a module of the user's holds under that name."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(name.module)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name.module}.".startswith(f"{error.name}."):
            raise Failure(
                f"there is no module {error.name!r} in {os.getcwd()} nor installed. "
                "Write MODULE as in an import: package.module"
            ) from error
        raise Failure(f"importing {name.module} failed: {story(error)}") from error
    except BaseException as error:  # the user's code may raise anything, or exit
        raise Failure(f"importing {name.module} failed: {story(error)}") from error
    for part in name.attribute.split("."):
        if not hasattr(found, part):
            known = [
                n
                for n, held in vars(found).items()
                if not n.startswith("_") and not inspect.ismodule(held)
            ]
            raise Failure(
                f"{name.module} has no attribute {name.attribute!r}. It has "
                f"{', '.join(known[:12]) or 'none'}"
                f"{', ...' if len(known) > 12 else ''}"
            )
        found = getattr(found, part)
    return found


def story(error: BaseException) -> str:
    """What was raised and where, for whoever wrote the code."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(pathlib.Path(__file__).parent.parent)
    others = [f for f in frames if not f.filename.startswith((here, "<"))]
    # Their last line tells more than the library's that it led to.
    theirs = [f for f in others if "site-packages" not in f.filename] or others
    notes = [n for n in getattr(error, "__notes__", []) if _FILTERED not in n]
    text = "\n".join([f"{type(error).__name__}: {error}", *notes])
    if not theirs:
        return text
    return f"{text}\n  (raised at {theirs[-1].filename}:{theirs[-1].lineno})"


_FILTERED = "JAX has removed its internal frames"
"""In the note with which jax tells how its tracebacks can be had in full."""


def _call(function: Any, name: Name) -> Any:
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may raise anything, or exit
        raise Failure(f"calling {name}() failed: {story(error)}") from error
