"""The commands that train: ``coord-check`` and ``race``; and ``theory``."""

import argparse

from jaxinit.cli import training_commands as commands
from jaxinit.cli.arguments import (
    parse_activation,
    parse_data,
    parse_file,
    parse_name,
    parse_number,
    parse_numbers,
    parse_optimizer,
    parse_scheme,
    parse_seeds,
    parse_widths,
)
from jaxinit.cli.words import (
    SCHEME,
    Subparsers,
    add_files,
    add_inputs,
    add_kwargs,
    add_schemes,
    add_seeds,
    command,
)

_COORD_CHECK = """\
In a parametrization under which hyperparameters carry over to larger models, every
layer's activations, and what a few steps change of them, have the same size at any
width. The table gives slopes of log2 rms on log2 width: 0 is flat. Write a function
from a width to a model; --mup BASE checks it under muP, by jaxinit.mup and
jaxinit.mup_multipliers.

examples:
  jaxinit coord-check my.gpt:of_width --widths 64,128,256 --input 8,128:int32
  jaxinit coord-check my.mlp:make --widths 64,256,1024 --input 32,16 --mup 32
  jaxinit coord-check my.gpt:of_depth --widths 2,8,32 --axis depth --input 8,64:int32
"""

_RACE = """\
Trains every (scheme, learning rate, seed) for a short while on the same batches and
says per scheme how many runs train, diverge or stall, the best learning rate and the
range that works, and whether there is a winner beyond doubt. Interrupted (Ctrl-C), it
prints what is done; with --checkpoint it goes on from there when started again.

examples:
  jaxinit race my.mlp:model --data digits --scheme own --scheme he_normal
  jaxinit race my.gpt:model --data my.text:batches --scheme own --scheme gpt2 \\
      --optimizer 'adamw(weight_decay=0.1)' --learning-rates 3e-4,1e-3,3e-3 \\
      --steps 300 --seeds 8 --html race.html
"""

_THEORY = """\
Mean-field theory of wide networks: what a layer of the activation does to the second
moment of a signal, to the correlation of two inputs and to gradients, before anything
is run. A network trains to a depth of about six times the depth scale of its
correlations. Without variances, those at the edge of chaos are told.

examples:
  jaxinit theory tanh
  jaxinit theory tanh --var-w 1.0,1.5,2.0 --var-b 0.05 --depth 50
  jaxinit theory my.layers:activation --var-w 2
"""


def add(subparsers: Subparsers) -> None:
    """The parsers of these commands."""
    _add_coord_check(subparsers)
    _add_race(subparsers)
    _add_theory(subparsers)


def _add_coord_check(subparsers: Subparsers) -> None:
    what = "train for a few steps at several widths; say which sizes depend on it"
    parser = command(subparsers, "coord-check", what, _COORD_CHECK)
    parser.add_argument(
        "model",
        type=parse_name,
        metavar="MODULE:FUNCTION",
        help="a function from a width (or a depth) to a model",
    )
    parser.add_argument(
        "--widths",
        type=parse_widths,
        required=True,
        metavar="N,N,...",
        help="two or more, rising; three or more that span a factor of 8 tell",
    )
    add_inputs(parser)
    parser.add_argument(
        "--mup",
        type=parse_seeds,
        metavar="BASE",
        help="check the model under muP with this base width, below all others",
    )
    parser.add_argument("--scheme", type=parse_scheme, metavar="SCHEME", help=SCHEME)
    _add_optimizer(parser)
    parser.add_argument(
        "--learning-rate",
        type=parse_number,
        default=1e-2,
        metavar="RATE",
        help="of the optimizer; by default 0.01",
    )
    _add_loss(parser)
    parser.add_argument("--steps", type=parse_seeds, default=3, metavar="N")
    parser.add_argument(
        "--axis",
        choices=("width", "depth"),
        default="width",
        help="what --widths are",
    )
    add_seeds(parser, "4")
    add_files(parser)
    parser.set_defaults(run=commands.coord_check)


def _add_race(subparsers: Subparsers) -> None:
    what = "train a model for a short while from several initializations"
    parser = command(subparsers, "race", what, _RACE)
    parser.add_argument(
        "model",
        type=parse_name,
        metavar="MODULE:ATTRIBUTE",
        help="as for analyze: a model that draws its weights",
    )
    add_kwargs(parser)
    parser.add_argument(
        "--data",
        type=parse_data,
        default="digits",
        metavar="DATA",
        help="digits (handwritten ones of scikit-learn, 64 numbers each), "
        "text:FILE (pieces of 64 bytes and the byte that follows each), or "
        "MODULE:ATTRIBUTE: a tuple (inputs, target) of arrays, batches, or a function "
        "from a step's number to a batch",
    )
    add_schemes(parser)
    _add_optimizer(parser)
    parser.add_argument(
        "--learning-rates",
        type=parse_numbers,
        default=[1e-3, 3e-3, 1e-2],
        metavar="RATE,...",
        help="those that are tried; by default 0.001,0.003,0.01",
    )
    _add_loss(parser)
    parser.add_argument("--steps", type=parse_seeds, default=100, metavar="N")
    parser.add_argument("--batch-size", type=parse_seeds, default=64, metavar="N")
    parser.add_argument(
        "--target", type=parse_number, metavar="LOSS", help="count the steps until it"
    )
    parser.add_argument(
        "--checkpoint", metavar="FOLDER", help="keep finished runs, and take them up"
    )
    add_seeds(parser, "8")
    add_files(parser)
    parser.set_defaults(run=commands.race)


def _add_theory(subparsers: Subparsers) -> None:
    what = "say what theory expects of a deep network, without running one"
    parser = command(subparsers, "theory", what, _THEORY)
    parser.add_argument(
        "activation",
        type=parse_activation,
        metavar="ACTIVATION",
        help="a name of jax.nn's or jax.numpy's (tanh, gelu), or MODULE:ATTRIBUTE",
    )
    for name, of in (("--var-w", "weights times their fan-in"), ("--var-b", "biases")):
        parser.add_argument(
            name, type=parse_numbers, metavar="V,...", help=f"the variance of {of}"
        )
    parser.add_argument(
        "--depth", type=parse_seeds, metavar="N", help="layers that are to be trained"
    )
    parser.add_argument(
        "--json",
        type=parse_file,
        metavar="FILE",
        help="write the numbers; - for stdout",
    )
    parser.set_defaults(run=commands.theory)


def _add_optimizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--optimizer",
        type=parse_optimizer,
        default=parse_optimizer("adam"),
        metavar="OPTIMIZER",
        help="one of optax, with arguments in quotes ('sgd(momentum=0.9)'), or "
        "MODULE:FUNCTION from a learning rate to one; by default adam",
    )


def _add_loss(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--loss",
        type=parse_name,
        metavar="MODULE:FUNCTION",
        help="(output, target) -> scalar; by default cross entropy for classes, the "
        "mean squared error for numbers",
    )
