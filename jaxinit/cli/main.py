"""``jaxinit analyze``: a report on a model, from a shell.

Nothing heavy is imported before the command line is known to be right, and of the
user's code nothing but the modules that it names.
"""

import argparse
import importlib
import importlib.util
import inspect
import os
import pathlib
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jaxinit.cli.arguments import (
    Name,
    Shape,
    parse_file,
    parse_input,
    parse_kwarg,
    parse_name,
    parse_plot_file,
    parse_seeds,
)

if TYPE_CHECKING:
    from jaxinit.report.report import Report

HEALTHY, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
exit status: 0 if the model is healthy, 1 if there are findings, 2 if the command
line, an import or the model itself is at fault.

examples:
  jaxinit analyze examples.resnet:model --input 32,32,32,3 --kwarg train=True
  jaxinit analyze my.gpt:model --input 8,128:int32 --seeds 64 --plot gpt.png
  jaxinit analyze my.gpt:make_model --input my.data:first_batch --json gpt.json
"""


class _Failure(Exception):
    """Something that one line on stderr explains; the exit status is 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: its words, without the program's name; by default those of this process.

    Returns:
      The exit status: 0 healthy, 1 findings, 2 usage, 130 interrupted.
    """
    options = _parser().parse_args(argv)
    try:
        return _analyze(options)
    except _Failure as failure:
        _say(f"jaxinit: error: {failure}")
        return USAGE
    except KeyboardInterrupt:
        _say("jaxinit: interrupted before the first seed was done")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxinit",
        description="Measure how a JAX model behaves at initialization.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="measure a model over many seeds; print a table and a verdict",
        description="Measure a model over many seeds; print a table and a verdict.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyze.add_argument(
        "model",
        type=parse_name,
        metavar="MODULE:ATTRIBUTE",
        help="a linen module, an nnx module or its class, a function of rngs that "
        "makes one, a jaxinit.Functional, or a function without arguments that "
        "returns one of these",
    )
    analyze.add_argument(
        "--input",
        type=parse_input,
        action="append",
        default=[],
        metavar="SPEC",
        help="the model's next input: SHAPE[:DTYPE], like 32,32,32,3 or 8,128:int32, "
        "to be drawn at random; or MODULE:ATTRIBUTE, an array, a tuple of arrays or "
        "a function that returns them",
    )
    analyze.add_argument(
        "--kwarg",
        type=parse_kwarg,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword argument of the model: VALUE is a Python literal "
        "(train=True) or MODULE:ATTRIBUTE",
    )
    analyze.add_argument(
        "--seeds",
        type=parse_seeds,
        metavar="N",
        help="the number of random initializations; by default 8 to 64, as many as "
        "the model's depth and width call for",
    )
    analyze.add_argument(
        "--json", type=parse_file, metavar="FILE", help="write all numbers as JSON"
    )
    analyze.add_argument(
        "--plot", type=parse_plot_file, metavar="FILE", help="draw a .png, .svg or .pdf"
    )
    analyze.add_argument(
        "--all", action="store_true", help="show all rows, however many there are"
    )
    return parser


def _analyze(options: argparse.Namespace) -> int:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise _Failure("--plot needs matplotlib: pip install 'jaxinit[plot]'")
    _say(f"importing {options.model.module}")
    model = _model(options.model)
    args = tuple(value for spec in options.input for value in _values(spec))
    kwargs = {name: _value(value) for name, value in options.kwarg}

    # This is the one heavy import, and by now the model has mostly paid for it.
    import jaxinit

    try:
        report: Report = jaxinit.analyze(
            model, *args, seeds=options.seeds, progress=True, model_kwargs=kwargs
        )
    except Exception as error:  # the model is the user's code and may raise anything
        raise _Failure(f"analyzing {options.model} failed: {_story(error)}") from error

    # Files first: a reader of the table may close the pipe.
    if options.json is not None:
        report.to_json(options.json)
        _say(f"wrote {options.json}")
    if options.plot is not None:
        report.plot(options.plot)
        _say(f"wrote {options.plot}")
    _print(report, options.all)
    return HEALTHY if report.verdict == "ok" else FINDINGS


def _print(report: "Report", all: bool) -> None:
    from rich.console import Console

    from jaxinit.report.table import ReportView, printed

    try:
        if sys.stdout.isatty():
            Console().print(ReportView(report, all=all))
        else:
            print(printed(report, all=all))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Python would complain again at exit, when it
        # flushes what is left, unless that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _model(name: Name) -> Any:
    """The named model; a function that needs no argument is called for it."""
    found = _load(name)
    if not isinstance(found, type | partial) and not inspect.isroutine(found):
        return found
    # A metaclass like nnx's hides what the constructor takes.
    taken = vars(found).get("__init__", found) if isinstance(found, type) else found
    try:
        parameters = dict(inspect.signature(taken).parameters)
    except (TypeError, ValueError):
        return found
    if isinstance(found, type):
        del parameters[next(iter(parameters))]  # self
    required = [
        p
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if "rngs" in parameters or (required and not isinstance(found, type)):
        return found
    if required:
        raise _Failure(
            f"{name} is a class whose fields {', '.join(p.name for p in required)} "
            f"have no default. Name an instance instead: "
            f"model = {name.attribute}({required[0].name}=...)"
        )
    return _call(found, name)


def _values(spec: Shape | Name) -> tuple[Any, ...]:
    """The inputs that one --input stands for."""
    if isinstance(spec, Shape):
        import jax

        drawn: Any = jax.ShapeDtypeStruct  # whose constructor has no types
        return (drawn(spec.shape, jax.numpy.dtype(spec.dtype)),)
    found = _load(spec)
    if inspect.isroutine(found) or isinstance(found, partial):
        found = _call(found, spec)
    return found if type(found) is tuple else (found,)


def _value(value: Any) -> Any:
    return _load(value) if isinstance(value, Name) else value


def _load(name: Name) -> Any:
    try:
        found = importlib.import_module(name.module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name.module}.".startswith(f"{error.name}."):
            raise _Failure(
                f"there is no module {error.name!r} in {os.getcwd()} nor installed. "
                "Write MODULE as in an import: package.module"
            ) from error
        raise _Failure(f"importing {name.module} failed: {_story(error)}") from error
    except (
        Exception
    ) as error:  # an import runs the user's code, which may raise anything
        raise _Failure(f"importing {name.module} failed: {_story(error)}") from error
    for part in name.attribute.split("."):
        if not hasattr(found, part):
            known = [n for n in vars(found) if not n.startswith("_")]
            raise _Failure(
                f"{name.module} has no attribute {name.attribute!r}. It has "
                f"{', '.join(known[:12]) or 'none'}"
                f"{', ...' if len(known) > 12 else ''}"
            )
        found = getattr(found, part)
    return found


def _call(function: Any, name: Name) -> Any:
    try:
        return function()
    except Exception as error:  # the user's code may raise anything
        raise _Failure(f"calling {name}() failed: {_story(error)}") from error


def _story(error: BaseException) -> str:
    """What was raised and where, for whoever wrote the code."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(pathlib.Path(__file__).parent)
    theirs = [f for f in frames if not f.filename.startswith((here, "<"))]
    text = "\n".join(
        [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]
    )
    if not theirs:
        return text
    return f"{text}\n  (raised at {theirs[-1].filename}:{theirs[-1].lineno})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
