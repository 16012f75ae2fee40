"""What the verdict rests on besides the statistics of rows: ``Report.evidence``.

Which parameters a gradient reaches is known of all seeds. The rest is measured on few:
it (equal units, saturation, zeros that steps unlock) does not hang on the seed. Steps
are simulated only where they can tell something, and only until they have told it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._caches import cached
from jaxinit.draw.compiling import quick_options
from jaxinit.layers.taps import plan_taps
from jaxinit.roles.network import Network
from jaxinit.roles.structure import Hints
from jaxinit.signal.between import fronts
from jaxinit.signal.broken import Find, find_broken
from jaxinit.signal.bundle import Analysis, Raw, find_rolled
from jaxinit.signal.curves import Curve, by_layer, find_curves, in_order
from jaxinit.signal.engine import Engine
from jaxinit.signal.infinite import find_infinite
from jaxinit.signal.looking import Looked, look_at
from jaxinit.signal.reach import Reach, reach
from jaxinit.signal.recall import (
    Recall,
    Remembering,
    find_remembering,
    recall,
    remembered,
)
from jaxinit.signal.records import SIZE
from jaxinit.signal.trial import (
    NUM_STEPS,
    Awaited,
    Steps,
    TakeSteps,
    take_steps,
    trained_leaves,
)
from jaxinit.verdict.steps import EQUAL

Array = jax.Array

NUM_SEEDS = 2


class First(NamedTuple):
    """The first gradient and the weights, by floating-point parameter.

    Attributes:
      moves: `(seeds, params)`: whether any entry of the gradient is not zero.
      nonfinite: `(seeds, params)`: whether one is NaN or infinite.
      mean_square: `(params,)`, of the parameters themselves, over all seeds.
    """

    moves: np.ndarray
    nonfinite: np.ndarray
    mean_square: np.ndarray


class _Reading(NamedTuple):
    """What is read off a model once, and its programs, compiled when they first run."""

    curves: list[Curve]
    fronts: dict[str, dict[str, Any]]
    reach: Reach
    look: Callable[[Sequence[Array], Array, Sequence[Array]], Looked]
    steps: TakeSteps
    broken: Find
    infinite: Find
    remembering: list[Remembering]
    recall: Recall


def gather(
    network: Network, engine: Engine, seeds: Sequence[int], raw: Raw
) -> dict[str, Any]:
    """Evidence about a model's parameters, curves, inputs and outputs.

    Args:
      network: the model, read.
      engine: draws its weights, and knows its inputs, its loss and its loops.
      seeds: those that were measured; weights of the first few are looked at.
      raw: what was measured.

    Returns:
      ``params``: by name what each does and what steps did to it; ``steps``: how many
      were taken at most; ``curves``: of squashing functions, softmaxes, tokens and
      layers' inputs; ``fronts``: by row what lies in front of it; ``broken``: the
      operation that makes NaN, where one does; ``undefined``: the share of NaN among
      the outputs, ``infinite``: of infinities that no mask wrote; ``recall``: by row
      what a recurrence's last step depends on; ``losses``: of the outputs, and of
      zeros in their place; ``inputs``: mean and deviation of each,
      and how many times as large as usual its largest column is. All of types that
      JSON knows.
    """
    analysis, inputs = engine.analysis, engine.inputs
    known = _read(network.traced, network.hints, analysis.loss, analysis.rolled)(
        network, analysis
    )
    first = _first(network, raw)

    def of(seed: int) -> tuple[Sequence[Array], Array, list[Array]]:
        key = jax.random.fold_in(engine.root, seed)
        variables = engine.weights(seed, key)
        return variables, jax.random.fold_in(key, 1), list(inputs)

    few = [int(seed) for seed in seeds[:NUM_SEEDS]]
    looked = [known.look(*of(seed)) for seed in few]
    steps: list[Steps] = []
    awaited = _awaited(network, known.reach, first, looked)
    if awaited.zero.any() or awaited.equal.any():
        for seed in few:
            took = known.steps(*of(seed), awaited)
            steps.append(took)
            if took.all_come:
                break
    broken = None
    bad = np.flatnonzero(first.nonfinite.any(axis=1)).tolist()
    bad += [i for i, one in enumerate(looked) if one.undefined]
    if bad:
        broken = known.broken(*of(int(seeds[bad[0]])))
    infinite = 0.0
    if not bad and any(one.infinite for one in looked):
        # It may be meant, as in a mask.
        broken = known.infinite(*of(few[0]))
        infinite = float(np.mean([one.infinite for one in looked])) if broken else 0.0
    recalled = few if known.remembering else []
    profiles = [jax.device_get(known.recall(*of(seed))) for seed in recalled]
    each_seed = [in_order(one.curves) for one in looked]
    records = [np.stack(each) for each in zip(*each_seed, strict=True)]
    return {
        "seeds": len(few),
        "steps": max((one.number for one in steps), default=0),
        "fronts": known.fronts,
        "broken": broken,
        "undefined": float(np.mean([one.undefined for one in looked])),
        "infinite": infinite,
        "losses": np.mean([one.losses for one in looked], axis=0).tolist(),
        "recall": remembered(known.remembering, profiles),
        "params": _params(network, known.reach, first, looked, steps),
        "curves": [
            entry
            for curve, record in zip(known.curves, records, strict=True)
            for entry in by_layer(curve, record)
        ],
        "inputs": [_input(np.asarray(x)) for x in inputs if _is_float(x)],
    }


@cached(16)
def _read(
    traced: Any, hints: Hints, loss: Any, rolled: bool
) -> Callable[[Network, Analysis], _Reading]:
    """Reads and compiles once for a traced model, what is said of it, and a loss."""
    del traced, hints, loss, rolled
    made: list[_Reading] = []

    def of(network: Network, analysis: Analysis) -> _Reading:
        if not made:
            sites = network.sites
            before = fronts(network)
            curves = find_curves(network, before)
            remembering = find_remembering(network)
            repeats = find_rolled(analysis, plan_taps(sites.numbers, sites.events))
            # A look reads what a pass makes many times: it counts as much as steps.
            options = quick_options(sites, 3 * NUM_SEEDS * NUM_STEPS)
            made.append(
                _Reading(
                    curves,
                    {front.row: front.facts for front in before},
                    reach(network),
                    look_at(network, curves, analysis.loss, analysis.rolled, options),
                    take_steps(network, analysis.loss, repeats, options),
                    find_broken(network),
                    find_infinite(network),
                    remembering,
                    jax.jit(recall(network, remembering), compiler_options=options),
                )
            )
        return made[0]

    return of


def _first(network: Network, raw: Raw) -> First:
    """What the records of all seeds say of gradients and weights."""
    moves, nonfinite, squares = [], [], []
    for leaf in trained_leaves(network):
        # In a unit near the largest entry: zero if all are, however small.
        gradient = np.asarray(raw.gradients[leaf])[..., SIZE.index("second_moment")]
        gradient = gradient.reshape(len(gradient), -1)
        moves.append((gradient != 0).any(axis=1))
        nonfinite.append(~np.isfinite(gradient).all(axis=1))
        _, exponent, scaled = np.moveaxis(
            np.asarray(raw.weights[leaf], np.float64), -1, 0
        )
        squares.append(float(np.mean(scaled * np.exp2(2 * exponent))))
    return First(np.stack(moves, 1), np.stack(nonfinite, 1), np.array(squares))


def _awaited(
    network: Network, paths: Reach, first: First, looked: Sequence[Looked]
) -> Awaited:
    """Gradients that might come and are zero in all seeds, and units that are equal."""
    within = [leaf in paths.differentiable for leaf in trained_leaves(network)]
    zero = ~first.moves.any(axis=0) & np.array(within, bool)
    return Awaited(zero, _apart(looked) < EQUAL)


def _apart(looked: Sequence[Looked]) -> np.ndarray:
    """How far units are apart, in the seed in which they are the farthest."""
    found: np.ndarray = np.stack([one.apart for one in looked]).max(axis=0)
    return found


def _params(
    network: Network,
    paths: Reach,
    first: First,
    looked: Sequence[Looked],
    steps: Sequence[Steps],
) -> dict[str, dict[str, Any]]:
    column = {leaf: i for i, leaf in enumerate(trained_leaves(network))}
    before = _apart(looked)
    found = {}
    for param in network.params:
        use = param.use
        entry: dict[str, Any] = {
            "roles": sorted(param.roles),
            "reached": param.leaf in paths.any,
            "differentiable": param.leaf in paths.differentiable,
            "stopped": param.leaf in paths.stopped,
            "fan_in": None if use is None else use.fan_in,
            "out_axes": 0 if use is None else len(use.out_axis),
            "layers": list(param.layers),
            "shape": list(param.shape),
        }
        if param.leaf in column:
            i = column[param.leaf]
            moved = share = float(first.moves[:, i].mean())
            underflow, after = False, before[i]
            if steps:
                moved = max(share, float(np.mean([one.moved[i] for one in steps])))
                underflow = not share and all(one.magnified[i] for one in steps)
                after = np.max([one.after[i] for one in steps])
            entry |= {
                "moved_first": share,
                "moved": moved,
                "nonfinite": float(first.nonfinite[:, i].mean()),
                "underflow": underflow,
                "units_before": float(before[i]),
                "units_after": float(after),
                "mean_square": float(first.mean_square[i]),
            }
        found[param.name] = entry
    return found


def _is_float(x: Array) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _input(x: np.ndarray) -> dict[str, float]:
    wide = x.astype(np.float64)
    spread = 1.0
    if wide.ndim > 1 and wide.shape[-1] > 2:
        sizes = np.sqrt((wide**2).mean(axis=tuple(range(wide.ndim - 1))))
        middle = float(np.median(sizes))
        spread = float(sizes.max()) / middle if middle > 0 else 1.0
    wide = wide[np.isfinite(wide)]
    if not wide.size:
        wide = np.zeros(1)
    return {
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "columns": spread if math.isfinite(spread) else 1.0,
    }
