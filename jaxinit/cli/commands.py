"""What each command does, once its words are known to be right."""

import argparse
import contextlib
import dataclasses
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jaxinit.cli import load
from jaxinit.cli.arguments import Shape
from jaxinit.cli.load import Failure, story
from jaxinit.cli.output import Output, clean_stdout, deliver, say, to_stdout
from jaxinit.cli.status import FINDINGS, HEALTHY, INTERRUPTED, Doing

if TYPE_CHECKING:
    from jaxinit.report.report import Report
    from jaxinit.report.shown import Shown
    from jaxinit.signal.compare_result import Comparison


def analyze(options: argparse.Namespace, doing: Doing) -> int:
    """Measures a model, writes what was asked for, prints the table."""
    made: list[Report] = []
    outputs = outputs_of(options, made)
    with clean_stdout(outputs):
        model, args, kwargs = _call(options, doing)
        scheme = None if options.scheme is None else load.scheme(options.scheme)
        # This is the one heavy import, and the model has mostly paid for it by now.
        import jaxinit

        extra: dict[str, Any] = {} if scheme is None else {"scheme": scheme}
        with working(doing, "analyzing", options, "a seed"):
            report: Report = jaxinit.analyze(
                model,
                *args,
                seeds=options.seeds,
                checkpoint=options.checkpoint,
                progress=True,
                model_kwargs=kwargs,
                **extra,
            )
    if options.kept is not None:
        note = f"Compiled programs are kept in {options.kept}; --no-cache keeps none"
        report = dataclasses.replace(report, notes=(*report.notes, note))
    made.append(report)
    doing.what = _WRITTEN
    deliver(outputs, partial(_table, report, options))
    if report.interrupted:
        say(f"jaxinit: {report.interrupted}")
        return INTERRUPTED
    return HEALTHY if report.verdict == "ok" else FINDINGS


def compare(options: argparse.Namespace, doing: Doing) -> int:
    """Measures a model under several schemes."""
    made: list[Comparison] = []
    outputs = outputs_of(options, made)
    with clean_stdout(outputs):
        model, args, kwargs = _call(options, doing)
        schemes = {str(spec): load.scheme(spec) for spec in options.scheme}
        import jaxinit

        with working(doing, "comparing", options, "a scheme"):
            comparison = jaxinit.compare(
                model,
                *args,
                schemes=schemes,
                seeds=options.seeds,
                checkpoint=options.checkpoint,
                progress=True,
                model_kwargs=kwargs,
            )
    made.append(comparison)
    deliver_result(outputs, comparison, doing)
    if len(comparison.reports) < len(schemes) or comparison.interrupted:
        done = len(comparison.reports)
        say(f"jaxinit: interrupted: {done} of {len(schemes)} schemes were measured")
        return INTERRUPTED
    healthy = all(report.verdict == "ok" for report in comparison.reports.values())
    return HEALTHY if healthy else FINDINGS


def explain(options: argparse.Namespace, doing: Doing) -> int:
    """Says what a scheme does to each parameter."""
    model, args, kwargs = _call(options, doing)
    scheme = load.scheme(options.scheme)
    if scheme is None:
        raise Failure("--scheme own leaves every parameter to the model; name another")
    import jaxinit

    with working(doing, "explaining", options, "anything"):
        explanation = jaxinit.explain(model, scheme, *args, model_kwargs=kwargs)
    to_stdout(lambda: print(explanation))
    return HEALTHY


def diff(options: argparse.Namespace, doing: Doing) -> int:
    """Says what changed from one report to another."""
    doing.what = "while reading the reports"
    from jaxinit.report.report import Report

    reports = []
    for path in (options.before, options.after):
        try:
            with open(path, "rb") as file:
                reports.append(Report.from_json(file.read().decode("utf-8-sig")))
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise Failure(f"cannot read {path}: {error}") from error
    found = reports[0].diff(reports[1])
    to_stdout(lambda: print(found))
    return FINDINGS if found.changed else HEALTHY


def listing(options: argparse.Namespace, doing: Doing) -> int:
    """Lists schemes and initializers, each with the first line of its docstring."""
    del options
    doing.what = "while listing"
    from jaxinit import initializers, schemes

    lines: list[str] = []
    for title, room in (("Schemes", schemes), ("Initializers", initializers)):
        lines += ["", title] if lines else [title]
        for name in room.__all__:
            found = getattr(room, name)
            if callable(found) and not isinstance(found, type):
                what = (found.__doc__ or "").strip().split("\n")[0]
                lines.append(f"  {name:<24} {what}")
    to_stdout(lambda: print("\n".join(lines)))
    return HEALTHY


@contextlib.contextmanager
def working(
    doing: Doing, what: str, options: argparse.Namespace, unit: str
) -> Iterator[None]:
    """Around work on the user's code, which may raise anything.

    Raises:
      Failure: in its place, with what was raised and where.
    """
    doing.what = f"while {what} {options.model}, before {unit} was done"
    try:
        yield
    except (KeyboardInterrupt, Failure):
        raise
    except BaseException as error:
        told = story(error) + _hint(error, getattr(options, "input", ()))
        raise Failure(f"{what} {options.model} failed: {told}") from error


def _hint(error: BaseException, inputs: Sequence[Any]) -> str:
    """What to write where integers were wanted and shapes say floats."""
    floats = [i for i in inputs if isinstance(i, Shape) and "float" in i.dtype]
    if not floats or "integer" not in str(error):
        return ""
    shape = ",".join(map(str, floats[0].shape))
    return (
        f"\n--input {shape} feeds {floats[0].dtype}; for tokens write --input "
        f"{shape}:int32"
    )


def outputs_of(options: argparse.Namespace, made: list[Any]) -> list[Output]:
    """The files that were asked for, of the result that ``made`` will hold.

    Raises:
      Failure: if they cannot be written.
    """
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise Failure("--plot needs matplotlib: pip install 'jaxinit[plot]'")
    outputs = [
        Output(path, make)
        for path, make in (
            (options.json, lambda: made[0].to_json().encode()),
            (options.html, lambda: made[0].to_html().encode()),
            (options.plot, lambda: _drawn(made[0], options.plot)),
        )
        if path is not None
    ]
    if sum(output.path == "-" for output in outputs) > 1:
        raise Failure("only one of --json and --html can go to standard output")
    return outputs


def deliver_result(outputs: list[Output], result: "Shown", doing: Doing) -> None:
    """Writes the files, prints the table: colored on a terminal."""
    doing.what = _WRITTEN

    def show() -> None:
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(result)
        else:
            print(result)

    deliver(outputs, show)


def called(
    options: argparse.Namespace,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model is called with, out of the user's modules."""
    args = tuple(value for spec in options.input for value in load.inputs(spec))
    return args, {name: load.value(given) for name, given in options.kwarg}


_WRITTEN = "before the table was printed, after all files were written"


def _call(
    options: argparse.Namespace, doing: Doing
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The model and its arguments, out of the user's modules."""
    doing.what = f"while importing {options.model.module}"
    say(f"importing {options.model.module}")
    return load.model(options.model), *called(options)


def _drawn(result: Any, path: str) -> bytes:
    from jaxinit.report.plot import draw, image
    from jaxinit.report.shown import Shown

    figure = result.plot() if isinstance(result, Shown) else draw(result)
    return image(figure, path)


def _table(report: "Report", options: argparse.Namespace) -> None:
    from rich.console import Console

    from jaxinit.report.annotations import annotations
    from jaxinit.report.table import ReportView, printed

    if sys.stdout.isatty():
        Console().print(ReportView(report, all=options.all))
    else:
        print(printed(report, all=options.all))
    if options.github:
        for line in annotations(report):
            print(line)
