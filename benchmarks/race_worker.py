"""Races an MLP on digits in a process of its own: by `jaxinit.race`, or by a loop.

The loop is what a user would write: for each scheme and seed it draws weights once, and
for each rate calls a compiled step as often as there are steps; the step is compiled
once, for later loops too, and takes the learning rate as an argument.
"""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxinit
from benchmarks.serve import serve
from jaxinit.train.batches import as_source
from jaxinit.train.datasets import digits

RATES = (1e-3, 3e-3, 1e-2)
BATCH = 64
# The package loads its parts as they are asked for: what is timed imports nothing.
RACE, INITIALIZE = jaxinit.race, jaxinit.initialize


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


def by_race(model: nn.Module, data: Any, seeds: int, steps: int) -> np.ndarray:
    """Losses `(schemes, rates, seeds, steps)` by `jaxinit.race`."""
    result = RACE(
        model,
        data,
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


def compiled_step(model: nn.Module) -> Any:
    """One step of training."""

    @jax.jit
    def step(params: Any, state: Any, rate: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = model.apply({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optax.adam(rate).update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    return step


def by_loop(
    step: Any, model: nn.Module, data: Any, seeds: int, steps: int
) -> np.ndarray:
    """The same losses by a plain loop over ``compiled_step``."""
    source = as_source(data, BATCH, 0)
    batches = [source(step) for step in range(steps)]
    losses = np.zeros((len(schemes()), len(RATES), seeds, steps), np.float32)
    for i, scheme in enumerate(schemes().values()):
        for k in range(seeds):
            key = jax.random.fold_in(jax.random.key(0), k)
            drawn = INITIALIZE(model, scheme, key, batches[0][0][0])["params"]
            for j, rate in enumerate(RATES):
                params, state = drawn, optax.adam(1.0).init(drawn)
                seen = []
                for (x,), y in batches:
                    params, state, value = step(params, state, rate, x, y)
                    seen.append(value)
                losses[i, j, k] = seen
    return losses


def prepare(way: str, depth: int, width: int, seeds: int, steps: int) -> Any:
    """What races once and tells the losses of the first half of the steps."""
    model, data = MLP(depth, width), digits()
    race = by_race if way == "race" else partial(by_loop, compiled_step(model))
    jax.block_until_ready(jax.numpy.zeros(1) + 1)  # the backend is up

    def run() -> dict[str, Any]:
        losses = race(model, data, seeds, steps)
        return {"losses": losses[..., : steps // 2].ravel().tolist()}

    return run


if __name__ == "__main__":
    serve(prepare)
