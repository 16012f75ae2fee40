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
from jaxinit.roles.network import Network
from jaxinit.signal.curves import Curve, fields, find_curves, look
from jaxinit.signal.reach import reach
from jaxinit.signal.trial import Steps, take_steps, trained_leaves

Array = jax.Array

NUM_SEEDS = 2


def gather(
    network: Network,
    draw: Draw,
    root: Array,
    inputs: Sequence[Array],
    seeds: Sequence[int],
    loss: Callable[[Any], Array] | None,
) -> dict[str, Any]:
    """Evidence about a model's parameters, curves, inputs and outputs.

    Args:
      network: the model, read.
      draw: how its weights are drawn.
      root: the root key.
      inputs: what it is fed.
      seeds: which seeds to take weights of, the first few.
      loss: the user's loss, or ``None`` for random projections of the output.

    Returns:
      ``params``: by name what each does and what steps did to it; ``curves``: of
      squashing functions, softmaxes and tokens; ``inputs``: mean and deviation of
      each. All of types that JSON knows.
    """
    curves, run = _compiled(network.traced, loss)(network)
    results = []
    for seed in seeds[:NUM_SEEDS]:
        key = jax.random.fold_in(root, seed)
        variables = draw(key, *inputs)
        rest = jax.random.fold_in(key, 1)
        results.append(jax.device_get(run(variables, rest, list(inputs))))
    steps = jax.tree.map(lambda *x: np.stack(x), *[s for s, _ in results])
    records = [
        np.stack([looked[number] for _, looked in results])
        for number in range(len(curves))
    ]
    return {
        "seeds": len(results),
        "params": _params(network, steps),
        "curves": [
            {"what": c.what, "row": c.row, "gate": c.gate, **fields(c, r)}
            for c, r in zip(curves, records, strict=True)
        ],
        "inputs": [_input(np.asarray(x)) for x in inputs if _is_float(x)],
    }


@cached(16)
def _compiled(
    traced: Any, loss: Any
) -> Callable[[Network], tuple[list[Curve], Callable[..., Any]]]:
    """Compiles once for a traced model and loss; the network only reads it."""
    made: list[tuple[list[Curve], Callable[..., Any]]] = []

    def of(network: Network) -> tuple[list[Curve], Callable[..., Any]]:
        if not made:
            curves = find_curves(network)
            steps, looked = take_steps(network, loss), look(network, curves)
            run = jax.jit(
                lambda v, key, x: (steps(v, key, x), looked(v, key, x)),
                # A few steps of few seeds, each about five forward passes.
                compiler_options=quick_options(network.sites, 15 * NUM_SEEDS),
            )
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
