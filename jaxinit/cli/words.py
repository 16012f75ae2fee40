"""The words that several commands take, each with its help."""

import argparse
from typing import TypeAlias

from jaxinit.cli.arguments import (
    parse_file,
    parse_input,
    parse_kwarg,
    parse_name,
    parse_plot_file,
    parse_scheme,
    parse_seeds,
)

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

STATUS = """\
exit status: 0 if the model is healthy, 1 if there are findings (diff: if something
changed; coord-check: if a size depends on the width; race: if a scheme does not
train; theory: if a network of --depth layers is too deep), 2 if the command line, an
import, the model or a file is at fault, 130 if it was interrupted.
"""

SCHEME = (
    "a scheme or initializer: its name (gpt2), with arguments in quotes "
    "('orthogonal(1.4)'), MODULE:ATTRIBUTE for one of yours, or own for the model's"
)


def command(
    subparsers: Subparsers, name: str, what: str, epilog: str
) -> argparse.ArgumentParser:
    """A command with its help."""
    return subparsers.add_parser(
        name,
        help=what,
        description=f"{what[:1].upper()}{what[1:]}.",
        epilog=f"{STATUS}\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model and what it is called with."""
    parser.add_argument(
        "model",
        type=parse_name,
        metavar="MODULE:ATTRIBUTE",
        help="a linen module, an nnx module or its class, a function of rngs that "
        "makes one, a jaxinit.Functional, or a function without arguments that "
        "returns one of these",
    )
    add_inputs(parser)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """What the model is called with."""
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
    add_kwargs(parser)


def add_kwargs(parser: argparse.ArgumentParser) -> None:
    """Keyword arguments of the model, and whether its programs are kept."""
    parser.add_argument(
        "--kwarg",
        type=parse_kwarg,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword argument of the model: VALUE is a Python literal "
        "(train=True) or MODULE:ATTRIBUTE",
    )
    parser.add_argument(
        "--no-cache",
        action="store_false",
        dest="cache",
        help="keep no compiled programs in ~/.cache/jaxinit for the next run; neither "
        "are they kept there where JAX_COMPILATION_CACHE_DIR says where to",
    )


def add_schemes(parser: argparse.ArgumentParser) -> None:
    """Several schemes."""
    parser.add_argument(
        "--scheme",
        type=parse_scheme,
        action="append",
        required=True,
        metavar="SCHEME",
        help=f"{SCHEME}; several times",
    )


def add_seeds(parser: argparse.ArgumentParser, usually: str) -> None:
    """How many seeds."""
    parser.add_argument(
        "--seeds",
        type=parse_seeds,
        metavar="N",
        help=f"the number of random initializations; by default {usually}",
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Where finished seeds are kept."""
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="keep finished seeds, and go on from there when started again",
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Files to write."""
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
    parser.add_argument(
        "--plot", type=parse_plot_file, metavar="FILE", help="draw a .png, .svg or .pdf"
    )
