"""Times `jaxinit.race` beside a plain loop of jitted training.

    python -m benchmarks.race [--quick] [--seeds 8] [--steps 100]

The loop is what a user would write: for each scheme, rate and seed it draws weights and
calls a compiled step as often as there are steps; the step is compiled once and takes
the learning rate as an argument. Both are timed cold, with all that they compile, and
warm; medians of `--repeats` are printed, and how far the losses are apart.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxinit
from jaxinit.train.batches import as_source
from jaxinit.train.datasets import digits

RATES = (1e-3, 3e-3, 1e-2)
BATCH = 64


class MLP(nn.Module):
    """Dense layers with tanh."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth):
            x = nn.tanh(nn.Dense(self.width)(x))
        return nn.Dense(10)(x)


def schemes() -> dict[str, Any]:
    return {"he": jaxinit.he_normal(), "orthogonal": jaxinit.orthogonal()}


def by_race(model: nn.Module, seeds: int, steps: int) -> np.ndarray:
    """Losses `(schemes, rates, seeds, steps)` by `jaxinit.race`."""
    result = jaxinit.race(
        model,
        "digits",
        schemes=schemes(),
        optimizer=optax.adam,
        learning_rates=RATES,
        steps=steps,
        seeds=seeds,
        batch_size=BATCH,
        diagnose=False,
        solutions=0,
        progress=False,
    )
    return result.losses


def by_loop(model: nn.Module, seeds: int, steps: int) -> np.ndarray:
    """The same losses by a plain loop."""
    source = as_source(digits(), BATCH, 0)
    batches = [source(step) for step in range(steps)]

    @jax.jit
    def step(params: Any, state: Any, rate: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = model.apply({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optax.adam(rate).update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    losses = np.zeros((len(schemes()), len(RATES), seeds, steps), np.float32)
    for i, scheme in enumerate(schemes().values()):
        for j, k in np.ndindex(len(RATES), seeds):
            key = jax.random.fold_in(jax.random.key(0), k)
            params = jaxinit.initialize(model, scheme, key, batches[0][0][0])["params"]
            state = optax.adam(1.0).init(params)
            seen = []
            for (x,), y in batches:
                params, state, value = step(params, state, RATES[j], x, y)
                seen.append(value)
            losses[i, j, k] = seen
    return losses


def timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = function()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and once")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.depth, options.width, options.seeds = 3, 32, 4
        options.steps, options.repeats = 50, 1
    model = MLP(options.depth, options.width)
    found = {}
    for name, run in {"race": by_race, "loop": by_loop}.items():
        times = []
        for _ in range(options.repeats + 1):
            seconds, found[name] = timed(
                lambda run=run: run(model, options.seeds, options.steps)
            )
            times.append(seconds)
        warm = statistics.median(times[1:])
        print(f"{name}: cold {times[0]:.2f} s, warm {warm:.2f} s")
    apart = np.abs(found["race"] - found["loop"])[..., : options.steps // 2].max()
    print(f"largest difference of a loss in the first half: {apart:.2g}")


if __name__ == "__main__":
    main()
