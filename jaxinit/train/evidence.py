"""What goes beside the curves of a race: verdicts, solutions, what the runs were."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.roles.structure import Hints
from jaxinit.signal.analyze import analyze
from jaxinit.train.batches import Batch
from jaxinit.train.cells import Cell, fingerprint
from jaxinit.train.drawing import draw_of, seed_keys
from jaxinit.train.optima import Pair, compare_optima
from jaxinit.train.race_result import Race
from jaxinit.train.runner import Course
from jaxinit.train.standing import best_rate
from jaxinit.train.training import Training


def optima(
    course: Course, cells: Mapping[Any, Cell], result: Race
) -> tuple[list[Pair], str]:
    """Distances and barriers between the solutions at each scheme's best rate."""
    found = {}
    for i, name in enumerate(result.schemes):
        best = best_rate(result, i)
        for j, seed in enumerate(result.seeds):
            cell = None if best is None else cells.get((i, best, j))
            if cell is not None and cell.solution is not None and not cell.reason:
                found[name, int(seed)] = cell.solution
    network, key = course.training.network, seed_keys(course.root, [0])
    inputs = tuple(jnp.asarray(x) for x in course.first[0])
    state: list[Any] = []
    if network.traced.num_state and found:
        leaves = draw_of(network, None).batched(key, *inputs)
        state = [leaf[0] for leaf in leaves[len(network.params) :]]
    return compare_optima(course.training, found, state, course.first, key[0])


def verdicts(
    model: Any,
    first: Batch,
    schemes: Mapping[str, Any],
    seeds: int,
    root: jax.Array,
    rngs: Sequence[str],
    model_kwargs: dict[str, Any] | None,
    hints: Hints,
) -> tuple[dict[str, str], dict[str, str]]:
    """What ``analyze`` says of each scheme, and why it says nothing of the others."""
    found: dict[str, str] = {}
    unsaid: dict[str, str] = {}
    for name, scheme in schemes.items():
        try:
            report = analyze(
                model,
                *first[0],
                scheme=scheme,
                seeds=min(max(seeds, 4), 16),
                key=root,
                progress=False,
                rngs=rngs,
                model_kwargs=model_kwargs,
                output=hints.output,
                roles=dict(hints.roles),
                branches=dict(hints.branches),
            )
        except Exception as error:  # the race is more than its verdicts
            unsaid[name] = _why(error)
            continue
        found[name] = report.verdict
    return found, unsaid


def race_fingerprint(
    training: Training, first: Batch, root: jax.Array, steps: int, checkpoint: Any
) -> tuple[str, str]:
    """A name of all that runs have in common, and why there is none.

    Both are empty where nothing is kept. A step that cannot be traced has no name:
    nothing can then be taken up, and the runs say why in their place.
    """
    if checkpoint is None:
        return "", ""

    def step(leaves: Any, rate: Any, key: Any, batch: Any) -> Any:
        return training.step(training.start(leaves, rate), rate, key, batch)

    try:
        program = str(jax.make_jaxpr(step)(training.kinds, jnp.float32(1), root, first))
    except Exception as error:
        return "", _why(error)
    names = [p.name for p in training.network.params]
    data = jax.random.key_data(root)
    return fingerprint(program, (first, data), names, steps), ""


def _why(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
