"""``race``: one model trained for a short while from several initializations."""

import dataclasses
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxinit._configuration import measuring
from jaxinit._keys import root_key
from jaxinit._progress import Bar
from jaxinit.initializers._check import check_number
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.named import named_schemes
from jaxinit.signal.checks import check_folder
from jaxinit.signal.placement import seed_devices
from jaxinit.train.batches import as_source
from jaxinit.train.cells import Store
from jaxinit.train.checks import (
    as_rates,
    as_seeds,
    check_counts,
    check_how,
    check_shares,
    first_batch,
)
from jaxinit.train.datasets import digits
from jaxinit.train.evidence import optima, race_fingerprint, verdicts
from jaxinit.train.layout import Layout, Strategy, laid_out
from jaxinit.train.losses import Loss, scalar_loss
from jaxinit.train.programs import programs
from jaxinit.train.race_result import Race
from jaxinit.train.runner import Course, run_all
from jaxinit.train.sharing import is_shared, my_seeds
from jaxinit.train.tabulated import tabulated
from jaxinit.train.training import Training, as_optimizer


@measuring
def race(
    model: Any,
    data: Any,
    *,
    schemes: Mapping[str, Any] | Sequence[str],
    optimizer: Any,
    learning_rates: Sequence[float],
    steps: int = 100,
    seeds: int | Sequence[int] = 8,
    loss: Loss | None = None,
    batch_size: int = 64,
    target: float | None = None,
    improvement: float = 0.1,
    confidence: float = 0.95,
    solutions: int = 3,
    diagnose: bool = True,
    key: int | jax.Array = 0,
    strategy: Strategy = "auto",
    chunk: int | None = None,
    memory_budget: int | None = None,
    devices: int | Sequence[jax.Device] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
) -> Race:
    """Trains every (scheme, learning rate, seed) for a short while, and compares.

    All runs see the same batches in the same order, and seeds are paired: seed 3 of
    one scheme draws from the same key as seed 3 of another. Runs of a scheme are
    trained at once where that pays, and the program is compiled once for all schemes.
    Of the processes of ``jax.distributed`` each trains a share of the seeds on its own
    devices, from data that are the same on each, and all return all.
    A run that cannot be trained ends by itself and says why; the race goes on.
    Interrupted (Ctrl-C, SIGTERM), it returns what is done.

    A run **trains** if its final loss (the mean over the last tenth of the steps) is
    below the reference by ``improvement`` of the reference's size, where the reference
    is the lowest, over schemes, of the median loss before training. It **diverges** if
    a loss is not finite or the final one exceeds its first one by half. Otherwise it
    **stalls**. The best rate of a scheme is that of the lowest median final loss; rates
    work if half of the seeds train. The best rates are chosen by the runs on which the
    schemes are then compared, which flatters all of them alike.

    Args:
      model: a linen module; an nnx class or factory; or a ``Functional``. Losses are
        training losses; variables other than parameters (running statistics) stay as
        they were drawn.
      data: a tuple ``(inputs, target)`` of arrays over samples; an iterable of such
        batches; a function from a step's number to a batch; or ``"digits"``.
      schemes: by a name of your choice, a scheme as in ``initialize``; ``None`` for the
        model's own init. Or a list of names, as ``["own", "he_normal"]``.
      optimizer: a function from the learning rate to an optax transformation, as
        ``optax.adam``; or a transformation, whose updates the rates multiply.
      learning_rates: those that are tried.
      steps: how many steps a run takes.
      seeds: how many, or which.
      loss: ``(output, target) -> scalar``; by default cross entropy if the target is
        integers, else the mean squared error.
      batch_size: samples in a batch drawn from arrays.
      target: a loss; the steps until it are counted.
      improvement: the share of the reference that a run must win.
      confidence: of all intervals.
      solutions: the number of seeds whose solutions are kept and compared: relative
        distance and the barrier on the line between them, with hidden units matched
        where the model is a plain chain of dense layers. They are held in memory for
        every rate.
      diagnose: whether to ask ``analyze`` about each scheme, and say whether its
        verdict predicted what came.
      key: the root key.
      strategy: ``"vmap"`` makes one product of several runs, on a CPU of a few on each
        core; ``"loop"`` trains one run after another; ``"auto"`` does the former, but
        for convolutions on a CPU, where each core trains a run by itself.
      chunk: runs at once; by default as many as fit by an estimate.
      memory_budget: bytes for a chunk; by default half of what is free.
      devices: over which the runs of a chunk are spread, or how many of the local
        ones; by default all, unless the model places itself.
      checkpoint: a folder for finished runs. A race that is started again with it
        takes those up whose model, loss, optimizer, weights, first batch, number of
        steps, rate and seed are the same.
      progress: ``None`` for a bar on a terminal, ``True`` also for lines
        elsewhere, ``False`` for nothing.
      output: as in ``initialize``: the main output, where there are several.
      roles: as in ``initialize``: roles that the program does not show.
      branches: as in ``initialize``: which sums add residual branches.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model (``{"train": True}``).

    Returns:
      The result; ``print`` it, ``plot()`` it.

    Raises:
      TypeError: if an argument is of the wrong kind.
      ValueError: if it is out of range.

    Examples:
      >>> import jaxinit, numpy as np, optax
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(1)])
      >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
      >>> result = race(
      ...     model, (x, x[:, :1]), schemes={"flax": None, "he": jaxinit.he_normal()},
      ...     optimizer=optax.adam, learning_rates=[0.01], steps=20, seeds=2,
      ... )
      >>> result.losses.shape
      (2, 1, 2, 20)

    References:
      Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis",
      2020. Ainsworth et al., "Git Re-Basin: Merging Models modulo Permutation
      Symmetries", 2023.
    """
    start = time.perf_counter()
    numbers, rates = as_seeds(seeds), as_rates(learning_rates)
    check_counts(
        steps=steps, batch_size=batch_size, chunk=1 if chunk is None else chunk
    )
    check_shares(improvement=improvement, confidence=confidence)
    check_how(strategy, solutions)
    if target is not None:
        target = check_number("target", target, "It is a loss.")
    if memory_budget is not None:
        check_number("memory_budget", memory_budget, "It counts bytes.", low=0)
    check_folder(checkpoint)
    schemes = named_schemes(schemes)
    root, hints = root_key(key), as_hints(output, roles, branches)
    kwargs = model_arguments({}, model_kwargs)
    source = as_source(_named(data), batch_size, _seed_of(root))
    first, notes = first_batch(source), dict[str, str]()
    with Bar(progress) as bar:
        bar.phase("tracing")
        network, _ = prepare(model, first[0], kwargs, rngs, root, hints)
        training = Training(network, scalar_loss(loss), as_optimizer(optimizer))
        spread = seed_devices(devices, network.traced, ())
        together = is_shared(network, numbers)
        mine = len(my_seeds(numbers)) if together else len(numbers)
        share, over = len(rates) * max(mine, 1), max(len(spread), 1)
        lies = laid_out(network, share, strategy, chunk, memory_budget, over)
        name, why = race_fingerprint(training, first, root, steps, checkpoint)
        if why:
            notes["checkpoint"] = f"nothing is kept: a step cannot be traced: {why}"
        store = Store(checkpoint if name else None, name)
        placed = _over(spread) if lies.group and len(spread) > 1 else None
        sizes = steps, root, *lies, solutions
        course = Course(training, source, first, *sizes, store, together)
        passes = 3 * steps * len(schemes) * len(rates) * len(numbers)
        given = training, (loss, optimizer), lies.group, placed, passes
        compiled = programs(*given)
        cells, interrupted = run_all(course, compiled, schemes, rates, numbers, bar)
    result = Race(
        model=network.traced.name,
        target=math.nan if target is None else target,
        confidence=confidence,
        interrupted=interrupted,
        verdicts={},
        pairs=(),
        unmatched="",
        notes=notes,
        settings=_settings(lies, placed, start),
        **tabulated(cells, steps, list(schemes), rates, numbers, improvement),
    )
    if interrupted:
        return result
    if diagnose:
        said, unsaid = verdicts(
            model, first, schemes, len(numbers), root, rngs, kwargs, hints
        )
        notes |= {f"no verdict on {name}": why for name, why in unsaid.items()}
        result = dataclasses.replace(result, verdicts=said)
    if solutions:
        pairs, why = optima(course, cells, result)
        records = tuple(pair._asdict() for pair in pairs)
        result = dataclasses.replace(result, pairs=records, unmatched=why)
    return dataclasses.replace(result, settings=_settings(lies, placed, start))


def _named(data: Any) -> Any:
    return digits() if isinstance(data, str) and data == "digits" else data


def _over(devices: Sequence[jax.Device]) -> NamedSharding:
    """The leading axis over devices."""
    return NamedSharding(Mesh(np.asarray(devices), ("runs",)), PartitionSpec("runs"))


def _settings(
    lies: Layout, placed: NamedSharding | None, start: float
) -> dict[str, Any]:
    return {
        "devices": 1 if placed is None else placed.mesh.size,
        "processes": jax.process_count(),
        "backend": jax.default_backend(),
        "jax": jax.__version__,
        "strategy": "vmap" if lies.group else "loop",
        "chunk": lies.chunk,
        "group": lies.group,
        "seconds": round(time.perf_counter() - start, 3),
    }


def _seed_of(root: jax.Array) -> int:
    """A number for NumPy, which draws the order of samples."""
    return int(np.asarray(jax.random.key_data(root)).astype(np.uint64).sum())
