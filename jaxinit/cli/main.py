"""The command ``jaxinit``: its words, and what its exit status means.

Nothing heavy is imported before the command line is known to be right, and of the
user's code nothing but the modules that it names.
"""

import argparse
from collections.abc import Sequence

from jaxinit.cli import commands
from jaxinit.cli.arguments import (
    parse_file,
    parse_input,
    parse_kwarg,
    parse_name,
    parse_plot_file,
    parse_scheme,
    parse_seeds,
)
from jaxinit.cli.load import Failure, story
from jaxinit.cli.output import say
from jaxinit.cli.status import HEALTHY, INTERRUPTED, USAGE, Doing
from jaxinit.signal.interrupts import as_interrupts

_STATUS = """\
exit status: 0 if the model is healthy, 1 if there are findings (diff: if something
changed), 2 if the command line, an import, the model or a file is at fault, 130 if it
was interrupted.
"""

_EPILOG = f"""\
{_STATUS}
examples:
  jaxinit analyze examples.resnet:model --input 32,32,32,3 --kwarg train=True
  jaxinit analyze my.gpt:model --input 8,128:int32 --seeds 64 --html gpt.html
  jaxinit analyze my.gpt:make_model --input my.data:first_batch --json gpt.json
  jaxinit analyze my.gpt:model --input 8,128:int32 --scheme gpt2
  jaxinit compare my.gpt:model --input 8,128:int32 --scheme own --scheme gpt2
  jaxinit explain my.gpt:model --input 8,128:int32 --scheme 'orthogonal(1.4)'
  jaxinit diff before.json after.json
  jaxinit list
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: its words, without the program's name; by default those of this process.

    Returns:
      The exit status: 0 healthy, 1 findings, 2 for any trouble, 130 interrupted.
    """
    doing = Doing()
    try:
        with as_interrupts():
            options = _parser().parse_args(argv)
            status: int = options.run(options, doing)
            return status
    except Failure as failure:
        say(f"jaxinit: error: {failure}")
        return USAGE
    except KeyboardInterrupt as interrupt:
        say(f"jaxinit: interrupted {interrupt or doing.what}")
        return INTERRUPTED
    except Exception as error:
        say(f"jaxinit: error {doing.what}: {story(error)}")
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxinit",
        description="Measure how a JAX model behaves at initialization, and choose "
        "how to initialize it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    analyze = _command(
        subparsers,
        "analyze",
        "measure a model over many seeds; print a table and a verdict",
    )
    _add_model(analyze)
    analyze.add_argument("--scheme", type=parse_scheme, metavar="SCHEME", help=_SCHEME)
    _add_seeds(analyze)
    _add_files(analyze)
    analyze.add_argument(
        "--plot", type=parse_plot_file, metavar="FILE", help="draw a .png, .svg or .pdf"
    )
    analyze.add_argument(
        "--all", action="store_true", help="show all rows, however many there are"
    )
    analyze.add_argument(
        "--github",
        action="store_true",
        help="print the findings as annotations of a GitHub workflow as well",
    )
    analyze.set_defaults(run=commands.analyze)

    compare = _command(
        subparsers, "compare", "measure a model under several schemes, side by side"
    )
    _add_model(compare)
    compare.add_argument(
        "--scheme",
        type=parse_scheme,
        action="append",
        required=True,
        metavar="SCHEME",
        help=f"{_SCHEME}; several times",
    )
    _add_seeds(compare)
    _add_files(compare)
    compare.set_defaults(run=commands.compare)

    explain = _command(
        subparsers, "explain", "say what a scheme does to each parameter of a model"
    )
    _add_model(explain)
    explain.add_argument(
        "--scheme", type=parse_scheme, required=True, metavar="SCHEME", help=_SCHEME
    )
    explain.set_defaults(run=commands.explain)

    diff = _command(subparsers, "diff", "say what changed from one report to another")
    diff.add_argument("before", metavar="BEFORE.json", help="the first report")
    diff.add_argument("after", metavar="AFTER.json", help="the second report")
    diff.set_defaults(run=commands.diff)

    listing = _command(subparsers, "list", "list the schemes and initializers")
    listing.set_defaults(run=commands.listing)
    return parser


_SCHEME = (
    "a scheme or initializer: its name (gpt2), with arguments in quotes "
    "('orthogonal(1.4)'), MODULE:ATTRIBUTE for one of yours, or own for the model's"
)


def _command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name,
        help=what,
        description=f"{what[:1].upper()}{what[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=parse_name,
        metavar="MODULE:ATTRIBUTE",
        help="a linen module, an nnx module or its class, a function of rngs that "
        "makes one, a jaxinit.Functional, or a function without arguments that "
        "returns one of these",
    )
    parser.add_argument(
        "--input",
        type=parse_input,
        action="append",
        default=[],
        metavar="SPEC",
        help="the model's next input: SHAPE[:DTYPE], like 32,32,32,3 or 8,128:int32, "
        "to be drawn at random; or MODULE:ATTRIBUTE, an array, a tuple of arrays or "
        "a function that returns them",
    )
    parser.add_argument(
        "--kwarg",
        type=parse_kwarg,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword argument of the model: VALUE is a Python literal "
        "(train=True) or MODULE:ATTRIBUTE",
    )


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=parse_seeds,
        metavar="N",
        help="the number of random initializations; by default 8 to 64, as many as "
        "the model's depth and width call for",
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        type=parse_file,
        metavar="FILE",
        help="write all numbers as JSON; - for standard output, in place of the table",
    )
    parser.add_argument(
        "--html",
        type=parse_file,
        metavar="FILE",
        help="write one page that a browser shows, with everything in it",
    )


class _Version(argparse.Action):
    """The version, looked up only if asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        from importlib.metadata import version

        print(f"jaxinit {version('jaxinit')}")
        parser.exit(HEALTHY)
