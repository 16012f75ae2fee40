"""What the verdict rests on besides the statistics of rows: ``Report.evidence``.

It is measured on few seeds: what it tells (exact zeros, equal units, saturation) does
not hang on the seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxinit._caches import cached
from jaxinit.draw.compiling import quick_options
from jaxinit.draw.own_init import Draw
from jaxinit.layers.taps import plan_taps
from jaxinit.roles.network import Network
from jaxinit.signal.between import fronts
from jaxinit.signal.broken import find_broken
from jaxinit.signal.bundle import Analysis, find_rolled
from jaxinit.signal.curves import Curve, fields, find_curves, look
from jaxinit.signal.given import drawn
from jaxinit.signal.reach import reach
from jaxinit.signal.trial import NUM_STEPS, Steps, take_steps, trained_leaves

Array = jax.Array

NUM_SEEDS = 2


def gather(
    network: Network,
    draw: Draw,
    root: Array,
    inputs: Sequence[Array],
    seeds: Sequence[int],
    analysis: Analysis,
) -> dict[str, Any]:
    """Evidence about a model's parameters, curves, inputs and outputs.

    Args:
      network: the model, read.
      draw: how its weights are drawn.
      root: the root key.
      inputs: what it is fed.
      seeds: which seeds to take weights of, the first few.
      analysis: of the model, whose loss and loops are taken here too.

    Returns:
      ``params``: by name what each does and what steps did to it; ``curves``: of
      squashing functions, softmaxes, tokens and layers' inputs; ``fronts``: by row
      what lies in front of it; ``broken``: the operation that makes NaN, where one
      does; ``undefined``: the share of NaN among the outputs; ``inputs``: mean and
      deviation of each. All of types that JSON knows.
    """
    curves, run = _compiled(network.traced, analysis.loss, analysis.rolled)(
        network, analysis
    )
    results = []
    for seed in seeds[:NUM_SEEDS]:
        key = jax.random.fold_in(root, seed)
        variables = drawn(draw, seed, key, inputs)
        results.append(run(variables, jax.random.fold_in(key, 1), list(inputs)))
    results = jax.device_get(results)
    broken = None
    for seed, (steps, _) in zip(seeds, results, strict=False):
        if broken is None and (steps.nonfinite[0].any() or steps.undefined[0]):
            key = jax.random.fold_in(root, seed)
            variables = drawn(draw, seed, key, inputs)
            rest = jax.random.fold_in(key, 1)
            broken = find_broken(network, variables, rest, list(inputs))
    steps = jax.tree.map(lambda *x: np.stack(x), *[s for s, _ in results])
    records = [
        np.stack([looked[number] for _, looked in results])
        for number in range(len(curves))
    ]
    return {
        "seeds": len(results),
        "fronts": {front.row: front.facts for front in fronts(network)},
        "broken": broken,
        "undefined": float(steps.undefined[:, 0].mean()),
        "params": _params(network, steps),
        "curves": [
            {"what": c.what, "row": c.row, "gate": c.gate, **fields(c, r)}
            for c, r in zip(curves, records, strict=True)
        ],
        "inputs": [_input(np.asarray(x)) for x in inputs if _is_float(x)],
    }


_Made = tuple[list[Curve], Callable[..., tuple[Steps, dict[int, Array]]]]


@cached(16)
def _compiled(
    traced: Any, loss: Any, rolled: bool
) -> Callable[[Network, Analysis], _Made]:
    """Compiles once for a traced model and loss; the network only reads it."""
    del traced, loss, rolled
    made: list[_Made] = []

    def of(network: Network, analysis: Analysis) -> _Made:
        if not made:
            sites = network.sites
            options = quick_options(sites, 3 * NUM_SEEDS * NUM_STEPS)
            repeats = find_rolled(analysis, plan_taps(sites.numbers, sites.events))
            steps = take_steps(network, analysis.loss, repeats, options)
            curves = find_curves(network)
            looked = jax.jit(look(network, curves), compiler_options=options)

            def run(variables: Any, key: Array, inputs: Any) -> Any:
                seen = looked(variables, key, inputs) if curves else {}
                return steps(variables, key, inputs), seen

            made.append((curves, run))
        return made[0]

    return of


def _params(network: Network, steps: Steps) -> dict[str, dict[str, Any]]:
    paths = reach(network)
    column = {leaf: i for i, leaf in enumerate(trained_leaves(network))}
    found = {}
    for param in network.params:
        use = param.use
        entry: dict[str, Any] = {
            "roles": sorted(param.roles),
            "reached": param.leaf in paths.any,
            "differentiable": param.leaf in paths.differentiable,
            "fan_in": None if use is None else use.fan_in,
            "out_axes": 0 if use is None else len(use.out_axis),
            "layers": list(param.layers),
            "shape": list(param.shape),
        }
        if param.leaf in column:
            i = column[param.leaf]
            moved = steps.moved[:, :, i]
            entry |= {
                "moved_first": float(moved[:, 0].mean()),
                "moved": float(moved.any(axis=1).mean()),
                "nonfinite": float(steps.nonfinite[:, 0, i].mean()),
                "underflow": bool((~moved[:, 0] & steps.magnified[:, i]).all()),
                "units_before": float(steps.before[:, i].max()),
                "units_after": float(steps.after[:, i].max()),
                "mean_square": float(steps.mean_square[:, i].mean()),
            }
        found[param.name] = entry
    return found


def _is_float(x: Array) -> bool:
    return bool(jax.numpy.issubdtype(x.dtype, jax.numpy.floating))


def _input(x: np.ndarray) -> dict[str, float]:
    wide = x.astype(np.float64)
    wide = wide[np.isfinite(wide)]
    if not wide.size:
        wide = np.zeros(1)
    return {"mean": float(wide.mean()), "std": float(wide.std())}
