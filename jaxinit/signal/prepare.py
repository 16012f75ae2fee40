"""A model made ready to be measured: checked, traced, read, with its inputs."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax

from jaxinit._collector import collecting_rarely
from jaxinit._keys import root_key
from jaxinit.draw.compiling import quick_options
from jaxinit.models.arguments import Arguments, arguments, streams_and_kwargs
from jaxinit.models.trace import Traced, infer_inputs, trace
from jaxinit.roles.network import Network, read_network, read_sites
from jaxinit.roles.structure import NO_HINTS, Hints
from jaxinit.signal.bundle import should_roll
from jaxinit.signal.checks import check_loss, check_model, check_options
from jaxinit.signal.compiled import Compiled, compiled
from jaxinit.signal.inputs import Fed, batch_size, check_inputs, feed
from jaxinit.signal.placement import placed_by, unplaced
from jaxinit.signal.plan import RunPlan, plan_run
from jaxinit.signal.seed_numbers import num_seeds
from jaxinit.signal.seeds import Strategy
from jaxinit.signal.statistics import Analysis, no_float_output


class Options(NamedTuple):
    """The options of ``analyze``, by the names that they have there."""

    seeds: int | Sequence[int] | None
    key: int | jax.Array
    loss: Callable[[Any], jax.Array] | None
    strategy: Strategy
    chunk: int | None
    memory_budget: int | None
    time_budget: float | None
    rngs: Sequence[str]
    devices: int | Sequence[jax.Device] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    roll: bool | Literal["auto"] = "auto"
    judge: bool = True
    variables: Any = None
    metrics: Sequence[str] = ()
    predict: bool = False
    hints: Hints = NO_HINTS


class Prepared(NamedTuple):
    """A model that is ready to be measured.

    Attributes:
      network: the model, read.
      fed: its inputs.
      analysis: what is measured.
      compiled: the analysis, compiled when it first runs.
      root: the root key.
      options: those of the user.
    """

    network: Network
    fed: Fed
    analysis: Analysis
    compiled: Compiled
    root: jax.Array
    options: Options


class _Model(NamedTuple):
    """A model, traced on arguments that are fit for it."""

    traced: Traced
    given: Arguments
    root: jax.Array


def _traced(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> _Model:
    """Checks all arguments and traces the model."""
    check_options(
        options.seeds,
        options.strategy,
        options.chunk,
        options.memory_budget,
        options.time_budget,
        options.loss,
        options.checkpoint,
    )
    root = unplaced(root_key(options.key))
    if not args and not kwargs:
        args = infer_inputs(model)
    streams, kwargs = streams_and_kwargs(options.rngs, kwargs)
    check_inputs(args, kwargs)
    given = arguments(args, kwargs)
    try:
        traced = trace(model, given, streams, jax.random.key_impl(root))
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        if all(shape.shape == () for shape in given.shapes):
            raise ValueError(
                f"`{given.names[0]}` must have axes that the model works on, the first "
                f"of them over samples, got a scalar, and the model raised "
                f"{type(error).__name__}: {error}. Pass a batch."
            ) from error
        raise
    check_model(traced)
    check_loss(options.loss, traced)
    return _Model(traced, given, root)


def plan(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> RunPlan:
    """What ``measure`` would take; nothing of the model's size is allocated."""
    traced, given, _ = _traced(model, args, kwargs, options)
    sites = read_sites(traced)
    batch = batch_size(given.shapes, sites.keys)
    analysis = Analysis(traced, sites, batch, options.loss, True)
    if no_float_output(analysis) is not None:
        analysis = analysis._replace(backward=False)
    count = num_seeds(options.seeds, sites) if traced.draws else 1
    return plan_run(analysis, count, options.chunk, options.memory_budget)


@collecting_rarely()
def prepare(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Prepared:
    """Checks all arguments, traces the model and finds its layers."""
    traced, given, root = _traced(model, args, kwargs, options)
    network = read_network(traced, given, options.hints)
    sites = network.sites
    _check_reached(network)
    fed = feed(given.inputs, given.names, sites, root, 2**32 - 1)
    batch = batch_size(fed.arrays, sites.keys)
    analysis = Analysis(traced, sites, batch, options.loss, True)
    count = num_seeds(options.seeds, sites)
    rolled = options.roll
    if rolled == "auto":
        rolled = not placed_by(traced, fed.arrays) and should_roll(analysis, count)
    analysis = analysis._replace(rolled=bool(rolled))
    programs = compiled(analysis, quick_options(sites, 3 * count))
    return Prepared(network, fed, analysis, programs, root, options)


def _check_reached(network: Network) -> None:
    if not any(event.kind == "layer" for event in network.sites.events):
        names = [p.name for p in network.params][:3]
        raise ValueError(
            f"no input of {network.traced.name} reaches a parameter: no equation "
            f"combines one of {', '.join(names)} with what depends on the inputs, so "
            "that there is no layer to measure. Pass the arrays that the model works "
            "on as positional or keyword arguments, and use them in its forward pass."
        )
