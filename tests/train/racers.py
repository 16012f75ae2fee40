"""Run by `test_race_devices`: a race of one process, or of one of two.

    python -m tests.train.racers FILE [PORT INDEX [die]]

Writes what it came to to the file, as JSON: what is printed lands in the middle of what
Gloo says. With ``die`` the second process ends in the middle of its runs.
"""

import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxinit
from jaxinit.train import runner

SEEDS, STEPS = 5, 6
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(24, 4)).astype("f4"), RNG.integers(0, 3, 24)


def init(key, x):
    first, second = jax.random.split(key)
    return {
        "a": jax.random.normal(first, (4, 8)),
        "b": jax.random.normal(second, (8, 3)),
    }


MODEL = jaxinit.Functional(init, lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"])
BAD = jaxinit.override(jaxinit.he_normal(), [("nowhere", jaxinit.zeros)])


def race(**options):
    return jaxinit.race(
        MODEL,
        DATA,
        schemes={"own": None, "bad": BAD, "orthogonal": jaxinit.orthogonal()},
        optimizer=optax.adam,
        learning_rates=[1e-3, 0.03],
        steps=STEPS,
        seeds=SEEDS,
        batch_size=8,
        solutions=2,
        diagnose=False,
        **options,
    )


def main() -> None:
    file, *rest = sys.argv[1:]
    if rest:  # the other is to notice soon, and who lives not to be taken for dead
        seconds = 5 if rest[2:] else 10
        jax.distributed.initialize(
            f"localhost:{rest[0]}", 2, int(rest[1]), heartbeat_timeout_seconds=seconds
        )
    ran: set[int] = set()
    run = runner._run_chunk

    def run_chunk(course, programs, draw, places, *given):
        if rest[1:] == ["1", "die"]:
            os._exit(9)
        ran.update(seed for _, seed in places)
        return run(course, programs, draw, places, *given)

    runner._run_chunk = run_chunk
    result = race()
    facts = {"race": result.to_json(), "ran": sorted(ran)}
    Path(file).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
