"""The command ``jaxinit``: its words, and what its exit status means.

Nothing heavy is imported before the command line is known to be right, and of the
user's code nothing but the modules that it names.
"""

import argparse
from collections.abc import Sequence

from jaxinit.cli import commands, training_words
from jaxinit.cli.arguments import parse_scheme
from jaxinit.cli.cache import keep_programs
from jaxinit.cli.load import Failure, story
from jaxinit.cli.output import say
from jaxinit.cli.status import HEALTHY, INTERRUPTED, USAGE, Doing
from jaxinit.cli.words import (
    SCHEME,
    STATUS,
    Subparsers,
    add_checkpoint,
    add_files,
    add_model,
    add_schemes,
    add_seeds,
    command,
)
from jaxinit.signal.interrupts import as_interrupts

_EXAMPLES = """\
examples:
  jaxinit analyze examples.resnet:model --input 32,32,32,3 --kwarg train=True
  jaxinit analyze my.gpt:model --input 8,128:int32 --seeds 64 --html gpt.html
  jaxinit analyze my.gpt:make_model --input my.data:first_batch --json gpt.json
  jaxinit analyze my.gpt:model --input 8,128:int32 --scheme gpt2
  jaxinit compare my.gpt:model --input 8,128:int32 --scheme own --scheme gpt2
  jaxinit explain my.gpt:model --input 8,128:int32 --scheme 'orthogonal(1.4)'
  jaxinit coord-check my.mlp:of_width --widths 64,256,1024 --input 32,16 --mup 32
  jaxinit race my.mlp:model --data digits --scheme own --scheme he_normal
  jaxinit theory tanh --var-w 1.5 --var-b 0.05 --depth 50
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
            options.kept = keep_programs() if getattr(options, "cache", False) else None
            status: int = options.run(options, doing)
            return status
    except Failure as failure:
        say(f"jaxinit: error: {failure}")
        return USAGE
    except KeyboardInterrupt as interrupt:
        say(f"jaxinit: interrupted {_interrupted(str(interrupt), doing)}")
        return INTERRUPTED
    except Exception as error:
        say(f"jaxinit: error {doing.what}: {story(error)}")
        return USAGE


def _interrupted(said: str, doing: Doing) -> str:
    """What was interrupted: what was said, which is nothing or a signal's name."""
    if said.startswith(("while", "before")):
        return said
    return f"by {said} {doing.what}" if said else doing.what


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxinit",
        description="Measure how a JAX model behaves at initialization, and choose "
        "how to initialize it.",
        epilog=f"{STATUS}\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_analyze(subparsers)
    _add_compare(subparsers)
    training_words.add(subparsers)
    _add_others(subparsers)
    return parser


def _add_analyze(subparsers: Subparsers) -> None:
    what = "measure a model over many seeds; print a table and a verdict"
    parser = command(subparsers, "analyze", what, _EXAMPLES)
    add_model(parser)
    parser.add_argument("--scheme", type=parse_scheme, metavar="SCHEME", help=SCHEME)
    add_seeds(parser, _SEEDS)
    add_checkpoint(parser)
    add_files(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="give each row a line; without it equal modules of deep models share one",
    )
    parser.add_argument(
        "--github",
        action="store_true",
        help="print the findings as annotations of a GitHub workflow as well",
    )
    parser.set_defaults(run=commands.analyze)


def _add_compare(subparsers: Subparsers) -> None:
    what = "measure a model under several schemes; rank them, paired over seeds"
    parser = command(subparsers, "compare", what, _EXAMPLES)
    add_model(parser)
    add_schemes(parser)
    add_seeds(parser, _SEEDS)
    add_checkpoint(parser)
    add_files(parser)
    parser.set_defaults(run=commands.compare)


def _add_others(subparsers: Subparsers) -> None:
    what = "say what a scheme does to each parameter of a model"
    explain = command(subparsers, "explain", what, _EXAMPLES)
    add_model(explain)
    explain.add_argument(
        "--scheme", type=parse_scheme, required=True, metavar="SCHEME", help=SCHEME
    )
    explain.set_defaults(run=commands.explain)

    what = "say what changed from one report to another"
    diff = command(subparsers, "diff", what, _EXAMPLES)
    diff.add_argument("before", metavar="BEFORE.json", help="the first report")
    diff.add_argument("after", metavar="AFTER.json", help="the second report")
    diff.set_defaults(run=commands.diff)

    what = "list the schemes and initializers"
    listing = command(subparsers, "list", what, _EXAMPLES)
    listing.set_defaults(run=commands.listing)


_SEEDS = "8 to 64, as many as the model's depth and width call for"


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
